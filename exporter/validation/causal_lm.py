"""Validation of causal LMs: logits under every way of running them, greedy and beam tokens, the pipeline's answers.

`record` asks the source model once, in float32; `compare` asks the bundle through the runtime. Between the two the
source can leave memory.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exporter.loading import Checkpoint
from exporter.memory import block_by_block, release
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.checks import Check, compare_logits
from runtime.generation.config import resolve
from runtime.generation.slots import SlotRunner
from runtime.pipelines.text_generation import TextGenerationPipeline

PROMPTS = (
    "Hello, my name is",
    "The meaning of life is",
    "def fibonacci(n):\n    ",
    "In 1969, the first people landed on the",
    "Il était une fois, dans une forêt lointaine, une petite",
)
RANDOM_LENGTHS = (1, 2, 19, 67)
NEW_TOKENS = 24
GREEDY: dict[str, Any] = {"do_sample": False, "num_beams": 1, "max_new_tokens": NEW_TOKENS}
BEAM: dict[str, Any] = {"do_sample": False, "num_beams": 3, "max_new_tokens": 12}
LONG_LENGTH = 1024  # of the longest text, or the context
LONG_LOGITS = 2**22  # numbers kept of its logits, 16 MB: every position of a small vocabulary, some of a large one
STEPS = 4  # single-token steps after a prefill, in the numerics
TIE = 1e-3  # two best scores closer than this are a tie that rounding decides


@dataclass
class Generated:
    """Tokens that the source generated for a prompt; gaps: best minus second-best score at each step."""

    prompt_ids: list[int]
    tokens: list[int]
    gaps: list[float]
    options: dict[str, Any]


@dataclass
class Reference:
    """What the source model said."""

    logits: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # (ids [n], logits [n, vocab])
    # The same for one text as long as the context, at some positions: (ids [n], positions [k], logits [k, vocab]).
    long: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    greedy: list[Generated] = field(default_factory=list)
    beams: list[Generated] = field(default_factory=list)
    answers: list[tuple[Any, dict[str, Any], Any]] = field(default_factory=list)  # (input, options, HF's answer)


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32."""
    import torch

    from exporter.tracing.causal_lm import context_length

    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    context = context_length(model)
    reference = Reference()
    with quiet(), torch.no_grad():
        for ids in sequences(model, tokenizer, context):
            reference.logits.append((ids, logits_of(model, ids)))
        ids = long_sequence(model, tokenizer, context)
        positions = spread(len(ids), model.config.get_text_config().vocab_size)
        release()
        with block_by_block(model):  # scores of attention over so long a text are as large as the weights
            reference.long = (ids, positions, logits_of(model, ids, positions))
        release()
        prompts = [ids for ids in prompt_ids(tokenizer, context) if len(ids) + NEW_TOKENS < context]
        reference.greedy = [generate(model, ids, GREEDY) for ids in prompts]
        reference.beams = [generate(model, ids, BEAM) for ids in prompts[:3]]
        reference.answers = record_answers(checkpoint, context)
    return reference


def logits_of(model: Any, ids: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
    """The source's logits `[n, vocab]` at every position of a text, or at `positions` `[k]` alone.

    All logits of a long text would be the largest thing in memory, several times the weights of a small model.
    """
    import torch

    head = model.get_output_embeddings()
    picked = None if positions is None else torch.tensor(positions, device=model.device)
    hook = head.register_forward_pre_hook(lambda module, args: (args[0] if picked is None else args[0][:, picked],))
    try:
        output = model(input_ids=torch.tensor(ids, device=model.device)[None])
    finally:
        hook.remove()
    logits: np.ndarray = output.logits[0].float().cpu().numpy()
    return logits


def long_sequence(model: Any, tokenizer: Any, context: int) -> np.ndarray:
    """Random ids over the whole context."""
    vocab = min(model.config.get_text_config().vocab_size, len(tokenizer))
    ids: np.ndarray = np.random.default_rng(1).integers(0, vocab, min(context, LONG_LENGTH))
    return ids


def spread(length: int, vocab: int) -> np.ndarray:
    """Positions `[k]` over a whole text, the last among them: all, or as many as `LONG_LOGITS` allows."""
    count = min(length, max(LONG_LOGITS // vocab, 2))
    return np.unique(np.linspace(0, length - 1, count).astype(np.int64))


def sequences(model: Any, tokenizer: Any, context: int) -> list[np.ndarray]:
    """Token ids to compare logits on: random ones of several lengths, and the prompts."""
    random = np.random.default_rng(0)
    vocab = min(model.config.get_text_config().vocab_size, len(tokenizer))
    lengths = [min(length, context) for length in RANDOM_LENGTHS]
    return [random.integers(0, vocab, length) for length in lengths] + prompt_ids(tokenizer, context)[:2]


def prompt_ids(tokenizer: Any, context: int) -> list[np.ndarray]:
    """The prompts, tokenised, at most half a context long; without those that have no tokens in this vocabulary."""
    encoded = [np.array(tokenizer(text)["input_ids"][: max(context // 2, 1)]) for text in PROMPTS]
    return [ids for ids in encoded if ids.size]


def generate(model: Any, ids: np.ndarray, options: dict[str, Any]) -> Generated:
    """HF's own tokens for one prompt."""
    import torch

    inputs = torch.tensor(ids, device=model.device)[None]
    output = model.generate(
        inputs, attention_mask=torch.ones_like(inputs), **options, output_scores=True, return_dict_in_generate=True
    )
    best = [scores[0].float().topk(2).values for scores in output.scores]
    gaps = [float(values[0] - values[1]) for values in best] if options["num_beams"] == 1 else []
    return Generated(ids.tolist(), strip_padding(model, output.sequences[0, len(ids) :].tolist()), gaps, options)


def strip_padding(model: Any, tokens: list[int]) -> list[int]:
    """Without what follows the first end token."""
    ends = model.generation_config.eos_token_id
    known = set(ends if isinstance(ends, list) else [ends])
    place = next((i for i, token in enumerate(tokens) if token in known), len(tokens))
    return tokens[: place + 1]


def record_answers(checkpoint: Checkpoint, context: int) -> list[tuple[Any, dict[str, Any], Any]]:
    """HF's pipeline on prompts and, where there is a template, on a chat."""
    from transformers import pipeline as hf_pipeline

    # A copy: HF's pipeline turns the padding side of its tokenizer to the left, and ours is still to be saved.
    tokenizer = copy.deepcopy(checkpoint.tokenizer)
    pipe = hf_pipeline("text-generation", model=checkpoint.model, tokenizer=tokenizer)
    options = {"do_sample": False, "max_new_tokens": 8}
    inputs: list[Any] = [text for text in PROMPTS if 0 < len(checkpoint.tokenizer(text)["input_ids"]) < context - 8]
    if checkpoint.tokenizer.chat_template:
        inputs.append([{"role": "user", "content": PROMPTS[1]}])
    return [(item, options, pipe(item, **options)) for item in inputs]


def compare(reference: Reference, pipe: TextGenerationPipeline, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    return [
        *compare_numerics(reference, pipe.model.runner, precision),
        *compare_generation(reference, pipe, precision),
        compare_answers(reference, pipe, precision),
    ]


def compare_numerics(reference: Reference, runner: Any, precision: Precision) -> list[Check]:
    """Logits of whole texts, of ragged batches with decode steps after them, and of a continued prefix."""
    expected = [logits for _, logits in reference.logits]
    texts = [ids for ids, _ in reference.logits]
    whole = [runner.score(ids) for ids in texts]
    checks = [compare_logits("whole texts", np.concatenate(expected), np.concatenate(whole), precision)]
    if reference.long is not None:
        ids, positions, wanted = reference.long
        # Every slot of a runner of slots would become as long as the text, for good.
        found = (runner.alone() if isinstance(runner, SlotRunner) else runner).score(ids, positions)
        checks.append(compare_logits(f"a text of {len(ids)} tokens", wanted, found, precision))
    long = [row for row, ids in enumerate(texts) if len(ids) > STEPS]
    for count in sorted({1, 2, min(len(long), runner.slots)}):
        rows = long[:count]
        found, wanted = ragged_steps(runner, [texts[row] for row in rows], [expected[row] for row in rows])
        checks.append(compare_logits(f"batch of {len(rows)}, prefill and {STEPS} steps", wanted, found, precision))
    ids, logits = max(reference.logits, key=lambda item: len(item[0]))
    cut = len(ids) // 2
    runner.reserve(1, len(ids))
    runner.prefill(0, ids[:cut])
    found = runner.prefill(0, ids[cut:], start=cut)
    checks.append(compare_logits("continued prefix", logits[-1:], found, precision))
    return checks


def ragged_steps(runner: Any, texts: list[np.ndarray], logits: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Prefill rows of different lengths together, then decode: (found, expected) `[rows * (STEPS + 1), vocab]`."""
    runner.reserve(len(texts), max(len(ids) for ids in texts))
    starts = [len(ids) - STEPS for ids in texts]
    found = [runner.prefill_together(0, [ids[:start] for ids, start in zip(texts, starts, strict=True)]).copy()]
    expected = [np.stack([row[start - 1] for row, start in zip(logits, starts, strict=True)])]
    for step in range(STEPS):
        tokens = np.array([ids[start + step] for ids, start in zip(texts, starts, strict=True)])
        found.append(runner.decode(tokens).copy())
        expected.append(np.stack([row[start + step] for row, start in zip(logits, starts, strict=True)]))
    return np.concatenate(found), np.concatenate(expected)


def compare_generation(reference: Reference, pipe: TextGenerationPipeline, precision: Precision) -> list[Check]:
    """Greedy and beam tokens; greedy prompts of different lengths in one batch."""
    checks = []
    for name, expected in (("greedy", reference.greedy), ("3 beams", reference.beams)):
        if expected:
            config = resolve(pipe.manifest.generation, **expected[0].options)
            groups = pipe.model.generate([np.array(item.prompt_ids) for item in expected], config)
            checks.append(generation_check(name, expected, [group[0].tokens for group in groups], precision))
    return checks


def generation_check(name: str, expected: list[Generated], found: list[list[int]], precision: Precision) -> Check:
    """Share of tokens before the first difference that is no tie, and where that was."""
    shares, ties, details = [], 0, []
    for item, tokens in zip(expected, found, strict=True):
        place = first_difference(item.tokens, tokens)
        if place is not None and place < len(item.gaps) and item.gaps[place] < TIE:
            ties, place = ties + 1, None
        shares.append(1.0 if place is None else place / max(len(item.tokens), 1))
        if place is not None:
            details.append(f"token {place}: {tokens[place : place + 1]} instead of {item.tokens[place : place + 1]}")
    agreement = float(np.mean(shares))
    passed = not details if precision.exact else agreement >= precision.agreement
    figures = {"agreement": agreement, "ties": ties}
    return Check("generation", name, passed, figures, "; ".join(details[:2]), curve=agreement_curve(expected, found))


def agreement_curve(expected: list[Generated], found: list[list[int]]) -> list[float]:
    """At index n: the share of texts, of those with as many tokens, whose first n + 1 tokens are all the source's."""
    places = [first_difference(item.tokens, tokens) for item, tokens in zip(expected, found, strict=True)]
    lengths = [len(item.tokens) for item in expected]
    curve = []
    for position in range(max(lengths)):
        counted = [place for place, length in zip(places, lengths, strict=True) if length > position]
        curve.append(float(np.mean([place is None or place > position for place in counted])))
    return curve


def first_difference(expected: list[int], found: list[int]) -> int | None:
    """Index of the first token that differs, None when all are equal."""
    if expected == found:
        return None
    pairs = zip(expected, found, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))


def compare_answers(reference: Reference, pipe: TextGenerationPipeline, precision: Precision) -> Check:
    """The pipeline's output in the shape and, where exact and no tie decides, the words of HF's."""
    wrong = []
    for item, options, expected in reference.answers:
        found = pipe(item, **options)
        exact = precision.exact and not decided_by_a_tie(reference, pipe, item, options["max_new_tokens"])
        if shape_of(found) != shape_of(expected) or (exact and found != expected):
            wrong.append(f"for {str(item)[:40]!r}: {str(found)[:80]} instead of {str(expected)[:80]}")
    share = 1 - len(wrong) / max(len(reference.answers), 1)
    return Check("answers", "text-generation pipeline", not wrong, {"equal": share}, "; ".join(wrong[:1]))


def decided_by_a_tie(reference: Reference, pipe: TextGenerationPipeline, item: Any, steps: int) -> bool:
    """Whether rounding chooses one of the first tokens after a prompt; `generation_check` reports those."""
    if not isinstance(item, str):
        return False
    ids = pipe.tokenizer(item)["input_ids"]
    return any(min(one.gaps[:steps], default=1.0) < TIE for one in reference.greedy if one.prompt_ids == ids)


def shape_of(value: Any) -> Any:
    """The nesting, keys and types of an answer, without what it says."""
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape_of(item) for item in value]
    return type(value).__name__
