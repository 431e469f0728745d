"""Checkpoints at real sizes with random weights, built once, and what each engine makes of them."""

from __future__ import annotations

import hashlib
import shutil
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.worker import run

CACHE = Path(__file__).parent / ".cache"
# Published sizes (facebook/bart-base and google-t5/t5-small) on the small tokenizers of the tests.
SEQ2SEQ: dict[str, tuple[str, dict[str, Any]]] = {
    "bart_base": (
        "bart",
        {
            "vocab_size": 50265,
            "d_model": 768,
            "encoder_layers": 6,
            "decoder_layers": 6,
            "encoder_attention_heads": 12,
            "decoder_attention_heads": 12,
            "encoder_ffn_dim": 3072,
            "decoder_ffn_dim": 3072,
            "max_position_embeddings": 1024,
            "init_std": 0.05,
        },
    ),
    "t5_small": (
        "t5",
        {
            "vocab_size": 32128,
            "d_model": 512,
            "d_kv": 64,
            "d_ff": 2048,
            "num_layers": 6,
            "num_decoder_layers": 6,
            "num_heads": 8,
        },
    ),
}


def checkpoint(name: str) -> str:
    """The folder of a checkpoint of `SEQ2SEQ` or `tests.checkpoints.builders.REAL`, built when it is not there."""
    folder = CACHE / name
    if not (folder / "config.json").is_file():
        build(name, folder)
    return str(folder)


def build(name: str, folder: Path) -> None:
    """Write the checkpoint."""
    if name in SEQ2SEQ:
        from tests.checkpoints.seq2seq import tiny_seq2seq

        model_type, sizes = SEQ2SEQ[name]
        tiny_seq2seq(model_type, folder, **sizes)
        return
    from tests.checkpoints.builders import REAL

    REAL[name](folder)


def bundle(name: str, precision: str = "fp32", embedding_bits: int | None = None) -> str:
    """Our bundle, exported anew when the exporter is another one than before. embedding_bits: `--int4-embeddings`."""
    made = CACHE / "bundles" / (f"{name}-{precision}" + (f"-{embedding_bits}" if embedding_bits else ""))
    stamp = made.with_suffix(".exporter")
    if not stamp.is_file() or stamp.read_text() != exporter_digest():
        source = checkpoint(name)
        arguments: dict[str, Any] = {"checkpoint": source, "output": str(CACHE / "bundles"), "precision": precision}
        arguments["embedding_bits"] = embedding_bits
        run("benchmarks.prepare:export_to", **arguments, name=made.name)
        stamp.write_text(exporter_digest())
    return str(made)


@cache
def exporter_digest() -> str:
    """Of the exporter's sources and the versions it works with, as this process began."""
    digest = hashlib.sha256(version("torch").encode() + version("transformers").encode())
    for source in sorted((Path(__file__).parents[1] / "exporter").rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def peer_model(peer: str, python: str, name: str, precision: str) -> str:
    """What a peer made of a checkpoint, kept from run to run. Raises `RuntimeError` when it cannot."""
    folder = CACHE / "peers" / f"{peer}-{name}-{precision}"
    if not (folder / ".done").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        arguments = {"checkpoint": checkpoint(name), "output": str(folder), "precision": precision}
        run(f"benchmarks.peers.{peer}:prepare", python=python, **arguments)
        (folder / ".done").touch()
    return str(folder)
