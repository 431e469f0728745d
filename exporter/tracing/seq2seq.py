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

import inspect
from dataclasses import dataclass, field
from typing import Any

import onnx_ir
import torch
from transformers import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from exporter.tracing.adapter import TraceRequest, trace
from exporter.tracing.attention import (
    SEQ2SEQ,
    Context,
    UnsupportedAttentionError,
    attention_context,
    attention_implementation,
)
from exporter.tracing.cache import PassThroughCache
from exporter.tracing.decoder import BATCH, LENGTH, MAX_LENGTH, POSITIONS, cache_names, selected_positions
from exporter.tracing.probe import TOLERANCE

AUTO = torch.export.Dim.AUTO
ENCODER_LENGTH = 13


@dataclass
class Layer:
    """Keys and values of one layer's cross-attention, under the names that attention reads them by."""

    keys: torch.Tensor | None = None
    values: torch.Tensor | None = None


def extend(layers: list[Any], index: int, empty: Any) -> None:
    """Make room for layer `index`: models do not agree on where they say how many layers their decoder has."""
    layers += [empty] * (index + 1 - len(layers))


class CrossCache(PassThroughCache):
    """Cross-attention keys and values: recorded while the encoder is traced, given while the decoder is."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__([])
        self.layers = layers

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        extend(self.layers, layer_idx, Layer())
        self.layers[layer_idx] = Layer(key_states, value_states)
        return key_states, value_states

    def __len__(self) -> int:
        return len(self.layers)


class OwnCache(PassThroughCache):
    """The decoder's self-attention cache. In lockstep, keys seem to be as many as `total` says, for the bias."""

    total: Any = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.updates.append(layer_idx)
        shown = key_states
        if self.total is not None:
            shown = key_states.new_zeros(*key_states.shape[:2], self.total, key_states.shape[3])
        extend(self.layers, layer_idx, None)
        self.layers[layer_idx] = (shown, key_states, value_states)
        return shown, value_states


class Seq2SeqCache(EncoderDecoderCache):  # type: ignore[misc]
    """Self-attention handed through, cross-attention recorded or given."""

    def __init__(self, own: OwnCache, cross: CrossCache) -> None:
        self.self_attention_cache = own
        self.cross_attention_cache = cross
        self.is_updated = dict.fromkeys(range(len(cross.layers)), True)

    def own_key(self, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The real keys and values of a self-attention call, None for any other call."""
        for layer in self.self_attention_cache.layers:
            if layer is not None and layer[0] is key:
                return layer[1], layer[2]
        return None

    def is_cross(self, key: torch.Tensor) -> bool:
        """Whether a key tensor is one of the cross-attention's."""
        return any(layer.keys is key for layer in self.cross_attention_cache.layers)


@dataclass(frozen=True)
class Shape:
    """What the decoder's layers look like: (kv_heads, head_dim) of self- and cross-attention, and how rows step."""

    own: list[tuple[int, int]]
    cross: list[tuple[int, int]]
    lockstep: bool
    distance_bias: bool


@dataclass(frozen=True)
class Probe:
    """The verdict: `reason` is empty when the operators fit."""

    reason: str
    shape: Shape = field(default_factory=lambda: Shape([], [], False, False))


Inputs = dict[str, torch.Tensor]


class EncoderStep(torch.nn.Module):  # type: ignore[misc]
    """The encoder's inputs (token ids and mask, or pixel values) -> each decoder layer's cross-attention."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        inputs = typed(self.model, dict(zip(self.names, tensors, strict=True)))
        cross = record_cross(self.model, inputs, emit=True)
        return [tensor for layer in cross.layers for tensor in (layer.keys, layer.values) if tensor is not None]


def typed(model: Any, inputs: Inputs) -> Inputs:
    """Pixel values come as float32 whatever the model's dtype."""
    return {name: value.to(model.dtype) if value.is_floating_point() else value for name, value in inputs.items()}


def record_cross(model: Any, inputs: Inputs, emit: bool) -> CrossCache:
    """Run the whole model on one decoder token, and keep what reaches the cross-attention cache."""
    cross = CrossCache([])
    cache = Seq2SeqCache(OwnCache([]), cross)
    batch = next(iter(inputs.values())).shape[0]
    start = torch.zeros(batch, 1, dtype=torch.long, device=model.device)
    with attention_context(Context(cache=cache, emit=emit, record=True)):
        model(**inputs, decoder_input_ids=start, **decoder_mask(start), past_key_values=cache, use_cache=True)
    return cross


def decoder_mask(input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every decoder position may be seen; given so that the model does not derive it from the cache's length."""
    return {"decoder_attention_mask": torch.ones_like(input_ids)}


class DecoderStep(torch.nn.Module):  # type: ignore[misc]
    """One step of the decoder over slot buffers and given cross-attention."""

    def __init__(self, model: Any, lockstep: bool) -> None:
        super().__init__()
        self.model = model
        self.lockstep = lockstep

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        logits_positions: torch.Tensor,
        encoder_attention_mask: torch.Tensor,
        seqlens_k: torch.Tensor,
        total_sequence_length: torch.Tensor,
        decoder_attention_mask: torch.Tensor | None,
        past: list[tuple[torch.Tensor, torch.Tensor]],
        cross: list[tuple[torch.Tensor, torch.Tensor]],
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        own = OwnCache(past, seqlens_k, total_sequence_length)
        own.length = position_ids[0, 0] if self.lockstep else position_ids[:, :1]
        own.total = decoder_attention_mask.shape[1] if decoder_attention_mask is not None else None
        with selected_positions(self.model, logits_positions):
            logits = run_decoder(self.model, input_ids, encoder_attention_mask, own, cross, emit=True)
        present = [tensor for layer in range(len(past)) for tensor in own.present[layer]]
        return logits.to(torch.float32), present


def run_decoder(
    model: Any,
    input_ids: torch.Tensor,
    encoder_mask: torch.Tensor,
    own: OwnCache,
    cross: list[tuple[torch.Tensor, torch.Tensor]],
    emit: bool,
) -> torch.Tensor:
    """Logits of the decoder. The encoder's hidden states are only looked at for their shape."""
    cache = Seq2SeqCache(own, CrossCache([Layer(key, value) for key, value in cross]))
    width = model.get_encoder().config.hidden_size
    hidden = torch.zeros(*encoder_mask.shape, width, dtype=model.dtype, device=model.device)
    with attention_context(Context(cache=cache, emit=emit, encoder_mask=encoder_mask)):
        output = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            **encoder_mask_argument(model, encoder_mask),
            decoder_input_ids=input_ids,
            **decoder_mask(input_ids),
            past_key_values=cache,
            use_cache=True,
        )
    logits: torch.Tensor = output.logits
    return logits


def encoder_mask_argument(model: Any, mask: torch.Tensor) -> Inputs:
    """The mask under the model's name; models that read images have none, and the operator gets ours all the same."""
    return {"attention_mask": mask} if "attention_mask" in inspect.signature(model.forward).parameters else {}


def probe_seq2seq(model: Any, inputs: Inputs) -> Probe:
    """Do the emitted operators say what the model's three attentions say? Compared in plain torch on a sample."""
    ids = torch.randint(1, vocab_size(model), (BATCH, LENGTH), generator=torch.Generator().manual_seed(1))
    ids = ids.to(model.device)
    try:
        with torch.no_grad():
            inputs = typed(model, inputs)
            expected = model(**inputs, decoder_input_ids=ids, **decoder_mask(ids), use_cache=False).logits
            with attention_implementation(model, SEQ2SEQ):
                cross = record_cross(model, inputs, emit=False).layers
                given = [(layer.keys, layer.values) for layer in cross if layer.keys is not None]
                mask = inputs.get("attention_mask", torch.ones(BATCH, given[0][0].shape[2], dtype=torch.long))
                found, own, together = try_decoder(model, ids, mask.to(model.device), given)
    except UnsupportedAttentionError as error:
        return Probe(str(error))
    except Exception as error:  # any model code may fail on a foreign cache: that is a verdict, not a crash
        return Probe(f"its code does not run with a foreign attention ({type(error).__name__}: {str(error)[:120]})")
    difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1.0))
    if not difference < TOLERANCE[model.dtype]:
        return Probe(f"its attention differs from the operators' (by {difference:.1e})")
    own_sizes, cross_sizes = sizes([layer[1] for layer in own.layers]), sizes([key for key, _ in given])
    return Probe("", Shape(own_sizes, cross_sizes, together, has_distance_bias(model)))


def try_decoder(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, cross: list[Any]
) -> tuple[torch.Tensor, OwnCache, bool]:
    """Logits, the cache, and whether rows must step together: a position per row is tried first."""
    own = OwnCache([])
    if not has_distance_bias(model):
        own.length = torch.zeros(ids.shape[0], 1, dtype=torch.long, device=ids.device)
        try:
            return run_decoder(model, ids, mask, own, cross, emit=False), own, False
        except (ValueError, RuntimeError, IndexError):  # shapes that do not fit: it wants one position
            own = OwnCache([])
    return run_decoder(model, ids, mask, own, cross, emit=False), own, True


def sizes(keys: list[Any]) -> list[tuple[int, int]]:
    """(heads, head_dim) of each layer's keys."""
    return [(key.shape[1], key.shape[3]) for key in keys]


def has_distance_bias(model: Any) -> bool:
    """Whether the decoder adds a learned bias per distance (T5 and its kin), computed for one position of all rows."""
    return any(getattr(module, "has_relative_attention_bias", False) for module in model.get_decoder().modules())


def vocab_size(model: Any) -> int:
    """Columns of the decoder's logits."""
    return int(model.config.get_text_config(decoder=True).vocab_size)


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
