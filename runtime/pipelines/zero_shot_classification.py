"""zero-shot-classification (transformers 5.23 `pipelines/zero_shot_classification.py`): labels as NLI hypotheses.

Runs on a text classifier trained on natural language inference. Differences from HF, on purpose: a template without
`{}`, labels that are no texts and empty lists are errors that say so, with or without a list around the text.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.pipelines.chunks import ChunkPipeline
from runtime.tokenizer.encoding import BatchEncoding

DEFAULT_TEMPLATE = "This example is {}."


class ZeroShotClassificationPipeline(ChunkPipeline):
    """Ranks labels that were never trained on.

    `pipe("text", candidate_labels=["sport", "politics"])` -> `{"sequence", "labels", "scores"}`, best first; labels may
    also be one string, "sport, politics". A list of texts gives a list. `multi_label=True` scores each label by itself.
    """

    task = "zero-shot-classification"

    def __call__(self, sequences: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        if len(args) > 1 or (args and "candidate_labels" in kwargs):
            raise InputError("zero-shot-classification takes texts and candidate_labels; pass the rest by name")
        if args:
            kwargs["candidate_labels"] = args[0]
        if isinstance(sequences, list) and not sequences:
            raise InputError("at least one label and at least one text are needed")
        return super().__call__(sequences, **kwargs)

    def preprocess(  # type: ignore[override]
        self, inputs: Any, candidate_labels: list[str] | None = None, hypothesis_template: str = DEFAULT_TEMPLATE
    ) -> Iterator[dict[str, Any]]:
        """One pair of text and hypothesis for each label: int64 arrays `[1, tokens]`."""
        if not isinstance(inputs, str):
            raise InputError(f"zero-shot-classification takes a text or a list of texts, not {type(inputs).__name__}")
        if not inputs or not candidate_labels:
            raise InputError("at least one label and at least one text are needed")
        for index, label in enumerate(candidate_labels):
            encoding = self._encode(inputs, hypothesis_template.format(label))
            self._check_length(encoding["input_ids"], "shorten it, or the labels")
            yield {
                "candidate_label": label,
                "sequence": inputs,
                "is_last": index == len(candidate_labels) - 1,
                **self.tokenizer.pad([encoding]),
            }

    def postprocess(  # type: ignore[override]
        self, model_outputs: list[dict[str, Any]], multi_label: bool = False
    ) -> dict[str, Any]:
        """Logits float32 `[1, classes]` of each hypothesis -> labels and scores, best first; of equal ones the last."""
        labels = [output["candidate_label"] for output in model_outputs]
        logits = np.concatenate([output["logits"] for output in model_outputs])
        entailment = self._entailment()
        if multi_label or len(labels) == 1:
            scores = ratio(logits[:, [-1 if entailment == 0 else 0, entailment]])[:, 1]
        else:
            scores = ratio(logits[:, entailment])
        order = scores.argsort()[::-1]
        return {
            "sequence": model_outputs[0]["sequence"],
            "labels": [labels[index] for index in order],
            "scores": scores[order].tolist(),
        }

    def _load(self) -> None:
        super()._load()
        if self._entailment() == -1:
            warnings.warn(
                f"none of this model's labels ({', '.join(self.manifest.labels)}) begins with 'entail': the last one "
                "is taken for entailment; use a model trained on natural language inference",
                UserWarning,
                stacklevel=2,
            )

    def _sanitize_parameters(  # type: ignore[override]
        self,
        candidate_labels: str | list[str] | None = None,
        hypothesis_template: str | None = None,
        multi_label: bool | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        pre: dict[str, Any] = {}
        if candidate_labels is not None:
            pre["candidate_labels"] = split_labels(candidate_labels)
        if hypothesis_template is not None:
            pre["hypothesis_template"] = check_template(hypothesis_template)
        return pre, {}, {} if multi_label is None else {"multi_label": multi_label}

    def _entailment(self) -> int:
        """Index of the first label that begins with "entail", -1 (the last one) without."""
        labels = [label.lower() for label in self.manifest.labels]
        return next((index for index, label in enumerate(labels) if label.startswith("entail")), -1)

    def _encode(self, text: str, hypothesis: str) -> BatchEncoding:
        """Cuts the text, never the hypothesis; where cutting the text is not enough, nothing is cut."""
        try:
            return self.tokenizer(text, hypothesis, truncation="only_first")
        except InputError as error:
            if "too short" not in str(error):
                raise
            return self.tokenizer(text, hypothesis)


def ratio(logits: np.ndarray) -> np.ndarray:
    """Softmax along the last axis the way HF computes it here, in float32 without subtracting the largest."""
    exponents = np.exp(logits)
    return np.asarray(exponents / exponents.sum(-1, keepdims=True))


def split_labels(labels: Any) -> list[str]:
    """A list of labels, or the parts of "a, b"."""
    if isinstance(labels, str):
        labels = [label.strip() for label in labels.split(",") if label.strip()]
    if not isinstance(labels, (list, tuple)) or not labels or not all(isinstance(label, str) for label in labels):
        raise InputError(f"candidate_labels is a list of texts, or one text with commas, not {str(labels)[:40]!r}")
    return list(labels)


def check_template(template: Any) -> str:
    """A text with `{}` for the label."""
    if not isinstance(template, str):
        raise InputError(f"hypothesis_template is a text with {{}} for the label, not {type(template).__name__}")
    try:
        has_place = template.format("x") != template
    except (IndexError, KeyError, ValueError) as error:
        raise InputError(f"hypothesis_template {template!r} cannot be filled in ({error}): use {{}} once") from error
    if not has_place:
        raise InputError(f"hypothesis_template {template!r} has no {{}} for the label")
    return template
