"""Decides, before the long work, whether the emitted operator expresses a model's attention exactly.

One forward pass in plain torch with our attention in the model's place, one with its own: equal outputs, one attention
call and one cache update in every layer, and nothing asked for that the operator lacks. Otherwise the reason why not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from exporter.tracing.attention import GQA, MASKED_MHA, MHA, OWN_MASK, attention_implementation
from exporter.tracing.attention_context import AttentionCall, Context, UnsupportedAttentionError, attention_context
from exporter.tracing.cache import PassThroughCache
from exporter.tracing.rotary import Rotary, find_candidates, recorded_angles, standing_in

# Our softmax and the model's may round differently, layer upon layer; a wrong mask or scale is off by far more.
TOLERANCE = {torch.float32: 2e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}
ELSEWHERE = "its attention does not go through transformers' attention interface"


@dataclass(frozen=True)
class Probe:
    """The verdict: `reason` is empty when the operator fits; `calls` has one entry per layer, in layer order.

    implementation: the attention that fits an encoder, for `attention_implementation`.
    """

    reason: str
    calls: list[AttentionCall] = field(default_factory=list)
    rotary: Rotary | None = None  # rotations that the operator can apply; None: the graph applies the model's own
    implementation: str = ""

    @property
    def fits(self) -> bool:
        return not self.reason


def probe_decoder(model: Any, input_ids: torch.Tensor, max_length: int = 0) -> Probe:
    """Can every layer of this causal LM run on GroupQueryAttention? `input_ids` `[batch, sequence]`.

    max_length: with it, positions that rotations must hold for; they stay in the graph otherwise.
    """
    if getattr(model.config.get_text_config(), "attention_chunk_size", None):
        return Probe("it attends in chunks")
    positions = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", 0)
    # Zero-sized pasts: while probing, attention only counts the layers.
    nothing = torch.zeros(0)
    cache = PassThroughCache([(nothing, nothing)] * layers)
    kwargs = {"input_ids": input_ids, "position_ids": positions, "attention_mask": None}
    ours = {**kwargs, "past_key_values": cache, "use_cache": True}
    verdict = _compare(model, GQA, kwargs, ours, Context(cache=cache))
    if verdict.fits:
        verdict = _one_call_per_layer(verdict, cache, layers)
    if verdict.fits and max_length:
        return replace(verdict, rotary=probe_rotary(model, kwargs, max_length))
    return verdict


def probe_rotary(model: Any, kwargs: dict[str, Any], max_length: int) -> Rotary | None:
    """The rotations of a model whose queries and keys the operator can turn, None where it has none or cannot."""
    rotary = Rotary()

    def logits() -> torch.Tensor:
        layers = [(torch.zeros(0), torch.zeros(0))] * model.config.get_text_config().num_hidden_layers
        cache = PassThroughCache(layers)
        with attention_implementation(model, GQA), attention_context(Context(cache=cache, rotary=rotary)):
            found: torch.Tensor = model(**kwargs, past_key_values=cache, use_cache=True).logits
        return found

    try:
        with torch.no_grad():
            with recorded_angles(model, rotary):
                expected = logits()
            find_candidates(rotary, max_length)
            with standing_in(rotary):
                found = logits()
    except Exception:  # any model code may do more to its angles than ours can stand for
        return None
    return rotary if rotary.rotations and _relative(found, expected) < TOLERANCE[torch.float32] else None


def probe_encoder(model: Any, inputs: dict[str, Any], output: str = "logits") -> Probe:
    """Can this encoder's attention run on MultiHeadAttention? `inputs` must hold real padding.

    With a mask of padding if that says all, with a mask of all pairs of positions if not.
    """
    verdicts = []
    for implementation in (MHA, MASKED_MHA):
        verdict = _compare(model, implementation, inputs, inputs, Context(), output)
        if verdict.fits and verdict.calls:
            return replace(verdict, implementation=implementation)
        verdicts.append(Probe(ELSEWHERE) if verdict.fits else verdict)
    plain, masked = verdicts
    return plain if masked.reason == OWN_MASK else masked


def _compare(
    model: Any,
    implementation: str,
    reference_inputs: dict[str, Any],
    inputs: dict[str, Any],
    context: Context,
    output: str = "logits",
) -> Probe:
    try:
        with torch.no_grad():
            expected = model(**reference_inputs)[output]
            with attention_implementation(model, implementation), attention_context(context):
                found = model(**inputs)[output]
    except UnsupportedAttentionError as error:
        return Probe(str(error))
    except Exception as error:  # any model code may fail on a foreign cache: that is a verdict, not a crash
        if not context.calls:
            return Probe(ELSEWHERE)
        return Probe(f"its code does not run with a foreign attention ({type(error).__name__}: {_first_line(error)})")
    difference = _relative(found, expected)
    if not difference < TOLERANCE.get(expected.dtype, TOLERANCE[torch.float32]):
        return Probe(f"its attention differs from the operator's (by {difference:.1e})")
    return Probe("", sorted(context.calls, key=lambda call: call.layer))


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.float() - expected.float()).abs().max() / expected.float().abs().max().clamp(min=1.0))


def _one_call_per_layer(verdict: Probe, cache: PassThroughCache, layers: int) -> Probe:
    expected = list(range(layers))
    if not verdict.calls:
        return Probe(ELSEWHERE)
    if [call.layer for call in verdict.calls] != expected:
        return Probe("not every layer of it is attention of its own")
    if sorted(cache.updates) != expected:
        return Probe("its layers share keys and values")
    return verdict


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else ""
