"""text-classification under Triton: all requests that the dynamic batcher hands over run together.

Inputs `text` [n, 1], optional `text_pair` [n, 1] ("" for none) and `top_k` [n, 1] (the same in all rows; 1 if absent,
as in HF's pipeline; cut to the number of labels). Outputs `label` and `score` [n, k], best first, and `json` [n, 1]:
`[{"label": ..., "score": ...}, ...]`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from runtime.errors import InputError
from runtime.triton.options import Tasks
from runtime.triton.settings import Settings
from runtime.triton.tensors import scalar, strings, texts
from runtime.triton.text_tasks import Job, TextTask, TextTaskModel, take_place

Row = str | dict[str, str]


class ClassificationModel(TextTaskModel):
    """Answers batches of requests with a text-classification pipeline."""

    def __init__(self, pipe: Any, settings: Settings) -> None:
        self._pipe, self._settings, self._tasks = pipe, settings, Tasks(pipe)
        self._task = TextTask({"top_k": "number"})
        self._warm_up("warm up", {"top_k": 1})

    def read(self, request: Any) -> Job:
        """A request's tensors as a job. Raises `InputError`."""
        arguments = self._arguments(request)
        first = take_place(arguments)
        typed = scalar(request, "top_k")
        if typed is not None and typed < 1:
            raise InputError(f"top_k is {typed}; it must be 1 or more")
        if "task" not in arguments:
            arguments.setdefault("top_k", 1)
        return Job(read_rows(request, self._settings.max_text_bytes), arguments, first)

    def run(self, jobs: list[Job]) -> list[list[Any]]:
        """All jobs whose other arguments are equal in one batch, whatever their top_k."""
        every = [
            job if "task" in job.arguments else replace(job, arguments=job.arguments | {"top_k": None}) for job in jobs
        ]
        return [
            answer if "task" in job.arguments else [row[: job.arguments["top_k"]] for row in answer]
            for job, answer in zip(jobs, super().run(every), strict=True)
        ]

    def tensors(self, answer: list[Any], wanted: set[str]) -> list[Any]:
        """Labels and scores, best first."""
        if not isinstance(answer[0], list) or not wanted & {"label", "score"}:  # another task's, or not asked for
            return []
        shape = (len(answer), len(answer[0]))
        labels = [entry["label"] for scores in answer for entry in scores]
        values = np.array([entry["score"] for scores in answer for entry in scores], dtype=np.float32)
        outputs = [strings("label", labels, shape), pb_utils.Tensor("score", values.reshape(shape))]
        return [tensor for tensor in outputs if tensor.name() in wanted]


def read_rows(request: Any, max_bytes: int) -> list[Row]:
    """The texts of a request, or its pairs. Raises `InputError`."""
    first = texts(request, "text", max_bytes)
    if not first:
        raise InputError("text is missing or empty")
    pairs = texts(request, "text_pair", max_bytes) or [""] * len(first)
    return [{"text": a, "text_pair": b} if b else a for a, b in zip(first, pairs, strict=True)]
