"""Runs the rounds, sides in turn, and makes figures of them: medians, percentiles, and ratios within rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

from runtime.bench.inputs import GENERATING
from runtime.bench.subjects import Settings, Subject

Round = dict[str, Any]
# Of these, more is better.
RATES = ("per_s", "tokens_per_s")


def run_rounds(
    subjects: Sequence[Subject], settings: Settings, watch: Callable[[str], None] = lambda _: None
) -> list[list[Round]]:
    """For each subject its rounds. Every round begins with another subject, so that none is always the first."""
    rounds: list[list[Round]] = [[] for _ in subjects]
    for number in range(settings.rounds):
        order = [(number + place) % len(subjects) for place in range(len(subjects))]
        for index in order:
            watch(f"round {number + 1} of {settings.rounds}: {subjects[index].name}")
            rounds[index].append(subjects[index].measure(settings))
    return rounds


def summarise(subjects: Sequence[Subject], rounds: Sequence[Sequence[Round]], settings: Settings) -> list[Round]:
    """One record a subject: figures over all rounds, and `ratios` to the first subject (above 1 is better)."""
    new_tokens = settings.new_tokens if subjects[0].task in GENERATING else 0
    by_round = [[flat(one, new_tokens) for one in each] for each in rounds]
    sizes = [subject.size or rounds[index][0].get("size") for index, subject in enumerate(subjects)]
    found = []
    for index, subject in enumerate(subjects):
        ratios = {name: paired_ratio(name, by_round[0], by_round[index]) for name in by_round[index][0]}
        ratios["size"] = paired_ratio("size", *([{"size": size or 0.0}] for size in (sizes[0], sizes[index])))
        found.append(
            {
                "name": subject.name,
                "path": subject.path,
                "task": subject.task,
                "precision": subject.precision,
                "size": sizes[index],
                **overall(rounds[index], new_tokens),
                "ratios": {} if index == 0 else {name: value for name, value in ratios.items() if value is not None},
            }
        )
    return found


def flat(one: Round, new_tokens: int) -> dict[str, float]:
    """A round's figures by name; those of batch size 8 begin with `8.`."""
    found = {name: one[name] for name in ("load_s", "first_answer_s", "peak_mb") if one.get(name) is not None}
    for size, entry in one["batches"].items():
        found |= {f"{size}.{name}": value for name, value in batch_figures([entry], int(size), new_tokens).items()}
    return found


def overall(rounds: Sequence[Round], new_tokens: int) -> dict[str, Any]:
    """Medians over rounds; latencies of all rounds together."""
    found: dict[str, Any] = {
        name: median(one[name] for one in rounds)
        for name in ("load_s", "first_answer_s", "peak_mb")
        if all(one.get(name) is not None for one in rounds)
    }
    sizes = rounds[0]["batches"]
    return found | {
        "batches": {
            size: batch_figures([one["batches"][size] for one in rounds], int(size), new_tokens) for size in sizes
        }
    }


def batch_figures(entries: Sequence[dict[str, list[float]]], size: int, new_tokens: int) -> dict[str, float]:
    """p50_ms and p95_ms of an answer (a batch of them), answers a second; for generators first token and tokens/s."""
    seconds = np.concatenate([entry["seconds"] for entry in entries])
    found = {
        "p50_ms": 1000 * float(np.percentile(seconds, 50)),
        "p95_ms": 1000 * float(np.percentile(seconds, 95)),
        "per_s": size / float(seconds.mean()),
    }
    if new_tokens:
        first = float(np.percentile(np.concatenate([entry["first_seconds"] for entry in entries]), 50))
        rest = float(np.percentile(seconds, 50)) - first
        found["first_token_ms"] = 1000 * first
        if new_tokens > 1 and rest > 0:
            found["tokens_per_s"] = size * (new_tokens - 1) / rest
    return found


def paired_ratio(name: str, reference: Sequence[dict[str, float]], ours: Sequence[dict[str, float]]) -> float | None:
    """Median over rounds of how many times better ours is; None where a round lacks the figure."""
    pairs = [(a.get(name), b.get(name)) for a, b in zip(reference, ours, strict=True)]
    known = [(a, b) for a, b in pairs if a and b]
    if len(known) < len(pairs):
        return None
    return median(b / a if name.endswith(RATES) else a / b for a, b in known)
