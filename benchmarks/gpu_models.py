"""The checkpoints of `benchmarks.gpu`, with random weights: real sizes, and tiny ones for a dry run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SEED = 7
# The shape of Llama 3.2 1B, untied.
LLAMA_1B: dict[str, Any] = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 8192,
    "max_position_embeddings": 2048,
    "initializer_range": 0.035,
}
TINY_IMAGES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "patch_size": 8,
}


class Model(NamedTuple):
    """A checkpoint: its name in the table, its task, and what builds it into a folder."""

    title: str
    task: str
    build: Callable[[Path], Path]


def gpt2_124m(folder: Path) -> Path:
    """GPT-2 small."""
    from tests.checkpoints.builders import REAL

    return REAL["gpt2_124m"](folder)


def llama_1b(folder: Path) -> Path:
    """1.5 billion parameters, 0.5 of them in the embedding and the output."""
    from tests.checkpoints.builders import tiny

    return tiny("llama", folder, **LLAMA_1B)


def tiny_gpt2(folder: Path) -> Path:
    """Two layers."""
    from tests.checkpoints.builders import tiny

    return tiny("gpt2", folder, n_positions=256)


def bert_base(folder: Path) -> Path:
    """BERT base with two labels."""
    from tests.checkpoints.builders import REAL

    return REAL["bert_base"](folder)


def vit_base(folder: Path) -> Path:
    """ViT base on images of 224 pixels."""
    return _vit(folder, 224, {})


def tiny_vit(folder: Path) -> Path:
    """Two layers on images of 32 pixels."""
    return _vit(folder, 32, TINY_IMAGES)


def _vit(folder: Path, pixels: int, sizes: dict[str, Any]) -> Path:
    import transformers

    from tests.checkpoints.weights import seeded_model

    labels = {number: f"thing {number}" for number in range(10)}
    config = transformers.ViTConfig(image_size=pixels, id2label=labels, **sizes)
    seeded_model(lambda: transformers.ViTForImageClassification(config), SEED).save_pretrained(folder)
    size = {"height": pixels, "width": pixels}
    transformers.ViTImageProcessorPil(size=size).save_pretrained(folder)
    return folder


REAL_SIZES: dict[str, Model] = {
    "gpt2_124m": Model("GPT-2 124M", "text-generation", gpt2_124m),
    "llama_1b": Model("Llama, 1B shape", "text-generation", llama_1b),
    "bert_base": Model("BERT base, 128 tokens", "text-classification", bert_base),
    "vit_base": Model("ViT base, 224 pixels", "image-classification", vit_base),
}
TINY: dict[str, Model] = {
    "tiny_gpt2": Model("GPT-2, 2 layers", "text-generation", tiny_gpt2),
    "tiny_vit": Model("ViT, 2 layers", "image-classification", tiny_vit),
}
