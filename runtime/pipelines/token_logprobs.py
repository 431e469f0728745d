"""Log-probabilities of generated tokens, as records with the tokens' texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runtime.generation.config import GenerationConfig
from runtime.generation.logprobs import TokenLogprobs
from runtime.generation.sequence import Generated
from runtime.tokenizer import Tokenizer


def logprobs_of(group: Iterable[Generated], config: GenerationConfig) -> dict[str, Any]:
    """What `forward` adds to its outputs: "logprobs", a list for each sequence, if the request asked for them."""
    return {} if config.logprobs is None else {"logprobs": [one.logprobs for one in group]}


def logprob_extras(tokenizer: Tokenizer, outputs: dict[str, Any], sequences: int) -> list[dict[str, Any]]:
    """What each of the answers' records has beside its text: "logprobs" if the request asked for them."""
    if "logprobs" not in outputs:
        return [{}] * sequences
    return [{"logprobs": logprob_records(tokenizer, one)} for one in outputs["logprobs"]]


def logprob_records(tokenizer: Tokenizer, found: Iterable[TokenLogprobs]) -> list[dict[str, Any]]:
    """`[{"token_id", "token", "logprob", "top": [{"token_id", "token", "logprob"}]}]`, one for each new token.

    "token" is the id decoded by itself: a character that takes several tokens shows as U+FFFD in each of them.
    """
    return [
        {**_record(tokenizer, one.token, one.logprob), "top": [_record(tokenizer, *pair) for pair in one.top]}
        for one in found
    ]


def _record(tokenizer: Tokenizer, token: int, logprob: float) -> dict[str, Any]:
    text = tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return {"token_id": token, "token": text, "logprob": logprob}
