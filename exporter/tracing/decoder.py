"""The emission path of decoder-only models: one graph for prefill, chunked prefill and decode.

`input_ids, position_ids, logits_positions, seqlens_k, total_sequence_length, past_key_values.N.key/value
 -> logits, present.N.key/value`

The key/value memory is a fixed-size buffer `[batch, kv_heads, max_length, head_dim]`; the runtime binds present onto
past, so every step writes in place. `logits_positions` `[batch, positions]` picks the rows for which logits are
computed: one per prompt when generating, all of them when scoring.
"""

from __future__ import annotations

from typing import Any

import onnx_ir
import torch

from exporter.tracing.adapter import TraceRequest, trace
from exporter.tracing.attention import GQA, attention_implementation
from exporter.tracing.attention_context import AttentionCall, Context, attention_context
from exporter.tracing.cache import PassThroughCache
from exporter.tracing.rotary import Rotary, standing_in

AUTO = torch.export.Dim.AUTO
# Sizes of the sample: all different from each other and from anything a model is likely to hold as a constant.
BATCH, LENGTH, MAX_LENGTH, POSITIONS = 3, 5, 23, 2


class DecoderStep(torch.nn.Module):  # type: ignore[misc]
    """One step of a causal LM over slot buffers."""

    def __init__(self, model: Any, rotary: Rotary | None = None) -> None:
        super().__init__()
        self.model = model
        self.rotary = rotary or Rotary()
        for index, rotation in enumerate(self.rotary.rotations.values()):
            self.register_buffer(f"cos_cache_{index}", rotation.cos.to(model.dtype).contiguous(), persistent=False)
            self.register_buffer(f"sin_cache_{index}", rotation.sin.to(model.dtype).contiguous(), persistent=False)

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        logits_positions: torch.Tensor,
        seqlens_k: torch.Tensor,
        total_sequence_length: torch.Tensor,
        past: list[tuple[torch.Tensor, torch.Tensor]],
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        cache = PassThroughCache(past, seqlens_k, total_sequence_length)
        # The tables as torch.export sees them, not as they were registered.
        self.rotary.caches = {
            key: (getattr(self, f"cos_cache_{index}"), getattr(self, f"sin_cache_{index}"))
            for index, key in enumerate(self.rotary.rotations)
        }
        context = Context(cache=cache, emit=True, rotary=self.rotary)
        angles, positions = standing_in(self.rotary), selected_positions(self.model, logits_positions)
        with attention_context(context), angles, positions:
            output = self.model(
                input_ids=input_ids,
                position_ids=position_ids,
                past_key_values=cache,
                use_cache=True,
                attention_mask=None,
            )
        present = [tensor for layer in range(len(past)) for tensor in cache.present[layer]]
        return output.logits.to(torch.float32), present


class selected_positions:
    """Feed the output embeddings only the hidden states at `positions` `[batch, k]`, for the forward pass inside."""

    def __init__(self, model: Any, positions: torch.Tensor) -> None:
        self.head = model.get_output_embeddings()
        self.positions = positions

    def __enter__(self) -> None:
        self.handle = self.head.register_forward_pre_hook(self._select)

    def __exit__(self, *error: object) -> None:
        self.handle.remove()

    def _select(self, module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = args[0]
        batch, count = self.positions.shape
        picked = torch.onnx.ops.symbolic(
            "GatherND",
            [hidden, self.positions.unsqueeze(-1)],
            {"batch_dims": 1},
            dtype=hidden.dtype,
            shape=(batch, count, hidden.shape[-1]),
            version=13,
        )
        return (picked, *args[1:])


def cache_names(prefix: str, layers: int) -> list[str]:
    """`past_key_values.0.key, past_key_values.0.value, ...` (optimum's convention)."""
    return [f"{prefix}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]


def trace_decoder(model: Any, calls: list[AttentionCall], opset: int, rotary: Rotary | None = None) -> onnx_ir.Model:
    """Trace `model` with GroupQueryAttention in every layer. `calls`, `rotary`: what `probe_decoder` found."""
    with attention_implementation(model, GQA):
        return trace(decoder_request(model, calls, opset, rotary))


def decoder_request(model: Any, calls: list[AttentionCall], opset: int, rotary: Rotary | None = None) -> TraceRequest:
    """Sample inputs, free dimensions and names."""
    layers = len(calls)
    cache_dims = [["batch", None, "max_length", None]] * (2 * layers)
    inputs = sample_inputs(model, calls)
    return TraceRequest(
        module=DecoderStep(model, rotary).eval(),
        kwargs=inputs,
        dims={
            "input_ids": {0: AUTO, 1: AUTO},
            "position_ids": {0: AUTO, 1: AUTO},
            "logits_positions": {0: AUTO, 1: AUTO},
            "seqlens_k": {0: AUTO},
            "total_sequence_length": {},
            "past": [({0: AUTO, 2: AUTO}, {0: AUTO, 2: AUTO})] * layers,
        },
        input_names=[*list(inputs)[:-1], *cache_names("past_key_values", layers)],
        input_dims=[["batch", "sequence"]] * 2 + [["batch", "positions"], ["batch"], [], *cache_dims],
        output_names=["logits", *cache_names("present", layers)],
        output_dims=[["batch", "positions", None], *cache_dims],
        opset=opset,
        caches_of=model,
    )


def sample_inputs(model: Any, calls: list[AttentionCall]) -> dict[str, Any]:
    """Small tensors on the model's device: rows of `BATCH` prompts of `LENGTH` tokens, nothing cached yet."""
    device, dtype = model.device, model.dtype
    shapes = [(BATCH, call.kv_heads, MAX_LENGTH, call.head_dim) for call in calls]
    past = [tuple(torch.zeros(shape, dtype=dtype, device=device) for _ in range(2)) for shape in shapes]
    return {
        "input_ids": torch.ones(BATCH, LENGTH, dtype=torch.long, device=device),
        "position_ids": torch.arange(LENGTH, device=device)[None].repeat(BATCH, 1),
        "logits_positions": torch.tensor([[LENGTH - POSITIONS, LENGTH - 1]] * BATCH, device=device),
        "seqlens_k": torch.full((BATCH,), LENGTH - 1, dtype=torch.int32, device=device),
        "total_sequence_length": torch.tensor(LENGTH, dtype=torch.int32, device=device),
        "past": past,
    }
