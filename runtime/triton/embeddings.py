"""feature-extraction and sentence-similarity under Triton: vectors as tensors, and as JSON for shells and browsers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from runtime.errors import InputError
from runtime.triton.tensors import texts
from runtime.triton.text_tasks import Job, TextTaskModel


class FeatureModel(TextTaskModel):
    """Inputs `text` and `truncation` [n, 1]; output `features` [n, tokens, size], short texts filled up with zeros, or
    with the hidden states of padding if the option "keep_padding" says so."""

    def run(self, jobs: list[Job]) -> list[list[Any]]:
        """Arrays `[1, tokens, size]`."""
        return super().run([replace(job, arguments={**job.arguments, "return_tensors": True}) for job in jobs])

    def tensors(self, answer: list[Any], wanted: set[str]) -> list[Any]:
        """The hidden states of all rows."""
        if "features" not in wanted:
            return []
        features = np.zeros((len(answer), max(one.shape[1] for one in answer), answer[0].shape[2]), np.float32)
        for row, one in zip(features, answer, strict=True):
            row[: one.shape[1]] = one[0]
        return [pb_utils.Tensor("features", features)]

    def plain(self, one: Any) -> Any:
        """Nested lists `[1][tokens][size]`."""
        return one.tolist()


class SentenceModel(TextTaskModel):
    """Inputs `text` and perhaps `source_sentence` [n, 1]; outputs `embedding` [n, size] of the texts, and `json`
    [n, 1]: the embedding again or, with a source sentence, how similar the text is to it."""

    def read(self, request: Any) -> Job:
        """A request's tensors as a job. Raises `InputError`."""
        job = super().read(request)
        sources = texts(request, "source_sentence", self._settings.max_text_bytes)
        if sources is None:
            return job
        return replace(job, arguments=job.arguments | {"sources": self._checked(sources, len(job.items))})

    def run(self, jobs: list[Job]) -> list[list[Any]]:
        """All texts and source sentences together; an answer is (vector, similarity or None) for each text."""
        every = [self._with_sources(job) for job in jobs]
        return [
            answer if "task" in job.arguments else self._answers(answer, len(job.items))
            for job, answer in zip(jobs, super().run(every), strict=True)
        ]

    def tensors(self, answer: list[Any], wanted: set[str]) -> list[Any]:
        """The vectors."""
        if "embedding" not in wanted or not isinstance(answer[0], tuple):
            return []
        return [pb_utils.Tensor("embedding", np.stack([vector for vector, _ in answer]))]

    def plain(self, one: Any) -> Any:
        """The similarity, or the vector as a list; another task's answer as it is."""
        if not isinstance(one, tuple):
            return one
        vector, similarity = one
        return vector.tolist() if similarity is None else similarity

    def _with_sources(self, job: Job) -> Job:
        if "task" in job.arguments:
            return job
        others = {name: value for name, value in job.arguments.items() if name != "sources"}
        every = [*job.items, *job.arguments.get("sources", [])]
        return replace(job, items=every, arguments=others | {"return_tensors": True})

    def _answers(self, vectors: list[Any], count: int) -> list[Any]:
        texts, sources = vectors[:count], vectors[count:]
        if not sources:
            return [(vector, None) for vector in texts]
        return [(text, self._pipe.similarities(source, [text])[0]) for text, source in zip(texts, sources, strict=True)]

    def _checked(self, sources: list[str], rows: int) -> list[str]:
        if len(sources) != rows:
            raise InputError(f"source_sentence has {len(sources)} rows for {rows} texts: give one for each")
        return sources
