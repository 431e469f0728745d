"""Text as it is generated."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.generation.sequence import Sequence
from runtime.tokenizer import DecodeStream


class TextStream:
    """Iterates over pieces of text of a sequence under way; pieces never split a character.

    After the end: `text` (all pieces), `finish_reason`, `num_input_tokens`, `num_output_tokens`.
    """

    def __init__(self, sequence: Sequence, decoder: DecodeStream) -> None:
        self.sequence = sequence
        self.text = ""
        self._decoder = decoder
        self._pieces = self._decode()

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __next__(self) -> str:
        return next(self._pieces)

    def cancel(self) -> None:
        """Stop generating; the slot is free at the next step."""
        self.sequence.cancel()

    @property
    def finish_reason(self) -> str | None:
        """Why it ended, None while it runs; see `Sequence`."""
        return self.sequence.finish_reason

    @property
    def num_input_tokens(self) -> int:
        """Tokens of the prompt."""
        return self.sequence.prompt_length

    @property
    def num_output_tokens(self) -> int:
        """Tokens generated so far, end token included."""
        return len(self.sequence.ids) - self.sequence.prompt_length

    def _decode(self) -> Iterator[str]:
        for token in self.sequence.events():
            piece = self._decoder.push(token)
            if piece:
                self.text += piece
                yield piece
        rest = self._decoder.flush()
        if rest:
            self.text += rest
            yield rest
