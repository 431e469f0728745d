"""The two steps of an encoder–decoder that are traced; `seq2seq.py` says what becomes of them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput

from exporter.tracing.attention_context import Context, attention_context
from exporter.tracing.decoder import selected_positions
from exporter.tracing.encoder import typed
from exporter.tracing.seq2seq_cache import CrossCache, Layer, OwnCache, Seq2SeqCache

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
