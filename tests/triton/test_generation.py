"""A causal LM under a real Triton writes what the pipeline writes: whole, streamed, and in a crowd."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from runtime.generation.model import DEFAULT_SLOTS
from runtime.triton.server import TritonServer
from tests.conftest import CAUSAL_LM
from tests.triton.wire import GrpcStream, begin_stream, generate, generate_stream, text_of

pytestmark = pytest.mark.triton

PROMPTS = [
    "Return the",
    "def",
    "The os module provides a portable way of using operating system dependent functionality. It",
    "Überraschung: 素晴らしい",
    "Raises ValueError if",
    "Note that the following example, which opens a file and reads all of its lines into a list,",
]


def local_text(pipe: Any, prompt: str, **keywords: Any) -> str:
    """What the engine writes here, without Triton."""
    stream = pipe.submit(prompt, **keywords)
    return "".join(stream)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_text_is_the_pipelines(server: TritonServer, local_generator: Any, prompt: str) -> None:
    status, answer = generate(server, CAUSAL_LM, text_input=prompt, max_tokens=24)
    assert status == 200
    assert answer["text_output"] == prompt + local_text(local_generator, prompt, max_new_tokens=24, do_sample=False)
    pipeline_says = local_generator(prompt, max_new_tokens=24, do_sample=False)
    assert answer["text_output"] == pipeline_says[0]["generated_text"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_streamed_pieces_join_to_the_whole(server: TritonServer, prompt: str) -> None:
    _, whole = generate(server, CAUSAL_LM, text_input=prompt, max_tokens=24, exclude_input_in_output=True)
    events = generate_stream(server, CAUSAL_LM, text_input=prompt, max_tokens=24, stream=True)
    assert "".join(event["text_output"] for event in events) == whole["text_output"]
    assert len(events) > 5, "a stream that comes in one piece is none"
    assert events[-1]["finish_reason"] == whole["finish_reason"]
    assert all("finish_reason" not in event for event in events[:-1])


def test_the_stream_input_is_honoured(server: TritonServer) -> None:
    assert len(generate_stream(server, CAUSAL_LM, text_input=PROMPTS[0], max_tokens=8)) == 1
    assert len(generate_stream(server, CAUSAL_LM, text_input=PROMPTS[0], max_tokens=8, stream=False)) == 1


def test_the_prompt_is_in_the_output_unless_excluded(server: TritonServer) -> None:
    inputs = {"text_input": PROMPTS[0], "max_tokens": 8}
    _, default = generate(server, CAUSAL_LM, **inputs)
    _, included = generate(server, CAUSAL_LM, **inputs, exclude_input_in_output=False)
    _, excluded = generate(server, CAUSAL_LM, **inputs, exclude_input_in_output=True)
    echoed = generate_stream(server, CAUSAL_LM, **inputs, stream=True, exclude_input_in_output=False)
    assert default["text_output"] == included["text_output"] == PROMPTS[0] + excluded["text_output"]
    assert "".join(event["text_output"] for event in echoed) == default["text_output"]


def test_token_counts_are_those_of_the_engine(server: TritonServer, local_generator: Any) -> None:
    stream = local_generator.submit(PROMPTS[2], max_new_tokens=12, do_sample=False)
    list(stream)
    counts = {"return_num_input_tokens": True, "return_num_output_tokens": True}
    _, answer = generate(server, CAUSAL_LM, text_input=PROMPTS[2], max_tokens=12, **counts)
    assert answer["num_input_tokens"] == stream.num_input_tokens
    assert answer["num_output_tokens"] == stream.num_output_tokens
    assert answer["finish_reason"] == stream.finish_reason
    _, without = generate(server, CAUSAL_LM, text_input=PROMPTS[2], max_tokens=12)
    assert not {"num_input_tokens", "num_output_tokens"} & set(without)


def test_sampling_with_a_seed_repeats_itself_and_the_pipeline(server: TritonServer, local_generator: Any) -> None:
    options = {"temperature": 0.9, "top_p": 0.95, "top_k": 40, "repetition_penalty": 1.2}
    keywords = {"max_new_tokens": 24, "do_sample": True, **options}
    wire = {"text_input": PROMPTS[0], "max_tokens": 24, "exclude_input_in_output": True, **options}
    texts = []
    for seed in (1, 2, 3):
        _, answer = generate(server, CAUSAL_LM, **wire, seed=seed)
        _, again = generate(server, CAUSAL_LM, **wire, seed=seed)
        assert answer == again
        assert answer["text_output"] == local_text(local_generator, PROMPTS[0], seed=seed, **keywords)
        texts.append(answer["text_output"])
    assert len(set(texts)) > 1


def test_temperature_0_is_greedy_whatever_else_is_given(server: TritonServer) -> None:
    _, greedy = generate(server, CAUSAL_LM, text_input=PROMPTS[0], max_tokens=16)
    _, zero = generate(server, CAUSAL_LM, text_input=PROMPTS[0], max_tokens=16, temperature=0.0, top_p=0.5, seed=9)
    assert zero == greedy


def test_stop_words_end_the_text(server: TritonServer, local_generator: Any) -> None:
    whole = local_text(local_generator, PROMPTS[0], max_new_tokens=24, do_sample=False)
    word = whole.split()[3]
    _, answer = generate(
        server, CAUSAL_LM, text_input=PROMPTS[0], max_tokens=24, stop_words=[word], exclude_input_in_output=True
    )
    assert answer["text_output"] == local_text(
        local_generator, PROMPTS[0], max_new_tokens=24, do_sample=False, stop_strings=[word]
    )
    assert len(answer["text_output"]) < len(whole)
    _, unstopped = generate(
        server, CAUSAL_LM, text_input=PROMPTS[0], max_tokens=24, stop_words=[""], exclude_input_in_output=True
    )
    assert unstopped["text_output"] == whole


def test_a_crowd_gets_the_texts_of_single_requests(server: TritonServer, local_generator: Any) -> None:
    jobs = [(PROMPTS[i % len(PROMPTS)], 4 + 7 * (i % 5)) for i in range(40)]
    alone = {job: local_text(local_generator, job[0], max_new_tokens=job[1], do_sample=False) for job in set(jobs)}

    def ask(job: tuple[str, int]) -> str:
        events = generate_stream(server, CAUSAL_LM, text_input=job[0], max_tokens=job[1], stream=True)
        return "".join(event["text_output"] for event in events)

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, jobs)) == [alone[job] for job in jobs]


def test_grpc_streaming(server: TritonServer, local_generator: Any) -> None:
    with GrpcStream(server, CAUSAL_LM) as stream:
        stream.send(text_input=("BYTES", PROMPTS[2]), max_tokens=("INT32", 16), stream=("BOOL", True))
        results = stream.receive_all()
    assert text_of(results) == local_text(local_generator, PROMPTS[2], max_new_tokens=16, do_sample=False)
    assert len(results) > 5
    assert results[-1].as_numpy("finish_reason")[0, 0] == b"length"


def test_what_tritons_openai_frontend_sends(server: TritonServer, local_generator: Any) -> None:
    keywords = {"max_new_tokens": 16, "do_sample": True, "temperature": 1.0, "top_p": 1.0, "seed": 5}
    with GrpcStream(server, CAUSAL_LM) as stream:
        stream.send(
            text_input=("BYTES", PROMPTS[0]),
            stream=("BOOL", False),
            max_tokens=("INT32", 16),
            stop_words=("BYTES", ["###", "\n\n\n"]),
            top_p=("FP32", 1.0),
            frequency_penalty=("FP32", 0.0),
            presence_penalty=("FP32", 0.0),
            seed=("UINT64", 5),
            temperature=("FP32", 1.0),
            exclude_input_in_output=("BOOL", True),
            return_num_input_tokens=("BOOL", True),
            return_num_output_tokens=("BOOL", True),
        )
        results = stream.receive_all()
    assert len(results) == 1
    expected = local_text(local_generator, PROMPTS[0], **keywords, stop_strings=["###", "\n\n\n"])
    assert text_of(results) == expected
    assert results[0].as_numpy("num_output_tokens").dtype == np.int32


def cancellations(server: TritonServer) -> list[int]:
    """After how many new tokens requests were cancelled, from the server's log."""
    return [int(n) for n in re.findall(r"a request was cancelled after (\d+) new tokens", server.log())]


def test_http_clients_that_go_away_free_their_slots(server: TritonServer) -> None:
    """Triton notices a closed HTTP connection when it writes to it, here in the middle of a stream."""

    def abandon() -> None:
        inputs = {"text_input": "def", "max_tokens": 240, "stream": True}
        with ExitStack() as clients:
            begun = [clients.enter_context(begin_stream(server, CAUSAL_LM, **inputs)) for _ in range(DEFAULT_SLOTS)]
            begun[0].getresponse()  # comes with the first piece of text

    assert cancelled_by(abandon, server, lambda after_tokens: len(after_tokens) >= DEFAULT_SLOTS)
    status, answer = generate(server, CAUSAL_LM, text_input=PROMPTS[0], max_tokens=4)
    assert (status, answer["finish_reason"]) == (200, "length")


def test_grpc_cancellation_reaches_those_that_run_and_those_that_wait(server: TritonServer) -> None:
    def abandon() -> None:
        stream = GrpcStream(server, CAUSAL_LM)
        for _ in range(3 * DEFAULT_SLOTS):
            stream.send(text_input=("BYTES", "def"), max_tokens=("INT32", 240), stream=("BOOL", True))
        stream.receive()
        stream.client.stop_stream(cancel_requests=True)
        stream.client.close()

    assert cancelled_by(abandon, server, lambda after_tokens: 0 in after_tokens and max(after_tokens) > 0)


def cancelled_by(
    abandon: Callable[[], None],
    server: TritonServer,
    enough: Callable[[list[int]], bool],
    rounds: int = 10,
    count: Callable[[TritonServer], list[int]] = cancellations,
) -> bool:
    """Whether `abandon` leads to `enough` cancellations; repeated, as a busy machine may end a short text before."""
    before = len(count(server))
    for _ in range(rounds):
        abandon()
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            if enough(count(server)[before:]):
                return True
            time.sleep(0.05)
    return False


@pytest.mark.parametrize("do_sample, how", [(False, "num_beams"), (True, "num_beams"), (True, "num_return_sequences")])
def test_searches_of_clients_that_go_away_end(server: TritonServer, do_sample: bool, how: str) -> None:
    """One has the slots and others wait for it: all end before they have found anything."""
    options = json.dumps({"max_new_tokens": 240, "do_sample": do_sample, "eos_token_id": -1, how: 8})

    def abandon() -> None:
        stream = GrpcStream(server, CAUSAL_LM)
        for _ in range(3):
            stream.send(text_input=("BYTES", "def"), options=("BYTES", options))
        time.sleep(0.1)
        stream.client.stop_stream(cancel_requests=True)
        stream.client.close()

    assert cancelled_by(abandon, server, lambda ended: sum(ended) >= 3, count=searches)
    begun = time.monotonic()
    status, answer = generate(server, CAUSAL_LM, text_input=PROMPTS[0], max_tokens=4)
    assert (status, answer["finish_reason"]) == (200, "length")
    assert time.monotonic() - begun < 10


def searches(server: TritonServer) -> list[int]:
    """A 1 for every search that was cancelled, from the server's log."""
    return [1] * server.log().count("a search was cancelled")
