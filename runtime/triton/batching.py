"""What the tasks share that Triton's dynamic batcher serves: many requests in one run, none hurt by another.

A request becomes a job (`read`), jobs that arrive together are run together (`run`), and each job's answer becomes the
request's response (`respond`). A request that cannot be read, or whose job fails, has its own error.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

from runtime.triton.cancellation import CancellationWatch, while_wanted
from runtime.triton.faults import failure
from runtime.triton.settings import Settings

Job = TypeVar("Job")
Answer = TypeVar("Answer")


class BatchedModel(Generic[Job, Answer]):
    """Answers batches of requests with a pipeline. Subclasses give `read`, `run` and `respond`, and warm up."""

    # Only of the models that generate: the others are done before a client could have second thoughts.
    _watch: CancellationWatch | None = None

    def __init__(self, pipe: Any, settings: Settings) -> None:
        self._pipe = pipe
        self._settings = settings

    def read(self, request: Any) -> Job:
        """A request's tensors as a job. Raises `InputError`."""
        raise NotImplementedError

    def run(self, jobs: list[Job]) -> Sequence[Answer]:
        """The answers of several jobs, in order."""
        raise NotImplementedError

    def respond(self, request: Any, answer: Answer) -> Any:
        """The `InferenceResponse` with a job's answer."""
        raise NotImplementedError

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order."""
        jobs = [self._read(request) for request in requests]
        with self._watched(requests):
            answers = iter(self._run([job for job, error in jobs if error is None]))
        outcomes = [(None, error) if error is not None else next(answers) for _, error in jobs]
        return [self._respond(request, *outcome) for request, outcome in zip(requests, outcomes, strict=True)]

    def close(self) -> None:
        """Nothing runs between requests, but the thread that watches over long ones."""
        if self._watch is not None:
            self._watch.close()

    def _watched(self, requests: list[Any]) -> AbstractContextManager[None]:
        return nullcontext() if self._watch is None else while_wanted(self._watch, requests)

    def _read(self, request: Any) -> tuple[Any, BaseException | None]:
        try:
            return self.read(request), None
        except BaseException as error:
            return None, error

    def _run(self, jobs: list[Any]) -> list[tuple[Any, BaseException | None]]:
        """All jobs in one batch; if that fails, one by one, so that the guilty one fails alone."""
        if not jobs:
            return []
        try:
            return [(answer, None) for answer in self.run(jobs)]
        except BaseException as error:  # a panic of the tokenizers library is no Exception
            failed = error
        return [(None, failed)] if len(jobs) == 1 else [self._run([job])[0] for job in jobs]

    def _respond(self, request: Any, answer: Any, error: BaseException | None) -> Any:
        if error is not None:
            return failure(error)
        try:
            return self.respond(request, answer)
        except BaseException as broken:
            return failure(broken)
