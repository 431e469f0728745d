"""Tiny random-weight captioning models whose text decoder reads the image in its first step: BLIP and GIT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    AutoModelForImageTextToText,
    AutoTokenizer,
    BertTokenizer,
    BlipConfig,
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    GitConfig,
    PreTrainedConfig,
)

from tests.checkpoints import TINY_BERT
from tests.checkpoints.weights import seeded_model

SIZE, POSITIONS = 32, 64
_STD = {"initializer_range": 0.3}
_VISION: dict[str, Any] = _STD | {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": SIZE,
    "patch_size": 8,
}
_TEXT: dict[str, Any] = _STD | {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
}


def _git(tokenizer: BertTokenizer) -> PreTrainedConfig:
    ids = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
    return GitConfig(vision_config=_VISION, **_TEXT, **ids, vocab_size=len(tokenizer), pad_token_id=0)


def _blip(tokenizer: BertTokenizer) -> PreTrainedConfig:
    """As published: a start token of its own behind the vocabulary; sentences end with [SEP], whatever eos says."""
    start = tokenizer.convert_tokens_to_ids("[DEC]")
    ids = {"bos_token_id": start, "sep_token_id": tokenizer.sep_token_id, "eos_token_id": 2, "pad_token_id": 0}
    text = _TEXT | ids | {"vocab_size": len(tokenizer), "encoder_hidden_size": 32, "is_decoder": True}
    return BlipConfig(vision_config=_VISION, text_config=text, initializer_range=0.3)


_CONFIGS = {"git": _git, "blip": _blip}
_PROCESSORS = {
    "git": lambda: CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, do_center_crop=True
    ),
    "blip": lambda: BlipImageProcessorPil(size={"height": SIZE, "width": SIZE}),
}


def tiny_image_captioner(model_type: str, path: Path | str) -> Path:
    """A captioner of ``model_type``, "git" or "blip", with tokenizer and image processor, saved to ``path``."""
    folder = Path(path)
    vocab = AutoTokenizer.from_pretrained(TINY_BERT).get_vocab()
    tokenizer = BertTokenizer(dict(sorted(vocab.items(), key=lambda item: item[1])), model_max_length=POSITIONS)
    if model_type == "blip":
        tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    config = _CONFIGS[model_type](tokenizer)
    model = seeded_model(lambda: AutoModelForImageTextToText.from_config(config, attn_implementation="eager"), seed=9)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _PROCESSORS[model_type]().save_pretrained(folder)
    return folder
