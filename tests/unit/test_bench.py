"""Figures of a benchmark, from rounds whose times are known."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from runtime.bench.inputs import GENERATING, IMAGES, ask, text_of
from runtime.bench.measure import FEWEST, measure, peak_mb, seconds_of
from runtime.bench.run import run_rounds, summarise
from runtime.bench.subjects import Settings, Subject
from runtime.bench.table import bench_table
from runtime.bench.worker import generation_options
from runtime.errors import InputError, OnwardError
from runtime.pipelines.registry import TASKS


class Fake(Subject):
    """Says what it was given, and notes when it was asked."""

    asked: ClassVar[list[str]] = []
    rounds: ClassVar[dict[str, list[dict[str, Any]]]] = {}

    def measure(self, settings: Settings) -> dict[str, Any]:
        self.asked.append(self.name)
        return self.rounds[self.name].pop(0)


def one_round(seconds: float, first: float | None = None, load: float = 1.0) -> dict[str, Any]:
    entry = {"seconds": [seconds] * 4} | ({} if first is None else {"first_seconds": [first] * 3})
    return {"load_s": load, "first_answer_s": 2 * load, "peak_mb": 100.0, "batches": {"4": entry}}


def records(task: str, *rounds: list[dict[str, Any]], settings: Settings | None = None) -> list[dict[str, Any]]:
    names = [f"subject {number}" for number in range(len(rounds))]
    Fake.asked, Fake.rounds = [], dict(zip(names, [list(each) for each in rounds], strict=True))
    subjects = [Fake(name, name, task, "fp32", size=1000 * (2 - number)) for number, name in enumerate(names)]
    settings = settings or Settings(rounds=len(rounds[0]), new_tokens=11)
    return summarise(subjects, run_rounds(subjects, settings), settings)


def test_sides_take_turns() -> None:
    records("text-classification", *([one_round(1.0)] * 3 for _ in range(2)))
    assert Fake.asked == ["subject 0", "subject 1", "subject 1", "subject 0", "subject 0", "subject 1"]


def test_figures_and_ratios() -> None:
    """Ratios above 1 are better, of times and of rates; they are paired, so a slow round slows both."""
    slow, fast = [one_round(0.2), one_round(2.0)], [one_round(0.1, load=0.5), one_round(1.0, load=0.5)]
    reference, ours = records("text-classification", slow, fast)
    assert reference["ratios"] == {}
    assert reference["batches"]["4"]["p50_ms"] == pytest.approx(1100)
    assert ours["batches"]["4"]["p95_ms"] == pytest.approx(1000)
    assert ours["batches"]["4"]["per_s"] == pytest.approx(4 / 0.55)
    ratios = ours["ratios"]
    assert ratios["size"] == 2
    assert ratios["load_s"] == ratios["first_answer_s"] == 2
    assert ratios["4.p50_ms"] == ratios["4.per_s"] == pytest.approx(2)
    assert ratios["peak_mb"] == 1
    assert "tokens_per_s" not in ours["batches"]["4"]


def test_tokens_a_second() -> None:
    """11 tokens in 1.2 s, the first of them in 0.2: 10 in a second, in each of 4 rows."""
    reference, ours = records("text-generation", [one_round(2.2, 0.2)], [one_round(1.2, 0.2)])
    assert ours["batches"]["4"]["tokens_per_s"] == pytest.approx(40)
    assert ours["batches"]["4"]["first_token_ms"] == pytest.approx(200)
    assert ours["ratios"]["4.tokens_per_s"] == pytest.approx(2)
    assert reference["batches"]["4"]["tokens_per_s"] == pytest.approx(20)


def test_the_table_shows_all_of_it() -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(bench_table(records("text-generation", [one_round(2.2, 0.2)], [one_round(1.2, 0.2)]), "title"))
    shown = console.export_text()
    for words in (
        "title",
        "subject 0",
        "subject 1",
        "size on disk",
        "batch 4: tokens a second",
        "40.0  2.00×",
        "1.20 s",
    ):
        assert words in shown


# ---- measuring


def test_calls_end_with_the_budget() -> None:
    calls: list[int] = []
    assert len(seconds_of(lambda: calls.append(1), budget=0.0)) == FEWEST == len(calls)
    assert len(seconds_of(lambda: calls.append(1), budget=0.05)) > FEWEST


def test_measured_by_batch_size() -> None:
    asked: list[tuple[int, int]] = []
    found = measure(lambda size, count: asked.append((size, count)), [1, 8], 5, budget=0.0)
    assert set(found) == {"1", "8"}
    assert set(asked) == {(1, 5), (1, 1), (8, 5), (8, 1)}
    assert len(found["8"]["first_seconds"]) == FEWEST
    assert "first_seconds" not in measure(lambda *_: None, [1], 0, budget=0.0)["1"]
    peak = peak_mb()
    assert peak is None or peak > 10


class Words:
    """A tokenizer of words."""

    mask_token = "[MASK]"

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[str]]:
        return {"input_ids": text.split()}

    def decode(self, ids: list[str], skip_special_tokens: bool) -> str:
        return " ".join(ids)


@pytest.mark.parametrize("tokens", [1, 64, 1000])
def test_texts_are_as_long_as_asked(tokens: int) -> None:
    assert len(text_of(Words(), tokens).split()) == tokens


@pytest.mark.parametrize("task", TASKS)
def test_every_task_can_be_asked(task: str) -> None:
    question, _ = ask(task, Words(), 16)
    assert question
    assert (task in IMAGES) == hasattr(question, "size")
    if task in GENERATING:
        assert "max_new_tokens" in generation_options(task, 4)


def test_an_unknown_task() -> None:
    with pytest.raises(InputError, match="no benchmark for nonsense"):
        ask("nonsense", Words(), 16)


# ---- processes


def test_a_worker_that_fails_is_named() -> None:
    lost = Subject("lost", "/no/such/bundle", "text-classification", "fp32")
    with pytest.raises(OnwardError, match="no bundle at /no/such/bundle"):
        lost.measure(Settings())
    crashed = Subject("crashed", "x", "text-classification", "fp32", worker="runtime.nonsense")
    with pytest.raises(OnwardError, match=r"measuring crashed failed \(exit code 1\): .*No module named"):
        crashed.measure(Settings())


def test_a_worker_needs_no_torch(classifier_bundle: Path) -> None:
    request = Subject("m", str(classifier_bundle), "text-classification", "fp32").request(
        Settings((1, 2), seconds=0.05)
    )
    program = f"""
import sys
from runtime.bench import worker
sys.argv = ["worker", {json.dumps(request)!r}]
worker.main()
print(*sorted({{name.partition(".")[0] for name in sys.modules}} & {{"torch", "transformers", "onnx", "optimum"}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    figures, imported = done.stdout.splitlines()
    assert imported == ""
    found = json.loads(figures)
    assert set(found["batches"]) == {"1", "2"}
    assert 0 < found["load_s"] < found["first_answer_s"]
