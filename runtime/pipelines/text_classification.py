"""text-classification / sentiment-analysis (transformers 5.23 `pipelines/text_classification.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.pipelines.base import Pipeline, check_tokenizer_arguments
from runtime.pipelines.scores import FUNCTIONS, default_function, function_name
from runtime.tokenizer import Tokenizer


class TextClassificationPipeline(Pipeline):
    """Labels with scores.

    `pipe("text")` -> `[{"label", "score"}]`; `pipe(["a", "b"])` -> one dict each; with `top_k` (an int, or None for
    all) lists sorted by score. `{"text": ..., "text_pair": ...}` classifies a pair. `function_to_apply`: "sigmoid",
    "softmax" or "none". Other keywords go to the tokenizer (`truncation=True`, `max_length=128`).
    """

    task = "text-classification"

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        if isinstance(inputs, list) and not inputs:
            return []
        answer = super().__call__(inputs, **kwargs)
        # HF's oddity: a lone text without top_k comes back in a list.
        return [answer] if isinstance(inputs, str) and "top_k" not in kwargs else answer

    def preprocess(self, inputs: Any, **kwargs: Any) -> dict[str, Any]:
        """Tokenise a text, a `{"text", "text_pair"}` dict or `[[text, pair]]`: int64 arrays `[1, sequence]`."""
        text, pair = text_and_pair(inputs)
        encoding = self.tokenizer(text, pair, **kwargs)
        self._check_length(encoding)
        return self.tokenizer.pad([encoding])

    def forward(self, model_inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Run the graph: `{"logits": float32 [batch, labels]}`."""
        feeds = {spec.name: model_inputs[spec.name] for spec in self.graph.inputs}
        return {"logits": self.session.run(["logits"], feeds)[0].astype(np.float32)}

    def postprocess(
        self,
        model_outputs: dict[str, Any],
        function_to_apply: str | None = None,
        top_k: int | None = 1,
        _legacy: bool = True,
    ) -> Any:
        """Logits of one item -> label and score, or the `top_k` of them."""
        logits = model_outputs["logits"][0]
        scores = FUNCTIONS[function_to_apply or default_function(self.manifest)](logits)
        labels = self.manifest.labels
        if top_k == 1 and _legacy:
            return {"label": labels[int(scores.argmax())], "score": scores.max().item()}
        answer = [{"label": label, "score": score.item()} for label, score in zip(labels, scores, strict=True)]
        if not _legacy:
            answer = sorted(answer, key=lambda item: item["score"], reverse=True)[:top_k]
        return answer

    def _load(self) -> None:
        self.tokenizer = Tokenizer.from_bundle(self.bundle)
        self.graph = self.manifest.graphs["model"]
        self.session = self._open_session()

    def _sanitize_parameters(
        self, function_to_apply: str | None = None, top_k: Any = "", **tokenizer_kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_tokenizer_arguments(tokenizer_kwargs)
        post: dict[str, Any] = {}
        if isinstance(top_k, int) or top_k is None:
            post |= {"top_k": top_k, "_legacy": False}
        if function_to_apply is not None:
            post["function_to_apply"] = function_name(function_to_apply)
        return tokenizer_kwargs, {}, post

    def _forward_batch(self, items: list[dict[str, Any]], **kwargs: Any) -> list[dict[str, Any]]:
        flat = [{name: array[0].tolist() for name, array in item.items()} for item in items]
        logits = self.forward(self.tokenizer.pad(flat), **kwargs)["logits"]
        return [{"logits": logits[row : row + 1]} for row in range(len(items))]

    def _check_length(self, encoding: Any) -> None:
        limit = self.manifest.postprocess.get("max_positions")
        length = len(encoding["input_ids"])
        if limit and length > limit:
            raise InputError(f"the text has {length} tokens, the model takes {limit}: pass truncation=True")


def text_and_pair(inputs: Any) -> tuple[str, str | None]:
    """The text and, if given, its pair, from any of HF's spellings."""
    if isinstance(inputs, dict):
        unknown = set(inputs) - {"text", "text_pair"}
        if unknown or "text" not in inputs:
            raise InputError(f"a text pair is {{'text': ..., 'text_pair': ...}}, not a dict with {sorted(inputs)}")
        return inputs["text"], inputs.get("text_pair")
    if isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], list) and len(inputs[0]) == 2:
        return inputs[0][0], inputs[0][1]
    if not isinstance(inputs, str):
        raise InputError(
            f"text-classification takes a text or {{'text': ..., 'text_pair': ...}}, not {type(inputs).__name__}"
        )
    return inputs, None
