"""What source and bundle are both timed on, by kind of model: the same arrays for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporter.loading import Checkpoint
from exporter.validation.images import drawing
from exporter.validation.seq2seq import TEXTS as SOURCES
from exporter.validation.seq2seq import checkpoint_parameters, encode
from runtime.generation.config import resolve

TOKENS, BATCH, NEW = 64, 8, 17
IMAGE_BATCH = 4
Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Workload:
    """name: for people; feeds: model inputs; new_tokens: how many to generate, 0 for a single pass.

    further: whether the time of each token after the first is meant.
    """

    name: str
    feeds: Feeds
    new_tokens: int = 0
    further: bool = False


def workloads(checkpoint: Checkpoint) -> list[Workload]:
    """For the kind of a checkpoint."""
    return MAKERS[checkpoint.row.kind](checkpoint)


def encoder(checkpoint: Checkpoint) -> list[Workload]:
    """Batches of 1 and 8 texts without padding."""
    from exporter.tracing.causal_lm import context_length

    tokenizer = checkpoint.tokenizer
    length = min(TOKENS, context_length(checkpoint.model), tokenizer.model_max_length)
    names = set(tokenizer.model_input_names)
    known = {
        "input_ids": random_ids(checkpoint, BATCH, length),
        "attention_mask": np.ones((BATCH, length), np.int64),
        "token_type_ids": np.zeros((BATCH, length), np.int64),
    }
    feeds = {name: array for name, array in known.items() if name in names}
    return [
        Workload(f"{count} × {length} tokens", {name: array[:count] for name, array in feeds.items()})
        for count in (1, BATCH)
    ]


def vision(checkpoint: Checkpoint) -> list[Workload]:
    """Batches of 1 and 4 drawn images."""
    encoded = checkpoint.processor(images=[drawing(320, 240, seed) for seed in range(IMAGE_BATCH)], return_tensors="np")
    feeds = {name: np.asarray(encoded[name]) for name in ("pixel_values", "pixel_mask") if name in encoded}
    sides = " × ".join(str(side) for side in feeds["pixel_values"].shape[2:])
    return [
        Workload(f"{count} × {sides} pixels", {name: array[:count] for name, array in feeds.items()})
        for count in (1, IMAGE_BATCH)
    ]


def causal_lm(checkpoint: Checkpoint) -> list[Workload]:
    """The first token of a prompt, and every token after it."""
    from exporter.tracing.causal_lm import context_length

    length = max(min(TOKENS, context_length(checkpoint.model) - NEW), 1)
    feeds = {"input_ids": random_ids(checkpoint, 1, length)}
    return [
        Workload(f"first token after {length}", feeds, new_tokens=1),
        Workload("each further token", feeds, new_tokens=NEW, further=True),
    ]


def seq2seq(checkpoint: Checkpoint) -> list[Workload]:
    """One source text, and some tokens of its target."""
    from exporter.tracing.causal_lm import context_length

    feeds = encode(checkpoint.tokenizer, SOURCES[1], context_length(checkpoint.model))
    return generated(feeds, "text")


def captioning(checkpoint: Checkpoint) -> list[Workload]:
    """One image, and some tokens of its caption."""
    encoded = checkpoint.processor(drawing(320, 240), return_tensors="np")
    return generated({"pixel_values": np.asarray(encoded["pixel_values"], np.float32)}, "image")


def generated(feeds: Feeds, what: str) -> list[Workload]:
    """First and further tokens from one source."""
    return [
        Workload(f"{what} to first token", feeds, new_tokens=1),
        Workload("each further token", feeds, new_tokens=NEW, further=True),
    ]


MAKERS: dict[str, Callable[[Checkpoint], list[Workload]]] = {
    "encoder": encoder,
    "vision": vision,
    "causal-lm": causal_lm,
    "seq2seq": seq2seq,
    "captioning": captioning,
}


def random_ids(checkpoint: Checkpoint, rows: int, length: int) -> np.ndarray:
    """int64 `[rows, length]`, no pad token among them."""
    config = checkpoint.model.config.get_text_config()
    ids = np.random.default_rng(0).integers(0, min(config.vocab_size, len(checkpoint.tokenizer)), (rows, length))
    pad = checkpoint.tokenizer.pad_token_id
    return ids if pad is None else np.where(ids == pad, (pad + 1) % config.vocab_size, ids)


def source_call(checkpoint: Checkpoint, work: Workload) -> Callable[[int], Any]:
    """Runs the source model on a workload, generating the given number of tokens."""
    import torch

    model = checkpoint.model
    tensors = {name: torch.tensor(array, device=model.device) for name, array in work.feeds.items()}
    if not work.new_tokens:
        return lambda _: finished(model(**tensors))
    if checkpoint.row.kind == "causal-lm":
        tensors["attention_mask"] = torch.ones_like(tensors["input_ids"])
    options = {"do_sample": False, "num_beams": 1}
    return lambda count: model.generate(**tensors, **options, max_new_tokens=count, min_new_tokens=count)


def finished(output: Any) -> None:
    """Wait for a GPU to have done what it was told."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def bundle_call(pipe: Any, work: Workload) -> Callable[[int], Any]:
    """Runs the bundle on a workload, generating the given number of tokens."""
    if not work.new_tokens:
        names = {spec.name for spec in pipe.graph.inputs}
        feeds = {name: array for name, array in work.feeds.items() if name in names}
        return lambda _: pipe.session.run(None, feeds)
    parameters = checkpoint_parameters(pipe)
    has_source = pipe.manifest.cache is not None and bool(pipe.manifest.cache.cross)

    def generate(count: int) -> Any:
        config = resolve(parameters, do_sample=False, num_beams=1, max_new_tokens=count, min_new_tokens=count)
        if not has_source:
            return pipe.model.generate([work.feeds["input_ids"][0]], config)
        return pipe.model.generate([np.array([config.decoder_start_token_id])], config, None, [work.feeds])

    return generate
