"""Text as stop strings see it."""

from __future__ import annotations

from collections.abc import Callable

from runtime.tokenizer import Tokenizer


def raw_decoder(tokenizer: Tokenizer) -> Callable[[list[int]], str]:
    """Ids -> text with special tokens and all spaces, in which stop strings are looked for."""

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    return decode
