"""Streams from a generating model under Triton, and from the same bundle in this process: rates and waiting times."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Streams:
    """What some streams at the same time were like. wall, cpu: seconds of them all; first, between: of each wait."""

    wall: float = 0.0
    cpu: float = 0.0
    tokens: int = 0
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.wall

    @property
    def cpu_each(self) -> float:
        """CPU µs a token."""
        return self.cpu / self.tokens * 1e6


def stream(pipe: Any, count: int, tokens: int, rounds: int, cpu: Callable[[], float]) -> Streams:
    """`rounds` times `count` streams at once, `tokens` each. cpu: seconds that were spent so far by who generates."""
    found = Streams()
    for number in range(rounds):
        prompts = [f"{number} " * 4 + "word " * (16 + index) for index in range(count)]
        begun, spent = time.perf_counter(), cpu()
        with ThreadPoolExecutor(count) as pool:
            for first, between in pool.map(lambda prompt: waits(pipe, prompt, tokens), prompts):
                found.first.append(first)
                found.between.extend(between)
        found.wall += time.perf_counter() - begun
        found.cpu += cpu() - spent
        found.tokens += count * tokens
    return found


def waits(pipe: Any, prompt: str, tokens: int) -> tuple[float, list[float]]:
    """Seconds from the call to the first piece of text, and between pieces."""
    times = [time.perf_counter()]
    answer = pipe.submit(prompt, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    times += [time.perf_counter() for _ in answer]
    assert answer.num_output_tokens == tokens
    # Nearly every token of the checkpoint is a piece of text: see `with_words`.
    assert len(times) - 1 > 0.9 * tokens, f"{len(times) - 1} pieces of {tokens} tokens"
    gaps = np.diff(times).tolist()
    return gaps[0], gaps[1:]


def percentiles(seconds: list[float]) -> str:
    """Median and 95th percentile in ms."""
    return " / ".join(f"{np.percentile(seconds, part) * 1000:.1f}" for part in (50, 95))


def with_words(checkpoint: Path, folder: Path) -> Path:
    """A copy of a checkpoint with random weights whose tokenizer has a word for every id that the model can choose.

    The small tokenizers of the tests leave most ids without text, and a stream would have fewer pieces than tokens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in checkpoint.iterdir():
        if file.suffix == ".safetensors":
            (folder / file.name).unlink(missing_ok=True)
            (folder / file.name).symlink_to(file.resolve())
        elif file.is_file():
            shutil.copy(file, folder)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"Ġw{index}": index for index in range(len(vocabulary), size)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder
