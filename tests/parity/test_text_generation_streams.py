"""Streams of the text-generation pipeline: their text and tokens are those of the call without streaming."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import pipeline
from runtime.errors import InputError
from tests.device import MEMORIES, move_to_device

TASK = "text-generation"
SLOTS = 4
WORDS = "The with statement is used to wrap the execution of a block with methods defined by a context manager. "
PROMPTS = ["a", WORDS, WORDS * 5, "def f(x):\n    return", "naïve café 你好 👍🏽", "", "The class"]
GREEDY: dict[str, Any] = {"do_sample": False, "max_new_tokens": 24}
ENDLESS: dict[str, Any] = {"do_sample": False, "max_new_tokens": 240, "eos_token_id": -1}
PATIENCE = 60  # seconds to wait for a thread before a test fails


@pytest.fixture(scope="module", params=MEMORIES)
def pipe(causal_lm_bundle: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    made = pipeline(TASK, causal_lm_bundle, slots=SLOTS)
    yield move_to_device(made) if request.param == "device" else made
    made.close()


def answer(pipe: Any, prompt: str, **options: Any) -> tuple[str, list[int]]:
    """New text and all ids, without streaming."""
    outputs = pipe.forward(pipe.preprocess(prompt), **options)
    return pipe.postprocess(outputs, return_type="new_text")[0]["generated_text"], outputs["generated_sequence"][0]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.5},
    {"do_sample": True, "seed": 4, "temperature": 2.0},
    {"stop_strings": ["the", "."]},
    {"stop_sequence": " is"},
    {"max_new_tokens": 1},
    {"prefix": "Note: "},
    {"eos_token_id": [12, 14]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: repr(prompt[:12]))
def test_pieces_join_to_the_answer(pipe: Any, prompt: str, options: dict[str, Any]) -> None:
    options = {**GREEDY, **options}
    record = pipe(prompt, return_full_text=False, **options)[0]
    stream = pipe.submit(prompt, **options)
    pieces = list(stream)
    assert "".join(pieces) == stream.text == record["generated_text"]
    assert all(pieces), "no empty pieces"


def test_counts_and_reasons(pipe: Any) -> None:
    """Tokens of the prompt and new ones, end token included; why each ended."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"eos_token_id": -1}, "length"),
        ({"eos_token_id": list(range(2048))}, "stop"),
        ({"stop_strings": ["e", " ", "\n", "."]}, "stop_string"),
        ({"max_time": 1e-6}, "time"),
    ]
    for options, reason in cases:
        merged = {**GREEDY, **options}
        stream = pipe.submit(WORDS, **merged)
        for _ in stream:
            pass
        ids = answer(pipe, WORDS, **merged)[1]
        assert stream.finish_reason == reason
        assert stream.num_input_tokens == len(pipe.tokenizer(WORDS)["input_ids"])
        if reason != "time":
            assert stream.num_input_tokens + stream.num_output_tokens == len(ids)


def test_characters_are_never_split(pipe: Any) -> None:
    """Random tokens spell broken UTF-8; a character that takes several tokens comes in one piece."""
    text = "你好 👍🏽 naïve"
    ids = pipe.tokenizer(text)["input_ids"]
    assert len(ids) > len(text), "characters take several tokens in this vocabulary"
    bias = [[[token], -100.0] for token in range(2048) if token not in ids]
    options = {"do_sample": True, "temperature": 3.0, "max_new_tokens": 100, "sequence_bias": bias}
    split = 0
    for seed in range(4):
        pieces = list(pipe.submit("a", seed=seed, **options))
        whole = answer(pipe, "a", seed=seed, **options)[0]
        assert "".join(pieces) == whole
        split += sum(1 for piece in pieces if any(ord(char) > 0x7F and char != "\ufffd" for char in piece))
    assert split > 0, "no character beyond ASCII came out"


def test_many_streams_from_threads(pipe: Any) -> None:
    """48 requests from 12 threads on 4 slots: each as if alone."""
    cases = [
        (PROMPTS[n % len(PROMPTS)], {"do_sample": True, "seed": n, "max_new_tokens": 5 + n % 20}) for n in range(48)
    ]
    expected = [answer(pipe, prompt, **options)[0] for prompt, options in cases]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda case: "".join(pipe.submit(case[0], **case[1])), cases))
    assert found == expected


def test_calls_and_streams_together(pipe: Any) -> None:
    """Greedy calls, beam calls and streams at the same time from several threads."""
    jobs = [
        lambda: pipe(PROMPTS[:4], batch_size=4, **GREEDY),
        lambda: pipe(WORDS, num_beams=3, **GREEDY),
        lambda: "".join(pipe.submit(WORDS * 5, **GREEDY)),
        lambda: pipe("a", do_sample=True, seed=1, num_return_sequences=3, max_new_tokens=9),
    ]
    expected = [job() for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        rounds = [pool.submit(job) for _ in range(4) for job in jobs]
        assert [future.result(PATIENCE) for future in rounds] == expected * 4


def test_cancelling_frees_the_slot(pipe: Any) -> None:
    """All slots taken: a waiting request gets one as soon as a stream is cancelled."""
    streams = [pipe.submit(WORDS, **ENDLESS) for _ in range(SLOTS)]
    for stream in streams:
        next(stream)
    waiting = pipe.submit("a", **GREEDY)
    streams[1].cancel()
    for _ in streams[1]:
        pass
    assert streams[1].finish_reason == "cancelled"
    assert streams[1].num_output_tokens < 240
    assert "".join(waiting) == answer(pipe, "a", **GREEDY)[0]
    for stream in streams:
        stream.cancel()
    assert [("".join(stream), stream.finish_reason)[1] for stream in streams] == ["cancelled"] * SLOTS
    assert not pipe.model.engine.active


def test_cancelling_while_it_waits(pipe: Any) -> None:
    """It ends at once, not when a slot is free."""
    streams = [pipe.submit(WORDS, **ENDLESS) for _ in range(SLOTS)]
    waiting = pipe.submit("a", **GREEDY)
    waiting.cancel()
    assert list(waiting) == []
    assert (waiting.finish_reason, waiting.num_output_tokens) == ("cancelled", 0)
    assert any(stream.finish_reason is None for stream in streams), "the slots were still taken"
    for stream in streams:
        stream.cancel()
        list(stream)


def test_closing_ends_running_streams(causal_lm_bundle: Path) -> None:
    """Readers wake up with what there is; afterwards the pipeline can be used again."""
    pipe = pipeline(TASK, causal_lm_bundle, slots=2)
    streams = [pipe.submit(WORDS, **ENDLESS) for _ in range(5)]
    next(streams[0])
    texts: list[str] = []
    readers = [threading.Thread(target=lambda s=stream: texts.append("".join(s))) for stream in streams]
    for reader in readers:
        reader.start()
    pipe.close()
    for reader in readers:
        reader.join(PATIENCE)
        assert not reader.is_alive()
    assert {stream.finish_reason for stream in streams} == {"cancelled"}
    assert not pipe.model.engine.busy
    assert "".join(pipe.submit("a", **GREEDY)) == answer(pipe, "a", **GREEDY)[0]
    pipe.close()
    pipe.close()


def test_first_piece_comes_before_the_end(pipe: Any) -> None:
    """It streams: text is there while the sequence still runs."""
    stream = pipe.submit(WORDS, **ENDLESS)
    assert next(stream)
    assert stream.finish_reason is None
    stream.cancel()
    assert len("".join(stream)) < len(answer(pipe, WORDS, **ENDLESS)[0])


def test_an_idle_engine_sleeps(pipe: Any) -> None:
    """Its thread waits for work without using the processor."""
    list(pipe.submit("a", **GREEDY))
    time.sleep(0.1)
    steps = []
    step = pipe.model.engine.step
    pipe.model.engine.step = lambda: steps.append(1) or step()
    time.sleep(0.3)
    del pipe.model.engine.step
    assert not steps


# ---- in an event loop


async def collect(stream: Any) -> str:
    return "".join([piece async for piece in stream])


def test_in_an_event_loop(pipe: Any) -> None:
    """Streams side by side in one loop, one of them begun before it was listened to: the text of each as if alone."""
    cases = [(PROMPTS[n % len(PROMPTS)], {"do_sample": True, "seed": n, "max_new_tokens": 15}) for n in range(12)]
    expected = [answer(pipe, prompt, **options)[0] for prompt, options in cases]

    async def serve() -> list[str]:
        early = pipe.submit(cases[0][0], **cases[0][1])
        early.sequence.done.wait(PATIENCE)
        streams = [early, *(pipe.submit(prompt, **options) for prompt, options in cases[1:])]
        return list(await asyncio.gather(*(collect(stream) for stream in streams)))

    assert asyncio.run(serve()) == expected


def test_events_in_an_event_loop(pipe: Any) -> None:
    expected = [(event.token, event.text) for event in pipe.submit(WORDS, **GREEDY).events()]

    async def serve() -> list[tuple[int | None, str]]:
        return [(event.token, event.text) async for event in pipe.submit(WORDS, **GREEDY).async_events()]

    assert asyncio.run(serve()) == expected


def test_64_requests_that_come_and_go_in_an_event_loop(pipe: Any) -> None:
    """They arrive at random, some leave early: each has its own text, or the beginning of it."""
    random = np.random.default_rng(0)
    cases = [(PROMPTS[n % 4], {"do_sample": n % 3 > 0, "seed": n, "max_new_tokens": 4 + n % 17}) for n in range(64)]
    patience = [int(random.integers(1, 4)) if random.random() < 0.25 else 99 for _ in cases]
    expected = [answer(pipe, prompt, **options)[0] for prompt, options in cases]

    async def client(number: int) -> str:
        await asyncio.sleep(random.random() * 0.3)
        prompt, options = cases[number]
        pieces: list[str] = []
        async with aclosing(aiter(pipe.submit(prompt, **options))) as stream:
            async for piece in stream:
                pieces.append(piece)
                if len(pieces) == patience[number]:
                    break
        return "".join(pieces)

    async def serve() -> list[str]:
        return list(await asyncio.gather(*(client(number) for number in range(64))))

    for found, whole, pieces in zip(asyncio.run(serve()), expected, patience, strict=True):
        assert found == whole if pieces == 99 else whole.startswith(found)
    with pipe.model.engine.lock:
        assert pipe.model.engine.statistics().waiting == 0


@pytest.mark.parametrize("way", ["break", "cancel the task", "close the loop"])
def test_leaving_an_event_loop_frees_the_slot(pipe: Any, way: str) -> None:
    stream = pipe.submit(WORDS, **ENDLESS)

    async def first() -> None:
        async for _ in stream:
            if way == "break":
                break

    async def serve() -> None:
        task = asyncio.create_task(first())
        if way == "cancel the task":
            await asyncio.sleep(0.02)
            task.cancel()
        elif way == "break":
            await task
        else:
            await asyncio.sleep(0.02)

    asyncio.run(serve())
    assert stream.sequence.done.wait(PATIENCE)
    assert stream.finish_reason == "cancelled"
    assert stream.num_output_tokens < 240


def test_errors_reach_the_event_loop(pipe: Any) -> None:
    stream = pipe.submit("a", do_sample=True, max_new_tokens=4, suppress_tokens=list(range(2048)))
    with pytest.raises(InputError, match=r"no token is left|forbid every token"):
        asyncio.run(collect(stream))
    with pipe.model.engine.lock:  # the step in which it failed is over
        assert not pipe.model.engine.busy


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a", {"num_beams": 2}, "streaming gives one sequence"),
        ("a", {"num_return_sequences": 2, "do_sample": True}, "streaming gives one sequence"),
        (WORDS * 20, {}, "the model's context holds 256"),
        (["a", "b"], {}, "text-generation takes a text or a chat, not list"),
        ("a", {"max_tokens": 2}, "there is no generation parameter 'max_tokens'"),
    ],
)
def test_what_is_refused(pipe: Any, text: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        pipe.submit(text, **options)
    assert message in str(caught.value)
    assert not pipe.model.engine.busy
