"""What every pipeline shares: HF's call machinery around preprocess, forward and postprocess.

Source of the behaviour: transformers 5.23 `pipelines/base.py` (`Pipeline.__call__`, `_sanitize_parameters`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from difflib import get_close_matches
from inspect import signature
from itertools import islice
from typing import Any

from runtime.bundle import Bundle
from runtime.errors import InputError, PipelineException
from runtime.tokenizer import Tokenizer


class Pipeline:
    """One task over one bundle. Subclasses give `preprocess`, `forward`, `postprocess` and `_sanitize_parameters`.

    The three steps work on single items: `preprocess(x)` gives model inputs with a leading batch dimension of 1,
    `forward(model_inputs)` runs the graph, `postprocess(outputs)` makes the answer. `_forward_batch` runs several
    items' inputs at once and defaults to one by one.
    """

    task: str

    def __init__(
        self,
        bundle: Bundle,
        provider: str = "cpu",
        threads: int | None = None,
        batch_size: int = 1,
        num_workers: int | None = None,
        task: str | None = None,
        spinning: bool = True,
        **kwargs: Any,
    ) -> None:
        # As it was asked for, where that says more than the class: translation_en_to_fr.
        self.task = task or type(self).task
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.provider = provider
        self.threads = threads
        self.spinning = spinning
        self.batch_size = check_batch_size(batch_size)
        self._load()
        self._defaults = self._sanitize_parameters(**kwargs)

    def __call__(
        self, inputs: Any, *, batch_size: int | None = None, num_workers: int | None = None, **kwargs: Any
    ) -> Any:
        """HF's rules: a list gives a list, a generator or dataset gives an iterator, anything else one answer.

        `num_workers` is accepted, here and by the constructor, and has no effect: preprocessing takes no time to
        speak of. Raises `InputError` (a `ValueError`) for what the task cannot take.
        """
        size = self.batch_size if batch_size is None else check_batch_size(batch_size)
        parameters = self._parameters(kwargs)
        if self._is_single(inputs):
            return next(iter(self._run(Alone([inputs]), 1, parameters)))
        if isinstance(inputs, list):
            return list(self._run(inputs, size, parameters))
        return SizedIterator(self._run(iterate(inputs), size, parameters), inputs)

    def preprocess(self, inputs: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """One item -> model inputs."""
        raise NotImplementedError

    def forward(self, model_inputs: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Model inputs -> model outputs."""
        raise NotImplementedError

    def postprocess(self, model_outputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Model outputs -> the answer."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back threads and memory that belong to this pipeline alone."""

    def _load(self) -> None:
        """Open what the task needs from the bundle."""
        raise NotImplementedError

    def _open_session(self) -> Any:
        """The session of a bundle's only graph. Threads that spin do so while it runs, and let go of the cores then."""
        from runtime.session import open_session

        path = self.bundle.graph("model")
        return open_session(path, self.provider, self.threads, self.spinning, between_runs=False)

    def _sanitize_parameters(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Sort call arguments into those of preprocess, forward and postprocess."""
        raise NotImplementedError

    def _forward_batch(self, items: list[dict[str, Any]], **kwargs: Any) -> list[dict[str, Any]]:
        return [self.forward(item, **kwargs) for item in items]

    def _is_single(self, inputs: Any) -> bool:
        """Whether `inputs` is one item; lists, generators and datasets are several."""
        return not isinstance(inputs, list) and not is_stream(inputs)

    def _parameters(self, kwargs: dict[str, Any]) -> list[dict[str, Any]]:
        """Arguments of the three steps: those of the call over those of the constructor."""
        called = self._sanitize_parameters(**kwargs)
        return [{**default, **given} for default, given in zip(self._defaults, called, strict=True)]

    def _run(self, items: Iterable[Any], batch_size: int, parameters: list[dict[str, Any]]) -> Iterator[Any]:
        pre, fwd, post = parameters
        for number, batch in batches(items, batch_size):
            prepared = [
                name_item(number + offset, items, self.preprocess, item, pre) for offset, item in enumerate(batch)
            ]
            outputs = self._forward_batch(prepared, **fwd) if len(prepared) > 1 else [self.forward(prepared[0], **fwd)]
            for output in outputs:
                yield self.postprocess(output, **post)


class SizedIterator:
    """An iterator over answers that knows its length when its source does (HF's `PipelineIterator`)."""

    def __init__(self, answers: Iterator[Any], source: Any) -> None:
        self._answers = answers
        self._source = source

    def __iter__(self) -> Iterator[Any]:
        return self._answers

    def __next__(self) -> Any:
        return next(self._answers)

    def __len__(self) -> int:
        return len(self._source)


class Alone(list[Any]):
    """One item that the user passed by itself: an error need not say which it was."""


def name_item(index: int, items: Any, preprocess: Any, item: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Preprocess one of `items`; an error says which one it was, unless it stands alone."""
    try:
        prepared: dict[str, Any] = preprocess(item, **kwargs)
    except InputError as error:
        if isinstance(items, Alone):
            raise
        raise InputError(f"item {index}: {error}") from error
    except PipelineException as error:
        if isinstance(items, Alone):
            raise
        raise PipelineException(error.task, error.model, f"item {index}: {error}") from error
    return prepared


def is_stream(inputs: Any) -> bool:
    """A generator, iterator, or anything shaped like a dataset (`KeyDataset`, `datasets.Dataset`): many items."""
    if isinstance(inputs, (str, bytes, Mapping, Set, list, tuple)) or hasattr(inputs, "__array__"):
        return False
    return hasattr(inputs, "__iter__") or (hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__"))


def iterate(inputs: Any) -> Iterator[Any]:
    """Iterate over an iterator or over an indexable dataset."""
    if hasattr(inputs, "__iter__"):
        return iter(inputs)
    return (inputs[index] for index in range(len(inputs)))


def check_tokenizer_arguments(kwargs: Mapping[str, Any]) -> None:
    """Raise `InputError` for a keyword that `Tokenizer.__call__` does not have."""
    if not kwargs:
        return  # nearly always, and reading a signature takes longer than tokenising a short text
    known = [p.name for p in signature(Tokenizer.__call__).parameters.values() if p.kind is p.KEYWORD_ONLY]
    unknown = sorted(set(kwargs) - set(known))
    if unknown:
        close = get_close_matches(unknown[0], known, n=1)
        raise InputError(f"unknown argument {unknown[0]!r}" + (f": did you mean {close[0]!r}?" if close else ""))


def batches(items: Iterable[Any], size: int) -> Iterator[tuple[int, list[Any]]]:
    """(index of the first item, items) of each batch."""
    iterator, start = iter(items), 0
    while batch := list(islice(iterator, size)):
        yield start, batch
        start += len(batch)


def check_batch_size(batch_size: Any) -> int:
    """A positive int, or an `InputError`."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size must be a positive integer, not {batch_size!r}")
    return batch_size
