"""Encoders: BERT base over 128 tokens, batches of 1 and 8, in fp32 and int8, against torch, optimum-onnx, OpenVINO."""

from __future__ import annotations

from typing import Any

from benchmarks import models
from benchmarks.encoder_protocol import LENGTH, Feeds, timed
from benchmarks.peer_side import peer_side
from benchmarks.turns import Figures, Metric, Side, table, take_turns
from benchmarks.worker import run

MODEL, TITLE = "bert_base", "BERT base"
METRICS = [
    Metric("ms, batch 1", "batch_1_ms"),
    Metric("ms, batch 8", "batch_8_ms"),
    Metric("peak memory, MB", "peak_mb"),
]
# module of the peer → its requirements, and its precisions with what the table calls them
PEERS = {
    "optimum_onnx_encoder": ("optimum-onnx", {"fp32": "O2", "int8": "avx512_vnni, dynamic"}),
    "openvino_encoder": ("openvino", {"fp32": "f32", "int8": "int8, calibrated", "int8-weights": "int8 weights"}),
}


def measure(rounds: int, only: str = "") -> list[str]:
    """Both precisions; in int8 our own fp32 is among the sides."""
    lines: list[str] = []
    for precision in ("fp32", "int8"):
        title = f"{TITLE} {precision}, {LENGTH} tokens"
        if only in title:
            sides = [ours(precision), *others(precision)]
            take_turns(sides, rounds)
            lines += ["", *table(title, sides, METRICS)]
    return lines


def ours(precision: str, name: str = "onward") -> Side:
    """Onward's side."""
    bundle = models.bundle(MODEL, precision)
    return Side(name, lambda: run("benchmarks.encoders:onward", bundle=bundle))


def others(precision: str) -> list[Side]:
    """torch or our own fp32, and what the peers have in this precision."""
    sides = [ours("fp32", "onward fp32") if precision == "int8" else torch_side()]
    for module, (requirements, names) in PEERS.items():
        for own, words in names.items():
            if own.startswith(precision):
                side = peer_side(f"{module}:encode", requirements, MODEL, own, precision=own)
                side.name = f"{requirements}, {words}"
                sides.append(side)
    return sides


def torch_side() -> Side:
    """HF's model as it comes."""
    checkpoint = models.checkpoint(MODEL)
    return Side("transformers, torch eager", lambda: run("benchmarks.encoders:transformers", checkpoint=checkpoint))


def onward(bundle: str) -> Figures:
    """The pipeline's forward pass, without the tokenizer."""
    from runtime import pipeline

    pipe: Any = pipeline("text-classification", bundle)
    return timed(pipe.forward)


def transformers(checkpoint: str) -> Figures:
    """HF's forward pass, torch eager."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()

    def forward(inputs: Feeds) -> None:
        with torch.no_grad():
            model(**{name: torch.from_numpy(array) for name, array in inputs.items()})

    return timed(forward)
