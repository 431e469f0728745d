"""feature-extraction (transformers 5.23 `pipelines/feature_extraction.py`)."""

from __future__ import annotations

from typing import Any

from runtime.errors import InputError
from runtime.pipelines.base import check_tokenizer_arguments
from runtime.pipelines.encoder import EncoderPipeline


class FeatureExtractionPipeline(EncoderPipeline):
    """The last hidden state of every token.

    `pipe("text")` -> nested lists `[1][tokens][size]`; a list of texts gives one of those each. `return_tensors=True`
    gives numpy arrays float32 `[1, tokens, size]` instead (HF: torch tensors). `truncation` and `tokenize_kwargs` go to
    the tokenizer. With `batch_size` above 1 the rows of padding stay in, as in HF.
    """

    task = "feature-extraction"
    KEEPS_PADDING = True

    def preprocess(self, inputs: Any, **kwargs: Any) -> dict[str, Any]:
        """Tokenise a text: int64 arrays `[1, tokens]`."""
        if not isinstance(inputs, str):
            raise InputError(f"feature-extraction takes a text or a list of texts, not {type(inputs).__name__}")
        encoding = self.tokenizer(inputs, **kwargs)
        self._check_length(encoding["input_ids"], "pass truncation=True")
        return self.tokenizer.pad([encoding])

    def postprocess(self, model_outputs: dict[str, Any], return_tensors: bool = False) -> Any:
        """The hidden states of one item, as lists or as an array."""
        states = model_outputs[self.graph.outputs[0].name]
        return states if return_tensors else states.tolist()

    def _sanitize_parameters(  # type: ignore[override]
        self,
        truncation: bool | str | None = None,
        tokenize_kwargs: dict[str, Any] | None = None,
        return_tensors: bool | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        pre = dict(tokenize_kwargs or {})
        check_tokenizer_arguments(pre)
        if truncation is not None:
            if "truncation" in pre:
                raise InputError("truncation is given twice: as an argument and in tokenize_kwargs")
            pre["truncation"] = truncation
        return pre, {}, {} if return_tensors is None else {"return_tensors": return_tensors}
