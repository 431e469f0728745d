"""Encoder–decoders: an encoder graph that also gives every layer's cross-attention keys and values, and one decoder
graph with its self-attention cache in place.

    encoder:  input_ids, attention_mask -> cross_key_values.N.key/value  [batch, heads, encoder_sequence, head_dim]
    decoder:  input_ids, position_ids, logits_positions, encoder_attention_mask, seqlens_k, total_sequence_length,
              past_key_values.N.key/value, cross_key_values.N.key/value  ->  logits, present.N.key/value

No architecture is named. The encoder graph is the whole model traced with a recording cache: what the decoder layers
hand to their cross-attention cache becomes the outputs, and everything behind it is dead code that tracing drops. The
decoder graph is the whole model with a cache that already holds the cross-attention, so its projections are dead code.

Some decoders take one position for all rows (BART: `arange(sequence) + past`); their rows step together (`lockstep`).
Those that add a bias per distance (T5) must also know how many keys there are: `decoder_attention_mask`
`[batch, total]` is there for its shape.
"""

from __future__ import annotations

from typing import Any

import onnx_ir
import torch

from exporter.tracing.adapter import TraceRequest, trace
from exporter.tracing.attention import SEQ2SEQ, attention_implementation
from exporter.tracing.decoder import BATCH, LENGTH, MAX_LENGTH, POSITIONS, cache_names
from exporter.tracing.seq2seq_probe import Shape
from exporter.tracing.seq2seq_steps import DecoderStep, EncoderStep, Inputs

AUTO = torch.export.Dim.AUTO
ENCODER_LENGTH = 13


def encoder_sample(model: Any, names: list[str]) -> dict[str, torch.Tensor]:
    """int64 `[BATCH, ENCODER_LENGTH]` with real padding in the second row."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(
        2, model.config.get_text_config(encoder=True).vocab_size, (BATCH, ENCODER_LENGTH), generator=generator
    )
    mask = torch.ones_like(ids)
    mask[1, ENCODER_LENGTH - 4 :] = 0
    known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return {name: known[name].to(model.device) for name in names}


def trace_seq2seq(model: Any, inputs: Inputs, shape: Shape, opset: int) -> dict[str, onnx_ir.Model]:
    """Trace `encoder` and `decoder`. inputs: a sample for the encoder; shape: what `probe_seq2seq` found."""
    with attention_implementation(model, SEQ2SEQ):
        return {
            "encoder": trace(encoder_request(model, inputs, shape, opset)),
            "decoder": trace(decoder_request(model, shape, opset)),
        }


def encoder_request(model: Any, inputs: Inputs, shape: Shape, opset: int) -> TraceRequest:
    """The batch is free, and the length of a text; images have one size."""
    layers = len(shape.cross)
    dims = {name: ["batch", "encoder_sequence"] if value.dim() == 2 else ["batch"] for name, value in inputs.items()}
    length = "encoder_sequence" if "input_ids" in inputs else None
    return TraceRequest(
        module=EncoderStep(model, list(inputs)).eval(),
        kwargs={"tensors": list(inputs.values())},
        dims={"tensors": [dict.fromkeys(range(len(names)), AUTO) for names in dims.values()]},
        input_names=list(inputs),
        input_dims=list(dims.values()),
        output_names=cache_names("cross_key_values", layers),
        output_dims=[["batch", None, length, None]] * (2 * layers),
        opset=opset,
        caches_of=model,
    )


def decoder_request(model: Any, shape: Shape, opset: int) -> TraceRequest:
    """Everything but heads and head sizes is free."""
    inputs = decoder_sample(model, shape)
    layers = len(shape.own)
    names = [name for name in list(inputs)[:-2] if inputs[name] is not None]
    known = {
        "input_ids": ["batch", "sequence"],
        "position_ids": ["batch", "sequence"],
        "logits_positions": ["batch", "positions"],
        "encoder_attention_mask": ["batch", "encoder_sequence"],
        "seqlens_k": ["batch"],
        "total_sequence_length": [],
        "decoder_attention_mask": ["batch", "total_sequence"],
    }
    own: list[list[str | None]] = [["batch", None, "max_length", None]] * (2 * layers)
    cross: list[list[str | None]] = [["batch", None, "encoder_sequence", None]] * (2 * layers)
    free = {name: dict.fromkeys(range(len(dims)), AUTO) for name, dims in known.items()}
    return TraceRequest(
        module=DecoderStep(model, shape.lockstep).eval(),
        kwargs=inputs,
        dims={
            **{name: free[name] if inputs[name] is not None else None for name in known},
            "past": [({0: AUTO, 2: AUTO}, {0: AUTO, 2: AUTO})] * layers,
            "cross": [({0: AUTO, 2: AUTO}, {0: AUTO, 2: AUTO})] * layers,
        },
        input_names=[*names, *cache_names("past_key_values", layers), *cache_names("cross_key_values", layers)],
        input_dims=[*(known[name] for name in names), *own, *cross],
        output_names=["logits", *cache_names("present", layers)],
        output_dims=[["batch", "positions", None], *own],
        opset=opset,
        caches_of=model,
    )


def decoder_sample(model: Any, shape: Shape) -> dict[str, Any]:
    """`BATCH` rows of `LENGTH` decoder tokens, nothing cached yet, sources of `ENCODER_LENGTH`."""
    device, dtype = model.device, model.dtype

    def buffers(sizes: list[tuple[int, int]], length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        shapes = [(BATCH, heads, length, head_dim) for heads, head_dim in sizes]
        return [
            (torch.zeros(s, dtype=dtype, device=device), torch.zeros(s, dtype=dtype, device=device)) for s in shapes
        ]

    mask = torch.ones(BATCH, ENCODER_LENGTH, dtype=torch.long, device=device)
    mask[1, ENCODER_LENGTH - 4 :] = 0
    return {
        "input_ids": torch.ones(BATCH, LENGTH, dtype=torch.long, device=device),
        "position_ids": torch.arange(LENGTH, device=device)[None].repeat(BATCH, 1),
        "logits_positions": torch.tensor([[LENGTH - POSITIONS, LENGTH - 1]] * BATCH, device=device),
        "encoder_attention_mask": mask,
        "seqlens_k": torch.full((BATCH,), LENGTH - 1, dtype=torch.int32, device=device),
        "total_sequence_length": torch.tensor(LENGTH, dtype=torch.int32, device=device),
        "decoder_attention_mask": torch.ones(BATCH, LENGTH + 2, dtype=torch.long, device=device)
        if shape.distance_bias
        else None,
        "past": buffers(shape.own, MAX_LENGTH),
        "cross": buffers(shape.cross, ENCODER_LENGTH),
    }
