"""Encoder–decoders against transformers: tokens of greedy and beam search, and the contract of the 4.57 pipelines.

transformers 5 has no text2text-generation, summarization or translation pipeline; what they would say follows from
`generate()` with the parameters that 4.57 resolves, which these tests spell out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from runtime import pipeline
from runtime.errors import InputError
from tests.checkpoints.seq2seq import ROWS, tiny_seq2seq
from tests.device import MEMORIES, move_to_device

EVERY_RUN = ("bart", "t5", "mbart")
ALL = bool(os.environ.get("ONWARD_ALL_ARCHITECTURES"))
TEXTS = ["The bridge over the river is long.", "Hello", "Prices rose by 3.5% in May, and nobody was surprised at all."]


def architectures() -> list[Any]:
    """Every architecture; those not in `EVERY_RUN` only when asked for."""
    skip = pytest.mark.skipif(not ALL, reason="set ONWARD_ALL_ARCHITECTURES=1 to export every architecture")
    return [pytest.param(name, marks=() if name in EVERY_RUN else skip) for name in ROWS]


class Exported:
    """A checkpoint, its bundle, and HF's model and tokenizer."""

    def __init__(self, name: str, directory: Path) -> None:
        from exporter import export

        checkpoint = tiny_seq2seq(name, directory / "checkpoint" / name)
        self.bundle = export(checkpoint, output=directory / "repository", name=name)
        self.model = AutoModelForSeq2SeqLM.from_pretrained(checkpoint).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)

    def generate(self, text: str, **options: Any) -> list[str]:
        """HF's answers to one text."""
        inputs = self.tokenizer(text, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            output = self.model.generate(**inputs, **options)
        return [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in output]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Exports each architecture once, with validation."""
    made: dict[str, Exported] = {}

    def get(name: str) -> Exported:
        if name not in made:
            made[name] = Exported(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


@pytest.mark.parametrize("name", architectures())
@pytest.mark.parametrize("memory", MEMORIES)
def test_greedy_and_beams_equal_generate(name: str, exported: Any, memory: str) -> None:
    one = exported(name)
    pipe = pipeline("text2text-generation", one.bundle)
    if memory == "device":
        move_to_device(pipe)
    early = {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True}
    for options in ({"num_beams": 1}, {"num_beams": 4}, early):
        options = {**options, "do_sample": False, "max_new_tokens": 14}
        found = pipe(TEXTS, **options)
        assert found == [{"generated_text": one.generate(text, **options)[0]} for text in TEXTS]


@pytest.mark.parametrize("name", EVERY_RUN[:2])
@pytest.mark.parametrize("memory", MEMORIES)
def test_sources_of_different_lengths_share_a_batch(name: str, exported: Any, memory: str) -> None:
    pipe = pipeline("text2text-generation", exported(name).bundle)
    if memory == "device":
        move_to_device(pipe)
    options = {"num_beams": 1, "max_new_tokens": 12}
    alone = [pipe(text, **options)[0] for text in TEXTS * 4]
    assert pipe(TEXTS * 4, batch_size=5, **options) == alone


@pytest.mark.parametrize("name", EVERY_RUN[:2])
def test_tokens_from_the_graphs_candidates(name: str, exported: Any) -> None:
    one = exported(name)
    pipe = pipeline("text2text-generation", one.bundle)
    options = {"num_beams": 1, "max_new_tokens": 14, "do_sample": False}
    pipe.model.engine.candidates = pipe.model.runner.candidates == 64
    assert pipe.model.engine.candidates
    found = pipe(TEXTS, batch_size=3, **options)
    assert found == [{"generated_text": one.generate(text, **options)[0]} for text in TEXTS]


def test_nesting_of_the_answers(exported: Any) -> None:
    pipe = pipeline("summarization", exported("bart").bundle, max_new_tokens=4)
    assert [list(item) for item in pipe(TEXTS[0])] == [["summary_text"]]
    assert [list(item) for item in pipe(TEXTS)] == [["summary_text"]] * 3
    two = pipe(TEXTS, num_return_sequences=2, num_beams=2)
    assert [[list(item) for item in answer] for answer in two] == [[["summary_text"]] * 2] * 3
    tensors = pipe(TEXTS[0], return_tensors=True)
    assert list(tensors[0]) == ["summary_token_ids"]
    assert pipe([]) == []


def test_task_specific_parameters_and_prefix(exported: Any) -> None:
    one = exported("t5")
    specific = dict(one.model.config.task_specific_params["summarization"])
    prefix = specific.pop("prefix")
    found = pipeline("summarization", one.bundle)(TEXTS[0])
    # 4.57: the pipeline's 256 new tokens stay beside the task's max_length, and win over it.
    expected = one.generate(prefix + TEXTS[0], **{**specific, "max_length": None, "max_new_tokens": 256})
    assert found == [{"summary_text": expected[0]}]


def test_translation_task_takes_its_prefix(exported: Any) -> None:
    one = exported("t5")
    pipe = pipeline("translation_en_to_fr", one.bundle)
    assert pipe.task == "translation_en_to_fr"
    expected = one.generate("translate English to French: " + TEXTS[0], num_beams=4, max_new_tokens=9)
    assert pipe(TEXTS[0], max_new_tokens=9) == [{"translation_text": expected[0]}]


@pytest.mark.parametrize(("source", "target"), [("en_XX", "ro_RO"), ("fr_XX", "en_XX")])
def test_language_tokens(exported: Any, source: str, target: str) -> None:
    one = exported("mbart")
    pipe = pipeline("translation", one.bundle)
    found = pipe(TEXTS[0], src_lang=source, tgt_lang=target, max_new_tokens=9, num_beams=2)
    inputs = one.tokenizer._build_translation_inputs(TEXTS[0], return_tensors="pt", src_lang=source, tgt_lang=target)
    with torch.no_grad():
        ids = one.model.generate(**inputs, max_new_tokens=9, num_beams=2)[0]
    assert found == [{"translation_text": one.tokenizer.decode(ids, skip_special_tokens=True)}]


def test_steps_one_by_one(exported: Any) -> None:
    pipe = pipeline("text2text-generation", exported("t5").bundle)
    inputs = pipe.preprocess(TEXTS[0])
    assert pipe.postprocess(pipe.forward(inputs, max_new_tokens=6)) == pipe(TEXTS[0], max_new_tokens=6)


def test_bad_input(exported: Any) -> None:
    pipe = pipeline("translation", exported("mbart").bundle)
    with pytest.raises(InputError, match="src_lang"):
        pipe(TEXTS[0])
    with pytest.raises(InputError, match=r"unknown language 'en_YY'.*en_XX"):
        pipe(TEXTS[0], src_lang="en_YY", tgt_lang="ro_RO")
    with pytest.raises(InputError, match="takes a text"):
        pipe(7, src_lang="en_XX", tgt_lang="ro_RO")
    with pytest.raises(InputError, match="translation_XX_to_YY"):
        pipeline("translation_en", exported("mbart").bundle)
    with pytest.raises(InputError, match="no language tokens"):
        pipeline("translation", exported("t5").bundle)(TEXTS[0], src_lang="en_XX")


@pytest.mark.parametrize("name", EVERY_RUN[:2])
@pytest.mark.parametrize("memory", MEMORIES)
def test_beams_of_several_sources_share_runs(
    name: str, exported: Any, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    """Two sources of 4 beams are 8 rows; each answer as `generate()` gives it, whatever else is in the run."""
    one = exported(name)
    pipe = pipeline("text2text-generation", one.bundle)
    if memory == "device":
        move_to_device(pipe)
    runner, rows = pipe.model.runner, []
    decode = runner.decode
    monkeypatch.setattr(runner, "decode", lambda tokens, best=False: rows.append(len(tokens)) or decode(tokens, best))
    options = {
        "num_beams": 4,
        "num_return_sequences": 2,
        "do_sample": False,
        "max_new_tokens": 14,
        "length_penalty": 0.3,
    }
    found = pipe(TEXTS, batch_size=3, **options)
    assert [[a["generated_text"] for a in answers] for answers in found] == [one.generate(t, **options) for t in TEXTS]
    assert max(rows) == 8 and set(rows) <= {4, 8}


def test_rows_of_a_lockstep_model_start_together(exported: Any) -> None:
    """BART has one position for all rows of a run: those that wait start when all have ended, and share every run."""
    one = exported("bart")
    pipe = pipeline("text2text-generation", one.bundle, slots=4)
    assert pipe.model.runner.lockstep
    before = pipe.model.engine.statistics()
    found = pipe(TEXTS * 3, batch_size=9, num_beams=1, max_new_tokens=12, min_new_tokens=12)
    after = pipe.model.engine.statistics()
    assert after.decode_steps - before.decode_steps == 3 * 11
    expected = [one.generate(text, num_beams=1, max_new_tokens=12, min_new_tokens=12)[0] for text in TEXTS]
    assert [answer["generated_text"] for answer in found] == expected * 3
