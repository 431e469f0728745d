"""token-classification / ner (transformers 5.23 `pipelines/token_classification.py`).

Differences from HF, on purpose: with several texts, `offset_mapping` gives each text its own mapping (there all use the
first); `is_split_into_words` of the constructor holds for every call (there a call forgets it); tokens of a batch are
counted without padding (there `index` is shifted by padding on the left).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.pipelines.base import Alone, is_stream
from runtime.pipelines.chunks import ChunkPipeline
from runtime.pipelines.entities import BY_WORD, STRATEGIES, Aggregator, Entity, Token, without_overlaps
from runtime.pipelines.scores import softmax

COLUMNS = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask", "offset_mapping")


class TokenClassificationPipeline(ChunkPipeline):
    """Labels for tokens, or for entities.

    `pipe("text")` -> `[{"entity", "score", "index", "word", "start", "end"}]`, one per token whose label is not in
    `ignore_labels` (`["O"]`); `aggregation_strategy` "simple", "first", "average" or "max" joins tokens:
    `[{"entity_group", "score", "word", "start", "end"}]`. `stride` reads texts longer than the model's limit in windows
    that overlap by so many tokens. `is_split_into_words` takes lists of words; `delimiter` is what stands between them
    for `start` and `end`.
    """

    task = "token-classification"

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        if not isinstance(inputs, str) and not is_stream(inputs) and not (isinstance(inputs, list) and inputs):
            if isinstance(inputs, tuple):
                raise InputError("token-classification takes a text or a list of texts, not a tuple")
            raise InputError("at least one input is required: token-classification takes a text or a list of texts")
        if kwargs.get("offset_mapping"):
            return self._with_offsets(inputs, kwargs.pop("offset_mapping"), **kwargs)
        is_split = kwargs.get("is_split_into_words", self._defaults[0].get("is_split_into_words", False))
        if is_split and isinstance(inputs, list) and not all(isinstance(words, list) for words in inputs):
            inputs = [inputs]
        return super().__call__(inputs, **kwargs)

    def preprocess(  # type: ignore[override]
        self,
        inputs: Any,
        is_split_into_words: bool = False,
        delimiter: str = " ",
        offset_mapping: Any = None,
        tokenizer_params: dict[str, Any] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Tokenise a text (or words) into one or, with `stride`, several windows: int64 arrays `[1, tokens]`."""
        sentence = delimiter.join(check_words(inputs)) if is_split_into_words else check_text(inputs)
        encoding = self.tokenizer(
            inputs,
            truncation=True,
            is_split_into_words=is_split_into_words,
            return_special_tokens_mask=True,
            return_offsets_mapping=True,
            **(tokenizer_params or {}),
        )
        windows = len(encoding.encodings)
        for window in range(windows):
            row = {name: encoding[name] for name in COLUMNS if name in encoding}
            if "overflow_to_sample_mapping" in encoding:
                row = {name: values[window] for name, values in row.items()}
            self._check_length(row["input_ids"], "pass stride=... and an aggregation_strategy to read it in windows")
            yield {
                **self.tokenizer.pad([row]),
                **({"offset_mapping": [offset_mapping]} if offset_mapping is not None else {}),
                "sentence": sentence if window == 0 else None,
                "is_last": window == windows - 1,
                **(
                    {"word_ids": encoding.word_ids(window), "word_to_chars_map": word_spans(inputs, delimiter)}
                    if is_split_into_words
                    else {}
                ),
            }

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: list[dict[str, Any]],
        aggregation_strategy: str = "none",
        ignore_labels: list[str] | None = None,
    ) -> list[Entity]:
        """Logits float32 `[1, tokens, labels]` of every window -> entities."""
        ignored = ["O"] if ignore_labels is None else ignore_labels
        aggregator = Aggregator(self.manifest.labels, self.tokenizer, aggregation_strategy)
        sentence = model_outputs[0]["sentence"]
        if aggregation_strategy in BY_WORD and not self.tokenizer.continuing_subword_prefix:
            warnings.warn("Tokenizer does not support real words, using fallback heuristic", UserWarning, stacklevel=2)
        found = [e for output in model_outputs for e in aggregator.entities(self._tokens(output, sentence))]
        entities = [e for e in found if e.get("entity") not in ignored and e.get("entity_group") not in ignored]
        return without_overlaps(entities) if len(model_outputs) > 1 else entities

    def _sanitize_parameters(  # type: ignore[override]
        self,
        ignore_labels: list[str] | None = None,
        aggregation_strategy: Any = None,
        offset_mapping: list[Any] | None = None,
        is_split_into_words: bool | None = None,
        stride: int | None = None,
        delimiter: str | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        strategy = None if aggregation_strategy is None else strategy_name(aggregation_strategy)
        words = {"is_split_into_words": is_split_into_words, "delimiter": delimiter}
        pre: dict[str, Any] = {**words, "offset_mapping": offset_mapping}
        if stride is not None:
            self._check_stride(stride, strategy)
            pre["tokenizer_params"] = {"return_overflowing_tokens": True, "padding": True, "stride": stride}
        post = {"aggregation_strategy": strategy, "ignore_labels": ignore_labels}
        return drop_missing(pre), {}, drop_missing(post)

    def _check_stride(self, stride: int, strategy: str | None) -> None:
        limit = self.tokenizer.model_max_length
        if limit is not None and stride >= limit:
            raise InputError(f"stride {stride} must be less than the {limit} tokens that the model reads at once")
        if strategy == "none":
            raise InputError("stride needs an aggregation_strategy other than 'none', to join what its windows find")

    def _with_offsets(self, inputs: Any, mapping: Any, **kwargs: Any) -> Any:
        if not isinstance(inputs, (str, list)):
            raise InputError("offset_mapping goes with a text or a list of texts")
        mappings = [mapping] if isinstance(mapping[0], tuple) else list(mapping)
        texts = [inputs] if isinstance(inputs, str) else inputs
        if len(mappings) != len(texts):
            raise InputError(f"offset_mapping has {len(mappings)} mappings for {len(texts)} texts: give one for each")
        pre, forward, post = self._parameters(kwargs)
        answers = [
            next(self._run(Alone([text]), 1, [{**pre, "offset_mapping": own}, forward, post]))
            for text, own in zip(texts, mappings, strict=True)
        ]
        return answers[0] if isinstance(inputs, str) else answers

    def _tokens(self, output: dict[str, Any], sentence: str) -> list[Token]:
        """The window's tokens, special ones left out."""
        scores = softmax(output["logits"][0])
        kept = [index for index, special in enumerate(output["special_tokens_mask"][0]) if not special]
        return [self._token(output, index, scores[index], sentence) for index in kept]

    def _token(self, output: dict[str, Any], index: int, scores: Any, sentence: str) -> Token:
        token_id = int(output["input_ids"][0][index])
        start, end = (int(position) for position in output["offset_mapping"][0][index])
        if "word_ids" in output and (word_index := output["word_ids"][index]) is not None:
            shift = output["word_to_chars_map"][word_index][0]
            start, end = start + shift, end + shift
        word, text = self.tokenizer.id_to_token(token_id) or "", sentence[start:end]
        if self.tokenizer.continuing_subword_prefix:
            continues = len(word) != len(text)
        else:
            continues = start > 0 and " " not in sentence[start - 1 : start + 1]
        if token_id == self.tokenizer.unk_token_id:
            word, continues = text, False
        return Token(word, scores, start, end, index, continues)


def strategy_name(strategy: Any) -> str:
    """One of `STRATEGIES`: by name in any case, or from HF's enum. HF raises `KeyError('FOO')`."""
    name = str(getattr(strategy, "value", strategy)).lower()
    if name not in STRATEGIES:
        raise InputError(f"aggregation_strategy {strategy!r} is unknown: use one of {', '.join(STRATEGIES)}")
    return name


def check_text(text: Any) -> str:
    """A string, or an `InputError`."""
    if not isinstance(text, str):
        raise InputError(
            f"token-classification takes a text, not {type(text).__name__}; for lists of words pass "
            "is_split_into_words=True"
        )
    return text


def check_words(words: Any) -> list[str]:
    """A list of strings, or an `InputError`."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"with is_split_into_words=True an input is a list of words, not {str(words)[:40]!r}")
    return words


def word_spans(words: list[str], delimiter: str) -> list[tuple[int, int]]:
    """Start and end of every word in the words joined by `delimiter`."""
    ends = np.cumsum([len(word) + len(delimiter) for word in words]) - len(delimiter)
    return [(int(end) - len(word), int(end)) for word, end in zip(words, ends, strict=True)]


def drop_missing(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were given."""
    return {key: value for key, value in arguments.items() if value is not None}
