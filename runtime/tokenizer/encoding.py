"""What a tokenizer call returns: lists of Python ints, plus the alignment of tokens with words and characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers


class BatchEncoding(dict[str, Any]):
    """HF's `BatchEncoding` (transformers/tokenization_utils_base.py): a dict of lists and the encodings behind it.

    Values are `list[int]` for one text, `list[list[int]]` for a batch or when overflow was asked for. Row `i` of a
    batch is `encodings[i]`; a single text is row 0.
    """

    def __init__(self, data: dict[str, Any], encodings: Sequence[tokenizers.Encoding]) -> None:
        super().__init__(data)
        self.encodings = list(encodings)

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row, as they stand in the vocabulary."""
        return self.encodings[batch_index].tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token the index of its word (within its own text), None for special tokens."""
        return self.encodings[batch_index].word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token 0 (first text) or 1 (second text), None for special tokens."""
        return self.encodings[batch_index].sequence_ids

    def token_to_word(self, batch_index: int, token_index: int) -> int | None:
        """The word that a token belongs to."""
        return self.encodings[batch_index].token_to_word(token_index)

    def token_to_chars(self, batch_index: int, token_index: int) -> tuple[int, int] | None:
        """The characters `(start, end)` that a token covers in its own text."""
        return self.encodings[batch_index].token_to_chars(token_index)

    def word_to_chars(self, batch_index: int, word_index: int, sequence_index: int = 0) -> tuple[int, int] | None:
        """The characters `(start, end)` of a word of text `sequence_index`."""
        return self.encodings[batch_index].word_to_chars(word_index, sequence_index)

    def char_to_token(self, batch_index: int, char_index: int, sequence_index: int = 0) -> int | None:
        """The token that covers a character of text `sequence_index`, None for whitespace that no token covers."""
        return self.encodings[batch_index].char_to_token(char_index, sequence_index)


@dataclass(frozen=True)
class PieceIds:
    """Ids of tokenizers whose vocabulary is not that of their sentencepiece model (Marian, M2M100).

    unknown: the unknown token's id; limit: ids from here on mean it; hidden: ids of pieces that the model does not cut
    texts into, by what they say, where a piece of text that it does not know is looked up.
    """

    unknown: int
    limit: int
    hidden: dict[str, int]

    def of(self, encoding: tokenizers.Encoding) -> list[int]:
        """The ids of one row."""
        return [self._id(index, token) for index, token in zip(encoding.ids, encoding.tokens, strict=True)]

    def _id(self, index: int, token: str) -> int:
        return self.hidden.get(token, self.unknown) if index == self.unknown or index >= self.limit else index


@dataclass(frozen=True)
class Columns:
    """Which columns a call returns."""

    token_type_ids: bool
    attention_mask: bool
    special_tokens_mask: bool
    offsets_mapping: bool
    overflowing_tokens: bool
    pieces: PieceIds | None = None

    def of(self, encoding: tokenizers.Encoding) -> Iterator[tuple[str, list[Any]]]:
        """The columns of one row, in HF's order (`TokenizersBackend._convert_encoding`)."""
        yield "input_ids", encoding.ids if self.pieces is None else self.pieces.of(encoding)
        if self.token_type_ids:
            yield "token_type_ids", encoding.type_ids
        if self.attention_mask:
            yield "attention_mask", encoding.attention_mask
        if self.special_tokens_mask:
            yield "special_tokens_mask", encoding.special_tokens_mask
        if self.offsets_mapping:
            yield "offset_mapping", encoding.offsets


def assemble(encodings: list[tokenizers.Encoding], columns: Columns, is_batched: bool) -> BatchEncoding:
    """One row per encoding, and one more per overflowing piece where those were asked for.

    A single text without overflow loses its batch dimension, as in HF.
    """
    if not columns.overflowing_tokens:
        return _table(encodings, columns) if is_batched else BatchEncoding(dict(columns.of(encodings[0])), encodings)
    pieces = [(sample, piece) for sample, e in enumerate(encodings) for piece in (e, *e.overflowing)]
    batch = _table([piece for _, piece in pieces], columns)
    batch["overflow_to_sample_mapping"] = [sample for sample, _ in pieces]
    return batch


def _table(encodings: list[tokenizers.Encoding], columns: Columns) -> BatchEncoding:
    names = [name for name, _ in columns.of(tokenizers.Encoding())]
    data: dict[str, Any] = {name: [] for name in names}
    for encoding in encodings:
        for name, values in columns.of(encoding):
            data[name].append(values)
    return BatchEncoding(data, encodings)
