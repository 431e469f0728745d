"""text-classification under Triton: all requests that the dynamic batcher hands over run as one batch.

Inputs `text` [n, 1], optional `text_pair` [n, 1] ("" for none) and `top_k` [n, 1] (the same in all rows; 1 if absent,
as in HF's pipeline; cut to the number of labels). Outputs `label` and `score` [n, k], best first, and `json` [n, 1]:
`[{"label": ..., "score": ...}, ...]`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from runtime.errors import InputError
from runtime.triton.batching import BatchedModel
from runtime.triton.settings import Settings
from runtime.triton.tensors import scalar, strings, texts

Row = str | dict[str, str]
Scores = list[dict[str, Any]]  # [{"label": str, "score": float}, ...], best first


@dataclass(frozen=True)
class Job:
    """One request, read."""

    rows: list[Row]
    top_k: int


class ClassificationModel(BatchedModel[Job, list[Scores]]):
    """Answers batches of requests with a text-classification pipeline."""

    def __init__(self, pipe: Any, settings: Settings) -> None:
        super().__init__(pipe, settings)
        self.run([Job(["warm up"], 1)])

    def read(self, request: Any) -> Job:
        """A request's tensors as a job. Raises `InputError`."""
        return read_job(request, self._settings.max_text_bytes)

    def run(self, jobs: list[Job]) -> list[list[Scores]]:
        """All jobs in one batch, whatever their top_k."""
        rows = [row for job in jobs for row in job.rows]
        scores = iter(self._pipe(rows, top_k=None, batch_size=len(rows)))
        return [[next(scores)[: job.top_k] for _ in job.rows] for job in jobs]

    def respond(self, request: Any, answer: list[Scores]) -> Any:
        """The outputs that were asked for."""
        return response(request, answer)


def read_job(request: Any, max_bytes: int) -> Job:
    """A request's tensors as a job. Raises `InputError`."""
    first = texts(request, "text", max_bytes)
    if not first:
        raise InputError("text is missing or empty")
    pairs = texts(request, "text_pair", max_bytes) or [""] * len(first)
    top_k = scalar(request, "top_k")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k is {top_k}; it must be 1 or more")
    return Job([_row(a, b) for a, b in zip(first, pairs, strict=True)], top_k or 1)


def _row(text: str, text_pair: str) -> Row:
    return {"text": text, "text_pair": text_pair} if text_pair else text


def response(request: Any, outcome: list[Scores]) -> Any:
    """Labels and scores as tensors and as JSON."""
    wanted = set(request.requested_output_names())
    shape = (len(outcome), len(outcome[0]))
    labels = [entry["label"] for scores in outcome for entry in scores]
    values = np.array([entry["score"] for scores in outcome for entry in scores], dtype=np.float32)
    outputs = [
        strings("label", labels, shape),
        pb_utils.Tensor("score", values.reshape(shape)),
        strings("json", [json.dumps(scores, ensure_ascii=False) for scores in outcome], (len(outcome), 1)),
    ]
    return pb_utils.InferenceResponse([tensor for tensor in outputs if tensor.name() in wanted])
