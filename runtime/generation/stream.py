"""Text as it is generated, for loops and for event loops."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from runtime.generation.logprobs import TokenLogprobs
from runtime.generation.sequence import Sequence
from runtime.tokenizer import DecodeStream


@dataclass(frozen=True)
class TokenEvent:
    """One generated token: its id, the text that it made certain (often ""), its log-probabilities if asked for.

    The last event of a stream has no token: its text is what was held back until the end.
    """

    token: int | None
    text: str
    logprobs: TokenLogprobs | None = None


class TextStream:
    """Iterates over pieces of text of a sequence under way; pieces never split a character.

    `for piece in stream` or `async for piece in stream`; `events()` and `async_events()` give every token with its
    log-probabilities instead. One of them, once. Leaving an async loop early cancels the sequence.
    After the end: `text` (all pieces), `finish_reason`, `num_input_tokens`, `num_output_tokens`, `logprobs`.
    """

    def __init__(self, sequence: Sequence, decoder: DecodeStream) -> None:
        self.sequence = sequence
        self.text = ""
        self._decoder = decoder
        self._count = 0
        self._pieces = (event.text for event in self.events() if event.text)

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __next__(self) -> str:
        return next(self._pieces)

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        async with aclosing(self.async_events()) as events:
            async for event in events:
                if event.text:
                    yield event.text

    def events(self) -> Iterator[TokenEvent]:
        """Token by token. Raises the engine's error if there was one."""
        for token in self.sequence.events():
            yield self._event(token)
        yield from self._last()

    async def async_events(self) -> AsyncGenerator[TokenEvent, None]:
        """As `events`, for the running event loop."""
        async with aclosing(self.sequence.async_events()) as tokens:
            async for token in tokens:
                yield self._event(token)
        for event in self._last():
            yield event

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

    @property
    def logprobs(self) -> list[TokenLogprobs]:
        """Of the tokens so far; empty unless asked for with `logprobs=`."""
        return self.sequence.logprobs

    def _event(self, token: int) -> TokenEvent:
        piece = self._decoder.push(token)
        self.text += piece
        found = self.sequence.logprobs[self._count] if self.sequence.logprobs else None
        self._count += 1
        return TokenEvent(token, piece, found)

    def _last(self) -> Iterator[TokenEvent]:
        rest = self._decoder.flush()
        self.text += rest
        if rest:
            yield TokenEvent(None, rest)
