"""Attention that emits ONNX Runtime's own operator while it is traced.

transformers routes attention of most models through `ALL_ATTENTION_FUNCTIONS` and masks through
`ALL_MASK_ATTENTION_FUNCTIONS`. We register implementations there:

- `onward_gqa`: causal self-attention with a cache -> `com.microsoft.GroupQueryAttention`, which owns past and present;
- `onward_mha`: bidirectional self-attention -> `com.microsoft.MultiHeadAttention` with a key padding mask;
- `onward_masked_mha`: self-attention without a cache that is causal or within a window -> the same operator, the mask
  added to the scores;
- `onward_seq2seq`: all three attentions of an encoder–decoder; the cache says which one a call is.

Outside of tracing both compute the same thing in plain torch ("probing"), which is how the exporter finds out, before
the long work, whether a model's attention is one that the operator can express: see `probe.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from transformers.integrations.sdpa_attention import repeat_kv
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from exporter.tracing.attention_context import AttentionCall, UnsupportedAttentionError, current
from exporter.tracing.attention_operators import bidirectional_reference, causal_reference, emit_gqa, emit_mha
from exporter.tracing.rotary import HEAD_MULTIPLE, UnsupportedRotationError

GQA = "onward_gqa"
MHA = "onward_mha"
MASKED_MHA = "onward_masked_mha"
SEQ2SEQ = "onward_seq2seq"

OWN_MASK = "its attention builds a mask of its own"

# Keyword arguments that change nothing at inference, or that say what the call already says.
NEUTRAL = frozenset(
    {"dropout", "position_ids", "cache_position", "output_attentions", "use_cache", "position_embeddings", "layer_idx"}
)


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
        raise UnsupportedAttentionError(OWN_MASK)
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
    current().calls.append(call)
    if current().emit:
        return emit_gqa(call, query, key, value, s_aux), None
    query, key = turned(call, query, key)
    return causal_reference(call, query, key, value, s_aux), None


def turned(call: AttentionCall, query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """While probing: queries and keys as the operator would turn them; as they are where the model does it."""
    rotary = current().rotary
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
    scale = scale_of(query, scaling)
    attributes: dict[str, int | float] = {"num_heads": query.shape[1], "kv_num_heads": key.shape[1], "scale": scale}
    if window:
        attributes["local_window_size"] = int(window)
    if softcap:
        attributes["softcap"] = float(softcap)
    return attributes


def scale_of(query: torch.Tensor, scaling: float | None) -> float:
    """What scores are multiplied by: the model's own factor, or one over the root of the head size."""
    return float(scaling) if scaling is not None else float(query.shape[3]) ** -0.5


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
        raise UnsupportedAttentionError(OWN_MASK)
    return attend_to_all(query, key, value, scaling, attention_mask), None


def masked_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention with all that it may not see in `attention_mask` `[batch, 1, queries, keys]`, as `whole_mask` made it.

    A sliding window and causality are in that mask. Key/value heads that query heads share are repeated.
    """
    kwargs.pop("is_causal", None)
    refuse_unknown(kwargs, causal=True)
    if attention_mask is None or attention_mask.dim() != 4:
        raise UnsupportedAttentionError(OWN_MASK)
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    return attend_to_all(query, key, value, scaling, bias=attention_mask), None


def attend_to_all(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    mask: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """MultiHeadAttention, or what it computes. mask: `[batch, keys]`; bias: of the scores."""
    heads, head_dim = query.shape[1], query.shape[3]
    scale = scale_of(query, scaling)
    if key.shape[1] != heads or value.shape[3] != head_dim:
        raise UnsupportedAttentionError("its keys and values have other sizes than its queries")
    call = AttentionCall(-1, heads, heads, head_dim, {"num_heads": heads, "scale": scale})
    current().calls.append(call)
    run = emit_mha if current().emit else bidirectional_reference
    return run(call, query, key, value, mask, bias)


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
    scale = scale_of(query, scaling)
    layer, heads = int(getattr(module, "layer_idx", None) or 0), query.shape[1]
    call = AttentionCall(layer, heads, key.shape[1], query.shape[3], {"num_heads": heads, "scale": scale})
    cache = current().cache
    own_key = cache.own_key(key) if cache is not None else None
    if own_key is None:
        cached = cache is not None and cache.is_cross(key)
        if cached and current().record:
            return query.transpose(1, 2), None
        run = emit_mha if current().emit else bidirectional_reference
        mask = current().encoder_mask if cached else attention_mask
        return run(call, query, key, value, mask, position_bias, cached), None
    if current().record:
        return query.transpose(1, 2), None
    call.attributes["kv_num_heads"] = key.shape[1]
    current().calls.append(call)
    attend = emit_gqa if current().emit else causal_reference
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


def whole_mask(*args: Any, **kwargs: Any) -> torch.Tensor:
    """All that may not be seen, added to the scores: `[batch, 1, queries, keys]` (the mask of eager attention)."""
    mask: torch.Tensor = eager_mask(*args, **{**kwargs, "allow_is_bidirectional_skip": False})
    return mask


ALL_ATTENTION_FUNCTIONS.register(GQA, group_query_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(GQA, no_mask)
ALL_ATTENTION_FUNCTIONS.register(MHA, multi_head_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(MHA, padding_mask)
ALL_ATTENTION_FUNCTIONS.register(MASKED_MHA, masked_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(MASKED_MHA, whole_mask)
ALL_ATTENTION_FUNCTIONS.register(SEQ2SEQ, seq2seq_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(SEQ2SEQ, padding_mask)
