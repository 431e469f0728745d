"""Text to text and captions against answers recorded with transformers 4.57: `tests/goldens/record_seq2seq.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from runtime import pipeline
from runtime.errors import InputError, OnwardError
from runtime.session import close_sessions
from tests.goldens.record_seq2seq import GOLDENS, PIPELINES, REFUSED, SHORT, TEXTS, ask, calls, fingerprint
from tests.goldens.seq2seq_checkpoints import BUILDERS

RECORDED = json.loads(GOLDENS.read_text(encoding="utf-8"))
GROUPS: dict[tuple[str, str, str], list[tuple[dict[str, Any], Any]]] = {}
for _call, _answer in zip(calls(), RECORDED["answers"], strict=True):
    _key = (_call["checkpoint"], _call["task"], json.dumps(_call["init"]))
    GROUPS.setdefault(_key, []).append((_call, _answer))
TASKS = {"captioner": "image-to-text"}
Pipes = Callable[[str, str, dict[str, Any]], Any]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds each checkpoint once."""
    folder = tmp_path_factory.mktemp("recorded")
    return lambda name: folder / name if (folder / name).exists() else BUILDERS[name](folder / name)


@pytest.fixture(scope="module")
def pipes(checkpoints: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipes]:
    """Pipelines over one export of each checkpoint. The recorded answers are the validation."""
    from exporter import export

    repository = tmp_path_factory.mktemp("repository")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def pipe(name: str, task: str, init: dict[str, Any]) -> Any:
        if not (repository / name).exists():
            made_for = TASKS.get(name, "text2text-generation")
            export(checkpoints(name), task=made_for, output=repository, name=name, validate=False)
        return pipeline(task, repository / name, threads=1, **init)

    yield pipe
    torch.set_num_threads(threads)
    close_sessions()


def without_padding(answer: Any, pad: int, end: int) -> Any:
    """Token ids end where the sequence ends: HF fills them up to the longest, of a batch or of the beams."""
    if isinstance(answer, dict):
        return {key: unpadded(value, pad, end) if isinstance(value, list) else value for key, value in answer.items()}
    return [without_padding(one, pad, end) for one in answer]


def unpadded(ids: list[int], pad: int, end: int) -> list[int]:
    """Ids up to the end token, without padding. (For beams, HF pads with the end token where padding has id 0.)"""
    length = ids.index(end, 1) + 1 if end in ids[1:] else len(ids)
    while length > 1 and ids[length - 1] == pad:
        length -= 1
    return ids[:length]


@pytest.mark.parametrize("name", RECORDED["fingerprints"])
def test_the_checkpoint_is_the_one_that_was_asked(name: str, checkpoints: Callable[[str], Path]) -> None:
    """Else every other difference would be noise: record again."""
    folder = checkpoints(name)
    found = fingerprint(AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder))
    expected = RECORDED["fingerprints"][name]
    assert found["ids"] == expected["ids"]
    assert abs(found["weights"] - expected["weights"]) < 1


@pytest.mark.parametrize("key", GROUPS, ids=lambda key: "-".join(key[:2]))
def test_recorded_answers(key: tuple[str, str, str], pipes: Pipes) -> None:
    """Every recorded call of one pipeline: equal texts, tokens, nesting and keys."""
    name, task, init = key
    pipe = pipes(name, task, json.loads(init))
    pad, end = pipe.manifest.tokenizer.pad_token_id, pipe.manifest.generation["eos_token_id"]
    wrong = []
    for call, expected in GROUPS[key]:
        try:
            found = ask(pipe, call)
        except OnwardError as error:
            found = {"error": str(error)}
        if not same(found, expected, pad, end):
            wrong.append(f"{call['form']} {call['args']} {call['kwargs']}\n  {found}\n  instead of {expected}")
    pipe.close()
    assert not wrong, f"{len(wrong)} of {len(GROUPS[key])} calls differ\n" + "\n".join(wrong[:6])


def same(found: Any, expected: Any, pad: int, end: int) -> bool:
    """Equal answers; where HF stopped with an error, ours is an `OnwardError`."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and "error" in found
    return without_padding(found, pad, end) == without_padding(expected, pad, end)


def test_enough_was_recorded() -> None:
    """Answers that differ from each other: a model that always says the same would prove little."""
    assert len(RECORDED["answers"]) > 400
    texts = {json.dumps(answer) for answer in RECORDED["answers"]}
    assert len(texts) > 250


@pytest.mark.parametrize(("call", "outcome"), zip(REFUSED, RECORDED["refused"], strict=True), ids=str)
def test_what_is_refused(call: tuple[str, str, list[Any], dict[str, Any]], outcome: Any, pipes: Pipes) -> None:
    """One line that says what to do, where 4.57 has an exception of one kind or another."""
    name, task, args, kwargs = call
    assert outcome["error"] in ("TypeError", "ValueError")
    with pytest.raises(InputError) as caught:
        pipes(name, task, {})(*args, **kwargs)
    assert "\n" not in str(caught.value)


def test_languages_that_a_checkpoint_does_not_have(pipes: Pipes) -> None:
    """4.57 ignores them silently for checkpoints of one language pair; here they are refused."""
    with pytest.raises(InputError, match="no language tokens"):
        pipes("marian", "translation", {})(SHORT, src_lang="en", tgt_lang="fr")


def test_every_pipeline_was_recorded() -> None:
    assert {(name, task) for name, task, _ in PIPELINES} <= {key[:2] for key in GROUPS}
    assert len(TEXTS) >= 6
