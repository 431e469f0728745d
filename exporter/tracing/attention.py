"""Attention that emits ONNX Runtime's own operator while it is traced.

transformers routes attention of most models through `ALL_ATTENTION_FUNCTIONS` and masks through
`ALL_MASK_ATTENTION_FUNCTIONS`. We register implementations there:

- `onward_gqa`: causal self-attention with a cache -> `com.microsoft.GroupQueryAttention`, which owns past and present;
- `onward_mha`: bidirectional self-attention -> `com.microsoft.MultiHeadAttention` with a key padding mask;
- `onward_seq2seq`: all three attentions of an encoder–decoder; the cache says which one a call is.

Outside of tracing both compute the same thing in plain torch ("probing"), which is how the exporter finds out, before
the long work, whether a model's attention is one that the operator can express: see `probe.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from exporter.tracing.cache import PassThroughCache
from exporter.tracing.rotary import HEAD_MULTIPLE, Rotary, UnsupportedRotationError

GQA = "onward_gqa"
MHA = "onward_mha"
SEQ2SEQ = "onward_seq2seq"

# Keyword arguments that change nothing at inference, or that say what the call already says.
NEUTRAL = frozenset(
    {"dropout", "position_ids", "cache_position", "output_attentions", "use_cache", "position_embeddings", "layer_idx"}
)


class UnsupportedAttentionError(Exception):
    """The operator cannot express what this attention asks for; the message is the reason shown to people."""


@dataclass
class AttentionCall:
    """What one attention layer asked for: sizes, and the attributes of its operator."""

    layer: int
    heads: int
    kv_heads: int
    head_dim: int
    attributes: dict[str, int | float]


@dataclass
class Context:
    """State of the forward pass under way: the registered functions are global, this says whom they serve."""

    cache: Any = None  # PassThroughCache, or seq2seq.Seq2SeqCache
    emit: bool = False
    record: bool = False  # only the cross-attention's keys and values matter
    encoder_mask: torch.Tensor | None = None  # `[batch, keys]`, for cross-attention
    rotary: Rotary | None = None  # rotations that attention itself applies
    calls: list[AttentionCall] = field(default_factory=list)

    @property
    def own(self) -> PassThroughCache:
        """The decoder's self-attention cache."""
        own: PassThroughCache = getattr(self.cache, "self_attention_cache", self.cache)
        return own


_current = Context()


@contextlib.contextmanager
def attention_context(context: Context) -> Iterator[Context]:
    """Make `context` the one that the registered functions use."""
    global _current
    previous, _current = _current, context
    try:
        yield context
    finally:
        _current = previous


@contextlib.contextmanager
def attention_implementation(model: Any, name: str) -> Iterator[None]:
    """Run `model` with another attention implementation, then restore its own."""
    previous = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(previous)


def group_query_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention over `query` `[batch, heads, sequence, head_dim]`; returns `[batch, sequence, heads, head_dim]`.

    Contract of the arguments: transformers `integrations/sdpa_attention.py`. Operator: onnxruntime ContribOperators.md.
    """
    refuse_unknown(kwargs, causal=True)
    if attention_mask is not None:
        raise UnsupportedAttentionError("its attention builds a mask of its own")
    layer = getattr(module, "layer_idx", None)
    if layer is None:
        raise UnsupportedAttentionError("its attention layers do not say which layer they are")
    call = AttentionCall(
        layer,
        query.shape[1],
        key.shape[1],
        query.shape[3],
        gqa_attributes(query, key, scaling, sliding_window, softcap),
    )
    if value.shape[3] != query.shape[3]:
        raise UnsupportedAttentionError("its values have another head size than its keys")
    _current.calls.append(call)
    if _current.emit:
        return emit_gqa(call, query, key, value, s_aux), None
    query, key = turned(call, query, key)
    return causal_reference(call, query, key, value, s_aux), None


def turned(call: AttentionCall, query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """While probing: queries and keys as the operator would turn them; as they are where the model does it."""
    rotary = _current.rotary
    if rotary is None:
        return query, key
    if rotary.recording:
        rotary.recorded[call.layer] = (query, key)
        return query, key
    if call.head_dim % HEAD_MULTIPLE:
        raise UnsupportedRotationError(f"its head size is no multiple of {HEAD_MULTIPLE}")
    return rotary.apply(call.layer, query, key)


def gqa_attributes(
    query: torch.Tensor, key: torch.Tensor, scaling: float | None, window: int | None, softcap: float | None
) -> dict[str, int | float]:
    """Attributes of the GroupQueryAttention node."""
    scale = float(scaling) if scaling is not None else float(query.shape[3]) ** -0.5
    attributes: dict[str, int | float] = {"num_heads": query.shape[1], "kv_num_heads": key.shape[1], "scale": scale}
    if window:
        attributes["local_window_size"] = int(window)
    if softcap:
        attributes["softcap"] = float(softcap)
    return attributes


def emit_gqa(
    call: AttentionCall,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sinks: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Emit the node; the cache keeps its present key and value. bias: `[1 or batch, heads, sequence, total]`."""
    cache = _current.own
    batch, heads, length, head_dim = query.shape
    past_key, past_value = cache.past[call.layer]
    dtype = past_key.dtype  # float32 islands may hand over wider ones
    flat = [t.transpose(1, 2).reshape(batch, length, -1).to(dtype) for t in (query, key, value)]
    inputs: list[torch.Tensor | None] = [*flat, past_key, past_value, cache.seqlens_k, cache.total_sequence_length]
    attributes, angles = rotation_arguments()
    if angles[0] is not None or sinks is not None or bias is not None:
        bias = None if bias is None else bias.to(dtype)
        inputs += [*angles, None, bias]  # None: without position_ids, the operator counts from seqlens_k
    if sinks is not None:
        inputs += [sinks.to(dtype)]
    output, present_key, present_value = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        inputs,
        {**call.attributes, **attributes},
        dtypes=[dtype] * 3,
        shapes=[flat[0].shape, past_key.shape, past_value.shape],
        version=1,
    )
    cache.present[call.layer] = (present_key, present_value)
    return output.reshape(batch, length, heads, head_dim).to(query.dtype)


def rotation_arguments() -> tuple[dict[str, int], tuple[torch.Tensor | None, torch.Tensor | None]]:
    """Attributes, cos_cache and sin_cache of a layer that the operator turns."""
    rotary = _current.rotary
    taken = rotary.take() if rotary is not None else None
    if rotary is None or taken is None:
        return {}, (None, None)
    return {"do_rotary": 1, "rotary_interleaved": int(rotary.rotations[taken].interleaved)}, rotary.caches[taken]


def causal_reference(
    call: AttentionCall,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sinks: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """What the GroupQueryAttention node will compute, without a past, in plain torch."""
    groups, length = call.heads // call.kv_heads, query.shape[2]
    key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    scores = query @ key.transpose(2, 3) * call.attributes["scale"]
    if "softcap" in call.attributes:
        scores = torch.tanh(scores / call.attributes["softcap"]) * call.attributes["softcap"]
    if bias is not None:
        scores = scores + bias
    distance = torch.arange(length)[:, None] - torch.arange(length)[None]
    visible = (distance >= 0) & (distance < call.attributes.get("local_window_size", length))
    scores = scores.masked_fill(~visible.to(scores.device), float("-inf"))
    if sinks is not None:
        column = sinks.reshape(1, -1, 1, 1).expand(scores.shape[0], -1, length, 1)
        scores = torch.cat([scores, column.to(scores.dtype)], dim=-1)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32)[..., :length].to(value.dtype)
    return (weights @ value).transpose(1, 2)


def multi_head_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Bidirectional attention; `attention_mask` is the 2-D padding mask `[batch, keys]` that `padding_mask` kept."""
    refuse_unknown(kwargs, causal=False)
    if getattr(module, "is_causal", False):
        raise UnsupportedAttentionError("its attention is causal")
    if attention_mask is not None and attention_mask.dim() != 2:
        raise UnsupportedAttentionError("its attention builds a mask of its own")
    scale = float(scaling) if scaling is not None else float(query.shape[3]) ** -0.5
    call = AttentionCall(
        -1, query.shape[1], key.shape[1], query.shape[3], {"num_heads": query.shape[1], "scale": scale}
    )
    if key.shape[1] != query.shape[1] or value.shape[3] != query.shape[3]:
        raise UnsupportedAttentionError("its keys and values have other sizes than its queries")
    _current.calls.append(call)
    run = emit_mha if _current.emit else bidirectional_reference
    return run(call, query, key, value, attention_mask), None


def emit_mha(
    call: AttentionCall,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    bias: torch.Tensor | None = None,
    cached: bool = False,
) -> torch.Tensor:
    """Emit a MultiHeadAttention node; `mask` becomes its int32 key padding mask.

    cached: keys and values are cross-attention's, which the operator takes as they lie, heads first.
    """
    batch, heads, length, head_dim = query.shape
    dtype = torch.promote_types(torch.promote_types(query.dtype, key.dtype), value.dtype)
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    flat = [t.transpose(1, 2).reshape(batch, t.shape[2], -1) for t in ([query] if cached else [query, key, value])]
    inputs = [*flat, *([key, value] if cached else []), None, None if mask is None else mask.to(torch.int32)]
    output = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        inputs if bias is None else [*inputs, bias.to(dtype)],
        call.attributes,
        dtype=query.dtype,
        shape=flat[0].shape,
        version=1,
    )
    return output.reshape(batch, length, heads, head_dim)


def bidirectional_reference(
    call: AttentionCall,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    bias: torch.Tensor | None = None,
    cached: bool = False,
) -> torch.Tensor:
    """What the MultiHeadAttention node will compute, in plain torch."""
    scores = query @ key.transpose(2, 3) * call.attributes["scale"]
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(mask[:, None, None, :] == 0, torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
    return (weights @ value).transpose(1, 2)


def seq2seq_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    position_bias: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The encoder's self-attention, the decoder's, or the cross-attention. position_bias: T5's, `[1, heads, q, k]`."""
    kwargs.pop("is_causal", None)
    refuse_unknown(kwargs, causal=True)
    scale = float(scaling) if scaling is not None else float(query.shape[3]) ** -0.5
    layer, heads = int(getattr(module, "layer_idx", None) or 0), query.shape[1]
    call = AttentionCall(layer, heads, key.shape[1], query.shape[3], {"num_heads": heads, "scale": scale})
    cache = _current.cache
    own_key = cache.own_key(key) if cache is not None else None
    if own_key is None:
        cached = cache is not None and cache.is_cross(key)
        if cached and _current.record:
            return query.transpose(1, 2), None
        run = emit_mha if _current.emit else bidirectional_reference
        mask = _current.encoder_mask if cached else attention_mask
        return run(call, query, key, value, mask, position_bias, cached), None
    if _current.record:
        return query.transpose(1, 2), None
    call.attributes["kv_num_heads"] = key.shape[1]
    _current.calls.append(call)
    attend = emit_gqa if _current.emit else causal_reference
    own_keys, own_values = own_key
    return attend(call, query, own_keys, own_values, None, position_bias), None


def refuse_unknown(kwargs: dict[str, Any], causal: bool) -> None:
    """Anything that could change the answer and that we do not translate must lead to another path."""
    if kwargs.pop("is_causal", None) not in (None, causal):
        raise UnsupportedAttentionError("its attention is " + ("not causal" if causal else "causal"))
    for name, value in kwargs.items():
        if name not in NEUTRAL and value is not None and value is not False:
            raise UnsupportedAttentionError(f"its attention uses {name}")


def no_mask(*args: Any, **kwargs: Any) -> None:
    """GroupQueryAttention masks by itself."""
    return


def padding_mask(*args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """Hand the 2-D padding mask through (transformers `masking_utils.py`, mask interface)."""
    return attention_mask


ALL_ATTENTION_FUNCTIONS.register(GQA, group_query_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(GQA, no_mask)
ALL_ATTENTION_FUNCTIONS.register(MHA, multi_head_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(MHA, padding_mask)
ALL_ATTENTION_FUNCTIONS.register(SEQ2SEQ, seq2seq_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(SEQ2SEQ, padding_mask)
