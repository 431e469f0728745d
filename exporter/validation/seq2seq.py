"""Validation of encoder–decoders: decoder logits over sources of several lengths, greedy and beam tokens, answers.

transformers 5 has no pipeline for these tasks, so the answers are held against `generate()` and the tokenizer with the
same parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.causal_lm import BEAM, GREEDY, STEPS, Generated, generation_check, strip_padding
from exporter.validation.checks import Check, compare_logits
from runtime.generation.config import resolve
from runtime.pipelines.text2text_generation import start_token

if TYPE_CHECKING:
    import torch

TEXTS = (
    "Hello!",
    "The committee met on Tuesday to talk about the new bridge, which will be longer than the old one.",
    "Il était une fois, dans une forêt lointaine, une petite maison.",
    "Prices rose by 3.5% in May; economists had expected 2%.",
)
DECODER_LENGTH = 9


@dataclass
class Reference:
    """What the source model said."""

    start: int
    sources: list[dict[str, np.ndarray]] = field(default_factory=list)
    decoder_ids: list[np.ndarray] = field(default_factory=list)
    logits: list[np.ndarray] = field(default_factory=list)
    greedy: list[Generated] = field(default_factory=list)
    beams: list[Generated] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)  # the greedy ones as text


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32, about texts."""
    from exporter.tracing.causal_lm import context_length

    limit = context_length(checkpoint.model)
    return record_sources(checkpoint, [encode(checkpoint.tokenizer, text, limit) for text in TEXTS])


def record_sources(checkpoint: Checkpoint, sources: list[dict[str, np.ndarray]]) -> Reference:
    """Ask the source model about what its encoder reads: arrays `[1, ...]` by input name."""
    import torch

    from exporter.tracing.causal_lm import context_length

    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    reference = Reference(decoder_start(model))
    random = np.random.default_rng(0)
    length = min(DECODER_LENGTH, context_length(model))
    with quiet(), torch.no_grad():
        for source in sources:
            ids = np.array([reference.start, *random.integers(0, len(tokenizer), length - 1)])
            tensors = {name: torch.tensor(array, device=model.device) for name, array in source.items()}
            decoder_ids = torch.tensor(ids, device=model.device)[None]
            # A language model that takes the image as a prefix has logits for the prefix too.
            logits = model(**tensors, **{ids_argument(model): decoder_ids}).logits[0, -len(ids) :]
            reference.sources.append(source)
            reference.decoder_ids.append(ids)
            reference.logits.append(logits.float().cpu().numpy())
            reference.greedy.append(generate(model, tensors, reference.start, GREEDY))
            reference.beams.append(generate(model, tensors, reference.start, BEAM))
            reference.answers.append(tokenizer.decode(reference.greedy[-1].tokens, skip_special_tokens=True))
    return reference


def ids_argument(model: Any) -> str:
    """Under which name the model takes the ids of the text that it writes."""
    from exporter.tracing.captioner import steps_language_model

    return "input_ids" if steps_language_model(model) else "decoder_input_ids"


def decoder_start(model: Any) -> int:
    """What HF's `generate()` starts the decoder from."""
    from exporter.tracing.captioner import inner_parameters, steps_language_model

    if steps_language_model(model):
        return int(inner_parameters(model)["decoder_start_token_id"])
    config = model.generation_config
    start = config.decoder_start_token_id
    if start is None:
        start = config.bos_token_id
    return int(start[0] if isinstance(start, list) else start)


def encode(tokenizer: Any, text: str, limit: int) -> dict[str, np.ndarray]:
    """int64 `[1, n]` by input name, at most the model's length."""
    encoding = tokenizer(text, truncation=True, max_length=min(tokenizer.model_max_length, limit))
    names = [name for name in ("input_ids", "attention_mask") if name in encoding]
    return {name: np.array(encoding[name], np.int64)[None] for name in names}


def generate(model: Any, tensors: dict[str, torch.Tensor], start: int, options: dict[str, Any]) -> Generated:
    """HF's own tokens for one source, no more than the model has positions for."""
    from exporter.tracing.captioner import steps_language_model
    from exporter.tracing.causal_lm import context_length

    options = {**options, "max_new_tokens": min(options["max_new_tokens"], context_length(model) - 1)}
    output = model.generate(**tensors, **options, output_scores=True, return_dict_in_generate=True)
    best = [scores[0].float().topk(2).values for scores in output.scores]
    gaps = [float(values[0] - values[1]) for values in best] if options["num_beams"] == 1 else []
    tokens = output.sequences[0, 1:].tolist()
    # One sequence alone is not padded; which token ends it, the model's config may not even know (BLIP).
    return Generated([start], tokens if steps_language_model(model) else strip_padding(model, tokens), gaps, options)


def compare(reference: Reference, pipe: Any, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    return [
        *compare_numerics(reference, pipe.model.runner, precision),
        *compare_generation(reference, pipe, precision),
    ]


def compare_numerics(reference: Reference, runner: Any, precision: Precision) -> list[Check]:
    """Whole decoder texts one by one, then all together with single-token steps."""
    whole = []
    for source, ids in zip(reference.sources, reference.decoder_ids, strict=True):
        runner.reserve(1, len(ids))
        runner.encode(0, source)
        whole.append(runner.score(ids))
    expected = np.concatenate(reference.logits)
    checks = [compare_logits("whole texts", expected, np.concatenate(whole), precision)]
    found, wanted = steps_together(reference, runner)
    return [*checks, compare_logits(f"batch of {len(whole)}, prefill and {STEPS} steps", wanted, found, precision)]


def steps_together(reference: Reference, runner: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sources of different lengths side by side: (found, expected) `[rows * (STEPS + 1), vocab]`."""
    texts, rows = reference.decoder_ids, range(len(reference.decoder_ids))
    start = len(texts[0]) - STEPS
    runner.reserve(len(texts), len(texts[0]))
    for row in rows:
        runner.encode(row, reference.sources[row])
    found = [runner.prefill_together(0, [ids[:start] for ids in texts]).copy()]
    for step in range(STEPS):
        found.append(runner.decode(np.array([ids[start + step] for ids in texts])).copy())
    expected = [np.stack([reference.logits[row][start - 1 + step] for row in rows]) for step in range(STEPS + 1)]
    return np.concatenate(found), np.concatenate(expected)


def compare_generation(reference: Reference, pipe: Any, precision: Precision) -> list[Check]:
    """Greedy and beam tokens of all sources, and the greedy ones as text."""
    checks = []
    for name, expected in (("greedy", reference.greedy), ("3 beams", reference.beams)):
        config = resolve(checkpoint_parameters(pipe), **expected[0].options)
        start = np.array([start_token(config)])
        groups = pipe.model.generate([start] * len(expected), config, None, reference.sources)
        checks.append(generation_check(name, expected, [group[0].tokens for group in groups], precision))
    texts = [pipe.postprocess({"output_ids": [[reference.start, *item.tokens]]}) for item in reference.greedy]
    found = [next(iter(text[0].values())) for text in texts]
    wrong = [f"{a!r} instead of {b!r}" for a, b in zip(found, reference.answers, strict=True) if a != b]
    return [*checks, Check("answers", "decoded text", not wrong, {}, "; ".join(wrong[:1]))]


def checkpoint_parameters(pipe: Any) -> dict[str, Any]:
    """The checkpoint's own generation parameters, without the task's where a bundle serves several tasks."""
    found: dict[str, Any] = pipe.manifest.postprocess.get("checkpoint_generation", pipe.manifest.generation)
    return found
