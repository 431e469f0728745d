"""`--eval-data` from the command line: measured on both sides, in the report, and a drop that fails."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle import open_bundle
from tests.checkpoints import LM_HELDOUT, NER_HELDOUT, SENTIMENT_HELDOUT
from tests.integration.command import Onward, assert_refused, tree
from tests.text_bundles import TextBundles


def accuracy_checks(out: str) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(out) if check["point"] == "accuracy"}


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """Forty of the held-out sentences as CSV, with columns that nobody would guess."""
    rows = [json.loads(line) for line in SENTIMENT_HELDOUT.read_text(encoding="utf-8").splitlines()[:40]]
    path = tmp_path / "sentences.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["what", "how"])
        writer.writerows([row["text"], row["label"]] for row in rows)
    return path


COLUMNS = "text=what,label=how"

# ---- validate


def test_validate_measures_a_classifier(onward: Onward, classifier_bundle: Path, sentences: Path) -> None:
    done = onward("validate", classifier_bundle, "--eval-data", sentences, "--eval-columns", COLUMNS, "--json")
    assert done.code == 0
    checks = accuracy_checks(done.out)
    assert set(checks) == {"accuracy", "macro F1"}
    figures = checks["accuracy"]["figures"]
    assert figures["source"] == figures["bundle"] >= 90
    assert (figures["drop"], figures["allowed"], figures["examples"]) == (0, 0.1, 40)


def test_validate_fails_on_a_drop(
    onward: Onward, classifier: Path, classifier_checkpoint: Path, sentences: Path
) -> None:
    """Labels swapped in the manifest: every right answer becomes a wrong one."""
    from exporter.sealing import replace_manifest, seal

    labels = open_bundle(classifier).manifest.labels
    seal(replace_manifest(open_bundle(classifier).manifest, labels=labels[::-1]), classifier / "1")
    options = ["--eval-data", sentences, "--eval-columns", COLUMNS, "--eval-limit", 20]
    done = onward("validate", classifier, "--against", classifier_checkpoint, *options)
    assert done.code == 1
    assert any("✗" in line and "accuracy" in line for line in done.out.splitlines())


def test_validate_measures_entities(onward: Onward, text_bundles: TextBundles) -> None:
    done = onward("validate", text_bundles("ner"), "--eval-data", NER_HELDOUT, "--eval-limit", 30, "--json")
    assert done.code == 0
    [figures] = [check["figures"] for check in accuracy_checks(done.out).values()]
    assert figures["source"] == figures["bundle"] > 80


def test_validate_measures_perplexity(onward: Onward, causal_lm_bundle: Path, tmp_path: Path) -> None:
    text = LM_HELDOUT.read_text(encoding="utf-8")[:6000]
    (tmp_path / "some.jsonl").write_text(json.dumps({"content": text}) + "\n", encoding="utf-8")
    done = onward("validate", causal_lm_bundle, "--eval-data", tmp_path / "some.jsonl", "--json")
    assert done.code == 0
    figures = accuracy_checks(done.out)["perplexity"]["figures"]
    assert 5 < figures["source"] < 100
    assert abs(figures["drop"]) < 1e-3


# ---- export


def test_a_drop_fails_the_export(
    onward: Onward, classifier_checkpoint: Path, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swapped labels that nobody but the metric sees: a table with both accuracies, code 1, nothing on disk."""
    from exporter import bundle_writer
    from exporter.validation import run

    right = bundle_writer.labels
    monkeypatch.setattr(bundle_writer, "labels", lambda config: right(config)[::-1])
    monkeypatch.setattr(run, "compare", lambda *_: [])
    output = tmp_path / "repository"
    options = ["--eval-data", sentences, "--eval-columns", COLUMNS, "--max-drop", 50]
    done = onward("export", classifier_checkpoint, "--output", output, *options)
    assert done.code == 1
    marked = [line for line in done.err.splitlines() if "✗" in line]
    assert marked and all("accuracy" in line for line in marked)
    last = done.err.splitlines()[-1]
    assert "checks failed: accuracy, accuracy: accuracy 9" in last
    assert "points worse; allowed are 50" in last
    assert tree(tmp_path).keys() == {"sentences.csv"}


def test_an_export_reports_its_accuracy(
    onward: Onward, classifier_checkpoint: Path, sentences: Path, tmp_path: Path
) -> None:
    """In the table at the end, in the manifest, and in both reports."""
    options = ["--eval-data", sentences, "--eval-columns", COLUMNS, "--name", "m"]
    done = onward("export", classifier_checkpoint, "--output", tmp_path, *options)
    assert done.code == 0
    assert "40 examples" in done.err
    assert str(tmp_path / "m" / "1" / "report.html") in done.err
    measured = open_bundle(tmp_path / "m").manifest.validation["accuracy"]
    assert measured["accuracy"]["source"] == measured["accuracy"]["bundle"] >= 90
    report = json.loads((tmp_path / "m" / "1" / "report.json").read_text(encoding="utf-8"))
    assert [row["metric"] for row in report["accuracy"]] == ["accuracy", "macro F1"]
    assert "Accuracy on evaluation data" in (tmp_path / "m" / "1" / "report.html").read_text(encoding="utf-8")


# ---- bad input


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (None, [], ["no evaluation data at"]),
        ("", [], ["has no rows"]),
        ("what,how\na,b\n", [], ["looks like the text for text-classification", "it has what, how"]),
        ("what,how\na,b\n", ["--eval-columns", "text=sentence"], ["no column 'sentence'", "it has what, how"]),
        ("what,how\na,GREAT\n", ["--eval-columns", COLUMNS], ["row 1", "no label 'GREAT'", "NEGATIVE, POSITIVE"]),
        ("what,how\na,b\n", ["--no-validate"], ["leave --no-validate out"]),
    ],
)
def test_bad_data_is_refused_before_the_model_is_loaded(
    onward: Onward,
    classifier_checkpoint: Path,
    tmp_path: Path,
    content: str | None,
    options: list[str],
    words: list[str],
) -> None:
    path = tmp_path / "data.csv"
    if content is not None:
        path.write_text(content)
    done = onward("export", classifier_checkpoint, "--output", tmp_path / "out", "--eval-data", path, *options)
    assert_refused(done, *words)
    assert "load" not in done.err
    assert not (tmp_path / "out").exists()


def test_options_without_data(onward: Onward, classifier_checkpoint: Path, classifier_bundle: Path) -> None:
    assert_refused(onward("export", classifier_checkpoint, "--max-drop", 1), "--max-drop means nothing without")
    assert_refused(onward("validate", classifier_bundle, "--eval-limit", 5), "--eval-limit means nothing without")
    assert onward("export", classifier_checkpoint, "--max-drop", -1).code == 2
