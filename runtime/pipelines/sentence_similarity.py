"""sentence-similarity: embeddings of texts, and how similar a text is to others.

HF has no pipeline for it; its inference API answers `{"source_sentence", "sentences"}` with a list of similarities.
Pooling, normalisation, the prompt, the longest text and the similarity are those that the checkpoint declares
(sentence-transformers), resolved into the bundle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.pipelines.encoder import EncoderPipeline
from runtime.pipelines.pooling import SIMILARITIES, Floats, pool

COMPARISON = {"source_sentence", "sentences"}


class SentenceSimilarityPipeline(EncoderPipeline):
    """Vectors for texts, or similarities.

    `pipe("text")` -> a vector (list of floats); `pipe(["a", "b"])` -> a list of vectors;
    `pipe({"source_sentence": "a", "sentences": ["b", "c"]})` (or the same as keywords) -> a list of similarities.
    `return_tensors=True` gives vectors as numpy arrays float32 `[size]`. Longer texts are cut to the model's length.
    """

    task = "sentence-similarity"

    def __call__(self, inputs: Any = None, **kwargs: Any) -> Any:
        if inputs is None and set(kwargs) >= COMPARISON:
            inputs = {name: kwargs.pop(name) for name in COMPARISON}
        if isinstance(inputs, dict):
            return self._similarities(inputs, **kwargs)
        if isinstance(inputs, list) and not inputs:
            return []
        if inputs is None or (isinstance(inputs, list) and any(isinstance(item, dict) for item in inputs)):
            raise InputError(
                "sentence-similarity takes a text, a list of texts, or one {'source_sentence': ..., 'sentences': [...]}"
            )
        return super().__call__(inputs, **kwargs)

    def preprocess(self, inputs: Any) -> dict[str, Any]:
        """Tokenise a text, prompt first: int64 arrays `[1, tokens]`."""
        if not isinstance(inputs, str):
            raise InputError(f"sentence-similarity takes texts, not {type(inputs).__name__}")
        facts = self.manifest.postprocess
        text = facts.get("prompt", "") + inputs
        limit = facts.get("max_seq_length")
        encoding = self.tokenizer(
            text.lower() if facts.get("do_lower_case") else text, truncation=True, max_length=limit
        )
        self._check_length(encoding["input_ids"], "shorten it")
        return {**self.tokenizer.pad([encoding]), "attention_mask": np.ones((1, len(encoding["input_ids"])), np.int64)}

    def postprocess(self, model_outputs: dict[str, Any], return_tensors: bool = False) -> Any:
        """The vector of one text."""
        facts = self.manifest.postprocess
        states, mask = model_outputs["last_hidden_state"], model_outputs["attention_mask"]
        vector = pool(states, mask, facts["pooling"], facts["normalize"])[0]
        return vector if return_tensors else vector.tolist()

    def similarities(self, one: Floats, many: list[Floats]) -> list[float]:
        """How similar a vector `[size]` is to others, by the measure that the checkpoint declares."""
        similarity = SIMILARITIES[self.manifest.postprocess.get("similarity", "cosine")]
        return [float(value) for value in similarity(one, np.stack(many))]

    def _sanitize_parameters(  # type: ignore[override]
        self, return_tensors: bool | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {}, {}, {} if return_tensors is None else {"return_tensors": return_tensors}

    def _similarities(self, inputs: dict[str, Any], **kwargs: Any) -> list[float]:
        if set(inputs) != COMPARISON:
            raise InputError(
                f"a comparison is {{'source_sentence': ..., 'sentences': [...]}}, not a dict with {sorted(inputs)}"
            )
        source, sentences = inputs["source_sentence"], inputs["sentences"]
        if not isinstance(source, str) or not isinstance(sentences, list) or not sentences:
            raise InputError("a comparison needs a text as source_sentence and a list of texts as sentences")
        vectors = super().__call__([source, *sentences], **{**kwargs, "return_tensors": True})
        return self.similarities(vectors[0], vectors[1:])
