"""feature-extraction and sentence-similarity under Triton: vectors as tensors, and as JSON for shells and browsers."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from runtime.errors import InputError
from runtime.triton.settings import Settings
from runtime.triton.tensors import texts
from runtime.triton.text_tasks import Job, TextTaskModel


class FeatureModel(TextTaskModel):
    """Inputs `text` and `truncation` [n, 1]; output `features` [n, tokens, size], short texts filled up with zeros."""

    def __init__(self, pipe: Any, settings: Settings) -> None:
        # A client must not see how long the texts were that shared its batch.
        pipe.KEEPS_PADDING = False
        super().__init__(pipe, settings)

    def run(self, jobs: list[Job]) -> list[list[Any]]:
        """Arrays `[1, tokens, size]`."""
        return super().run([Job(job.items, {**job.arguments, "return_tensors": True}) for job in jobs])

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
        return Job(job.items, {} if sources is None else {"sources": self._checked(sources, len(job.items))})

    def run(self, jobs: list[Job]) -> list[list[Any]]:
        """All texts and source sentences in one batch; an answer is (vector, similarity or None) for each text."""
        every = [[*job.items, *job.arguments.get("sources", [])] for job in jobs]
        items = [text for group in every for text in group]
        vectors = iter(self._pipe(iter(items), batch_size=len(items), return_tensors=True))
        return [
            self._answers([next(vectors) for _ in group], len(job.items))
            for job, group in zip(jobs, every, strict=True)
        ]

    def tensors(self, answer: list[Any], wanted: set[str]) -> list[Any]:
        """The vectors."""
        return (
            [pb_utils.Tensor("embedding", np.stack([vector for vector, _ in answer]))] if "embedding" in wanted else []
        )

    def plain(self, one: Any) -> Any:
        """The similarity, or the vector as a list."""
        vector, similarity = one
        return vector.tolist() if similarity is None else similarity

    def _answers(self, vectors: list[Any], count: int) -> list[Any]:
        texts, sources = vectors[:count], vectors[count:]
        if not sources:
            return [(vector, None) for vector in texts]
        return [(text, self._pipe.similarities(source, [text])[0]) for text, source in zip(texts, sources, strict=True)]

    def _checked(self, sources: list[str], rows: int) -> list[str]:
        if len(sources) != rows:
            raise InputError(f"source_sentence has {len(sources)} rows for {rows} texts: give one for each")
        return sources
