"""Why sequences end, without a model."""

from __future__ import annotations

import pytest

from runtime.errors import InputError
from runtime.generation import stopping as module
from runtime.generation.config import resolve
from runtime.generation.stopping import Stopping, StopStrings

PIECES = ["st", "op", "stop", "las", "topper", "s", "to", "pped", "at", "tion", "opera", "x", ""]


def decode(ids: list[int]) -> str:
    return "".join(PIECES[i] for i in ids)


def ids_of(*pieces: str) -> list[int]:
    return [PIECES.index(piece) for piece in pieces]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        # the examples in the documentation of HF's StopStringCriteria
        (["st", "op"], True),
        (["stop"], True),
        (["st", "opera"], True),
        (["las", "topper"], True),
        (["s", "to", "pped"], True),
        (["stop", "at"], False),
        (["st", "op", "at"], False),
        (["st", "opera", "tion"], False),
        (["stop", "x", "st"], False),
        (["stop", ""], False),
        (["stop", "stop"], True),
    ],
    ids=str,
)
def test_the_last_token_has_a_part_in_the_match(pieces: list[str], expected: bool) -> None:
    assert StopStrings(["stop"], decode)(ids_of("x", *pieces)) is expected


def test_the_cost_of_a_step_does_not_grow_with_the_sequence() -> None:
    seen: list[int] = []

    def counting(ids: list[int]) -> str:
        seen.append(len(ids))
        return decode(ids)

    StopStrings(["stop", "to"], counting)(ids_of(*["x"] * 5000))
    assert seen == [4 + module.CONTEXT_TOKENS]


def test_reasons_and_their_order() -> None:
    config = resolve({}, eos_token_id=[11, 9], stop_strings=["stop"], max_new_tokens=3)
    stopping = Stopping(config, 2, decode)
    assert stopping.reason(ids_of("at", "at", "s")) is None
    assert stopping.reason(ids_of("at", "at", "x")) == "stop"
    assert stopping.reason(ids_of("at", "at", "st", "at", "tion")) == "stop"
    assert stopping.reason(ids_of("at", "at", "at", "st", "op")) == "stop_string"
    assert stopping.reason(ids_of("at", "at", "at", "at", "at")) == "length"
    assert stopping.ended([ids_of("at", "x"), ids_of("x", "at")]).tolist() == [True, False]


def test_the_room_of_a_slot_ends_a_sequence_too() -> None:
    stopping = Stopping(resolve({}, max_new_tokens=100), 2, limit=4)
    assert stopping.max_length == 4
    assert stopping.reason([1, 1, 1]) is None
    assert stopping.reason([1, 1, 1, 1]) == "length"


def test_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    stopping = Stopping(resolve({}, max_time=2.0), 1)
    assert stopping.reason([1, 1]) is None
    now[0] = 102.1
    assert stopping.reason([1, 1]) == "time"


def test_stop_strings_without_a_tokenizer_are_refused() -> None:
    with pytest.raises(InputError, match="need a tokenizer"):
        Stopping(resolve({}, stop_strings="x"), 1)
