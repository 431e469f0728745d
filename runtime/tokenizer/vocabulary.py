"""Tokens and ids, one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import overload

import numpy as np

from runtime.tokenizer.special_tokens import SpecialTokens


class Vocabulary(SpecialTokens):
    """HF's conversions between tokens and ids (`TokenizersBackend`)."""

    def id_to_token(self, token_id: int) -> str | None:
        """The token with this id, None outside of the vocabulary."""
        return self._backend.id_to_token(int(token_id)) if token_id >= 0 else None

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int | None: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int | None]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int | None] | None:
        """Ids of tokens; the unknown token's id (None without one) for what is not in the vocabulary."""
        if isinstance(tokens, str):
            return self._token_id(tokens)
        return [self._token_id(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str | None: ...
    @overload
    def convert_ids_to_tokens(self, ids: Sequence[int], skip_special_tokens: bool = False) -> list[str | None]: ...
    def convert_ids_to_tokens(
        self, ids: int | Sequence[int], skip_special_tokens: bool = False
    ) -> str | list[str | None] | None:
        """Tokens of ids. `skip_special_tokens` leaves out `all_special_ids`, for a sequence only (as in HF)."""
        if isinstance(ids, int | np.integer):
            return self.id_to_token(int(ids))
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self.id_to_token(i) for i in ids if int(i) not in skipped]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """What the decoder makes of these tokens."""
        decoder = self._backend.decoder
        return decoder.decode(list(tokens)) if decoder is not None else " ".join(tokens)

    @property
    def continuing_subword_prefix(self) -> str | None:
        """The mark of tokens that continue a word ("##" in WordPiece), None for models without one."""
        return getattr(self._backend.model, "continuing_subword_prefix", None)

    @property
    def vocab_size(self) -> int:
        """Size of the base vocabulary, without added tokens."""
        return self._backend.get_vocab_size(with_added_tokens=False)

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, with added tokens."""
        return self._backend.get_vocab(with_added_tokens=True)

    def __len__(self) -> int:
        """Size of the vocabulary with added tokens."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    def __bool__(self) -> bool:
        return True

    @cached_property
    def backend_special_tokens(self) -> frozenset[str]:
        """The tokens that `skip_special_tokens` leaves out: those that tokenizer.json calls special."""
        return frozenset(t.content for t in self._backend.get_added_tokens_decoder().values() if t.special)
