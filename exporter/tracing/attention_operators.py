"""ONNX Runtime's attention operators: each as the node that is emitted, and as what that node computes in plain torch.

Operators: onnxruntime ContribOperators.md.
"""

from __future__ import annotations

import torch

from exporter.tracing.attention_context import AttentionCall, current


def emit_gqa(
    call: AttentionCall,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sinks: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Emit the node; the cache keeps its present key and value. bias: `[1 or batch, heads, sequence, total]`."""
    cache = current().own
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
    rotary = current().rotary
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
