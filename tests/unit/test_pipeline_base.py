"""The call machinery that all pipelines share, on a pipeline that counts letters and needs no graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle import Bundle, Manifest
from runtime.errors import InputError
from runtime.pipelines import provider_name
from runtime.pipelines.base import Pipeline, check_tokenizer_arguments, is_stream
from runtime.pipelines.registry import TASKS, find_task, load_class

WORDS = ["one", "three", "", "seventeen", "x"]


class Letters(Pipeline):
    """text -> {"letters": its length times `factor`, plus `shift`}; remembers the sizes of its batches."""

    task = "letters"

    def preprocess(self, inputs: Any, mark: str = "") -> dict[str, Any]:
        if not isinstance(inputs, str):
            raise InputError(f"letters takes a text, not {type(inputs).__name__}")
        return {"text": inputs + mark}

    def forward(self, model_inputs: dict[str, Any], factor: int = 1) -> dict[str, Any]:
        self.runs.append(1)
        return {"letters": len(model_inputs["text"]) * factor}

    def postprocess(self, model_outputs: dict[str, Any], shift: int = 0) -> Any:
        return {"letters": model_outputs["letters"] + shift}

    def _load(self) -> None:
        self.runs: list[int] = []

    def _forward_batch(self, items: list[dict[str, Any]], **kwargs: Any) -> list[dict[str, Any]]:
        outputs = super()._forward_batch(items, **kwargs)
        self.runs = [*self.runs[: -len(items)], len(items)]
        return outputs

    def _sanitize_parameters(self, mark: str | None = None, factor: int | None = None, shift: int | None = None) -> Any:
        named = ({"mark": mark}, {"factor": factor}, {"shift": shift})
        return tuple({key: value for key, value in part.items() if value is not None} for part in named)


@pytest.fixture
def make() -> Callable[..., Letters]:
    manifest = Manifest(
        name="x", task="letters", architecture="X", model_type="x", precision="fp32", path="plain", graphs={}
    )
    return lambda **kwargs: Letters(Bundle(Path(), manifest), **kwargs)


def letters(texts: list[str]) -> list[dict[str, int]]:
    return [{"letters": len(text)} for text in texts]


def test_one_item_and_lists(make: Callable[..., Letters]) -> None:
    """A list gives a list, of whatever length; one item gives its answer."""
    pipe = make()
    assert pipe("three") == {"letters": 5}
    assert pipe(["three"]) == letters(["three"])
    assert pipe(WORDS) == letters(WORDS)
    assert pipe([]) == []


@pytest.mark.parametrize(
    ("batch_size", "runs"), [(1, [1] * 5), (2, [2, 2, 1]), (3, [3, 2]), (4, [4, 1]), (5, [5]), (100, [5])]
)
def test_batches(make: Callable[..., Letters], batch_size: int, runs: list[int]) -> None:
    """In the call or in the constructor; the last one holds the rest."""
    called, made = make(), make(batch_size=batch_size)
    assert called(WORDS, batch_size=batch_size) == made(WORDS) == letters(WORDS)
    assert called.runs == made.runs == runs


def test_arguments_of_the_call_go_before_those_of_the_constructor(make: Callable[..., Letters]) -> None:
    pipe = make(factor=2, shift=100)
    assert pipe("one") == {"letters": 106}
    assert pipe("one", factor=3) == {"letters": 109}
    assert pipe("one", shift=0, mark="!") == {"letters": 8}
    assert pipe("one") == {"letters": 106}, "nothing of a call stays"


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "2", True])
def test_batch_sizes_that_are_none(make: Callable[..., Letters], batch_size: Any) -> None:
    with pytest.raises(InputError, match="batch_size must be a positive integer, not"):
        make()(WORDS, batch_size=batch_size)
    with pytest.raises(InputError, match="batch_size must be a positive integer, not"):
        make(batch_size=batch_size)


def test_workers_change_nothing(make: Callable[..., Letters]) -> None:
    assert make(num_workers=4)(WORDS, num_workers=2) == letters(WORDS)


# ---- streams


def test_generators_may_have_no_end(make: Callable[..., Letters]) -> None:
    answers = make()(("x" * n for n in count()), batch_size=3)
    assert [next(answers)["letters"] for _ in range(8)] == list(range(8))


class Rows:
    """Like HF's `KeyDataset`: a length and items."""

    def __len__(self) -> int:
        return len(WORDS)

    def __getitem__(self, index: int) -> str:
        return WORDS[index]


class Streamed:
    """Like a streaming `datasets.IterableDataset`: it can only be iterated over."""

    def __iter__(self) -> Iterator[str]:
        return iter(WORDS)


@pytest.mark.parametrize("make_source", [Rows, Streamed, lambda: iter(WORDS), lambda: map(str, WORDS)])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_sources_of_many_items(make: Callable[..., Letters], make_source: Any, batch_size: int) -> None:
    answers = make()(make_source(), batch_size=batch_size)
    assert not isinstance(answers, list)
    assert list(answers) == letters(WORDS)
    assert list(answers) == [], "it is an iterator: it ends once"


def test_only_sized_sources_have_a_length(make: Callable[..., Letters]) -> None:
    assert len(make()(Rows())) == 5
    with pytest.raises(TypeError):
        len(make()(Streamed()))


@pytest.mark.parametrize("item", ["text", b"bytes", {"a": 1}, {1}, ("a", "b"), 3, None, np.zeros(2), ["a"]])
def test_what_is_no_stream(item: Any) -> None:
    assert not is_stream(item)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_errors_come_with_the_item_that_caused_them(make: Callable[..., Letters], batch_size: int) -> None:
    """Those before it have been answered; `item` counts over all batches, of one or of several."""
    pipe = make()
    answers = pipe(iter(["a", "b", "c", 4, "e"]), batch_size=batch_size)
    assert [next(answers) for _ in range(3)] == letters(["a", "b", "c"])
    with pytest.raises(InputError, match=r"^item 3: letters takes a text, not int$"):
        next(answers)
    with pytest.raises(InputError, match=r"^item 1: letters takes a text, not int$"):
        pipe(["a", 4], batch_size=batch_size)
    with pytest.raises(InputError, match=r"^letters takes a text, not tuple$"):
        pipe(("a", "b"), batch_size=batch_size)


def test_the_steps_one_by_one(make: Callable[..., Letters]) -> None:
    pipe = make()
    assert pipe.postprocess(pipe.forward(pipe.preprocess("three"))) == pipe("three")


# ---- the table of tasks, devices


@pytest.mark.parametrize("name", TASKS)
def test_every_row_of_the_task_table_loads(name: str) -> None:
    entry = find_task(name)
    assert issubclass(load_class(entry), Pipeline)
    assert all(find_task(alias) is entry for alias in entry.aliases)
    assert entry.inputs and entry.outputs


def test_an_unknown_task_says_what_there_is() -> None:
    with pytest.raises(InputError, match=r"unknown task 'poetry'; available tasks: .*text-generation"):
        find_task("poetry")


@pytest.mark.parametrize(
    ("device", "provider"),
    [(None, "cpu"), (-1, "cpu"), ("cpu", "cpu"), (0, "cuda"), (1, "cuda"), ("cuda", "cuda"), ("cuda:1", "cuda")],
)
def test_devices(device: Any, provider: str) -> None:
    """HF's spellings; a provider of its own goes first."""
    assert provider_name(None, device) == provider
    assert provider_name("cpu", device) == "cpu"


def test_an_unknown_device() -> None:
    with pytest.raises(InputError, match="unknown device 'tpu': use 'cpu' or 'cuda'"):
        provider_name(None, "tpu")


def test_tokenizer_arguments() -> None:
    check_tokenizer_arguments({"truncation": True, "max_length": 3})
    with pytest.raises(InputError, match=r"^unknown argument 'max_lenght': did you mean 'max_length'\?$"):
        check_tokenizer_arguments({"max_lenght": 3})
