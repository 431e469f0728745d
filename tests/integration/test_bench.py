"""`onward bench` from the command line: bundles alone, beside each other, and against their source."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.integration.command import Onward, assert_refused

SHORT = ["--rounds", 1, "--seconds", 0.05, "--tokens", 16]


def test_one_bundle(onward: Onward, causal_lm_bundle: Path) -> None:
    done = onward("bench", causal_lm_bundle, *SHORT, "--new-tokens", 24, "--batch-size", "1,3")
    assert done.code == 0
    for words in ("text-generation, cpu", "size on disk", "peak memory", "batch 3: tokens a second", "first token"):
        assert words in done.out
    assert "×" not in done.out  # nothing to compare with


def test_against_the_source(
    onward: Onward, classifier_bundle: Path, classifier_checkpoint: Path, tmp_path: Path
) -> None:
    """Two bundles of one name are told apart; figures as JSON and nothing else on standard output."""
    copy = shutil.copytree(classifier_bundle, tmp_path / "copy")
    options = [*SHORT, "--against", classifier_checkpoint, "--batch-size", "2", "--json"]
    done = onward("bench", classifier_bundle, copy, *options)
    assert done.code == 0
    source, *bundles = json.loads(done.out)["subjects"]
    assert source["name"] == "source, torch"
    assert source["size"] > 1_000_000
    assert [bundle["name"] for bundle in bundles] == [str(classifier_bundle), str(copy)]
    for bundle in bundles:
        assert bundle["batches"]["2"]["p50_ms"] > 0
        assert bundle["ratios"]["first_answer_s"] > 1  # torch and transformers take seconds to import
        assert bundle["ratios"]["2.p50_ms"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch-size", "0"], "numbers from 1 to 1024"),
        (["--batch-size", "a,b"], "numbers from 1 to 1024"),
        (["--batch-size", ","], "numbers from 1 to 1024"),
        (["--rounds", "0"], "--rounds"),
        (["--seconds", "-1"], "--seconds"),
    ],
)
def test_options_that_mean_nothing(onward: Onward, classifier_bundle: Path, options: list[str], words: str) -> None:
    done = onward("bench", classifier_bundle, *options)
    assert done.code == 2
    assert words in done.err


def test_refusals(onward: Onward, classifier_bundle: Path, causal_lm_bundle: Path, tmp_path: Path) -> None:
    assert onward("bench").code == 2
    assert_refused(onward("bench", tmp_path / "none"), "no bundle at")
    assert_refused(onward("bench", classifier_bundle, causal_lm_bundle), "measure one task at a time")
    assert_refused(onward("bench", classifier_bundle, "--provider", "tpu"), "unknown provider 'tpu'")
    done = onward("bench", classifier_bundle, *SHORT, "--against", tmp_path / "none")
    assert_refused(done, str(tmp_path / "none"))


def test_without_torch(onward: Onward, classifier_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())
    assert_refused(onward("bench", classifier_bundle, "--against", "x"), "--against needs torch", "onward[export]")
