"""fill-mask (transformers 5.23 `pipelines/fill_mask.py`).

Difference from HF, on purpose: among tokens whose scores are equal, the lower id comes first.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import InputError, PipelineException
from runtime.pipelines.base import check_tokenizer_arguments
from runtime.pipelines.encoder import EncoderPipeline
from runtime.pipelines.scores import softmax


class FillMaskPipeline(EncoderPipeline):
    """Words for the mask of a text.

    `pipe("Paris is the [MASK] of France.")` -> `[{"score", "token", "token_str", "sequence"}]`, the `top_k` (5) best
    first; with several masks a list of them for each mask. `targets` limits the choice to some words. A list of texts
    gives a list of answers, but a list of one text only that text's answer, as in HF.
    """

    task = "fill-mask"

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        answers = super().__call__(inputs, **kwargs)
        return answers[0] if isinstance(inputs, list) and len(inputs) == 1 else answers

    def preprocess(self, inputs: Any, tokenizer_kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
        """Tokenise a text with at least one mask: int64 arrays `[1, tokens]`."""
        if not isinstance(inputs, str):
            raise InputError(f"fill-mask takes a text or a list of texts, not {type(inputs).__name__}")
        encoding = self.tokenizer(inputs, **(tokenizer_kwargs or {}))
        if self.tokenizer.mask_token_id not in encoding["input_ids"]:
            reason = f"no mask token in the text: put {self.tokenizer.mask_token} where a word is missing"
            raise PipelineException(self.task, self.manifest.architecture, reason)
        self._check_length(encoding["input_ids"], "pass tokenizer_kwargs={'truncation': True}")
        return self.tokenizer.pad([encoding])

    def postprocess(
        self, model_outputs: dict[str, Any], top_k: int = 5, target_ids: npt.NDArray[np.int64] | None = None
    ) -> Any:
        """Logits float32 `[1, tokens, vocabulary]` -> the best words for each mask."""
        ids = model_outputs["input_ids"][0]
        masks = np.flatnonzero(ids == self.tokenizer.mask_token_id)
        scores = softmax(model_outputs["logits"][0, masks])
        candidates = np.arange(scores.shape[1]) if target_ids is None else target_ids
        scores = scores[:, candidates]
        if top_k > len(candidates) and target_ids is None:
            raise InputError(f"top_k is {top_k}, the vocabulary has {len(candidates)} tokens")
        best = np.argsort(-scores, axis=-1, kind="stable")[:, :top_k]
        rows = [
            [self._record(ids, mask, candidates[i], row[i], len(masks) == 1) for i in order]
            for mask, row, order in zip(masks, scores, best, strict=True)
        ]
        return rows[0] if len(masks) == 1 else rows

    def _load(self) -> None:
        super()._load()
        if self.tokenizer.mask_token_id is None:
            reason = "the tokenizer has no mask token: export a checkpoint that was trained to fill masks"
            raise PipelineException(self.task, self.manifest.architecture, reason)

    def _sanitize_parameters(  # type: ignore[override]
        self,
        top_k: int | None = None,
        targets: str | list[str] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_tokenizer_arguments(tokenizer_kwargs or {})
        post: dict[str, Any] = {} if targets is None else {"target_ids": self._target_ids(targets)}
        if top_k is not None:
            if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
                raise InputError(f"top_k must be a positive integer, not {top_k!r}")
            post["top_k"] = top_k
        return {} if tokenizer_kwargs is None else {"tokenizer_kwargs": tokenizer_kwargs}, {}, post

    def _record(self, ids: npt.NDArray[np.int64], mask: Any, token: Any, score: Any, is_single: bool) -> dict[str, Any]:
        filled = ids.copy()
        filled[mask] = token
        kept = filled[filled != self.tokenizer.pad_token_id] if self.tokenizer.pad_token_id is not None else filled
        return {
            "score": score.item(),
            "token": int(token),
            "token_str": self.tokenizer.decode([int(token)]),
            # Other masks are special tokens too: with several, all special tokens stay.
            "sequence": self.tokenizer.decode(kept, skip_special_tokens=is_single),
        }

    def _target_ids(self, targets: str | list[str]) -> npt.NDArray[np.int64]:
        """Ids of the words, each once; of a word that is not in the vocabulary its first token, with a warning."""
        words = [targets] if isinstance(targets, str) else targets
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InputError("targets is a word or a list of words")
        vocabulary = self.tokenizer.get_vocab()
        found = {vocabulary[word] if word in vocabulary else self._first_token(word) for word in words}
        ids = sorted(token for token in found if token is not None)
        if not ids:
            raise InputError("targets must hold at least one word that the tokenizer knows")
        return np.array(ids, np.int64)

    def _first_token(self, word: str) -> int | None:
        ids = self.tokenizer(word, add_special_tokens=False)["input_ids"]
        instead = f"replacing it with {self.tokenizer.id_to_token(ids[0])!r}" if ids else "ignoring it"
        warnings.warn(f"target {word!r} is not in the vocabulary: {instead}", UserWarning, stacklevel=2)
        return ids[0] if ids else None
