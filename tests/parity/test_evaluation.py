"""Every task's metric on both sides: in fp32 the bundle scores what its source scores, and trained ones score well."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.evaluation.run import EVALUATORS, evaluate_bundle, evaluate_source, prepare
from exporter.evaluation.settings import EvaluationSettings
from exporter.loading import load_checkpoint, load_config
from exporter.precision import PRECISIONS
from exporter.source import resolve_source
from exporter.tasks import TASKS, resolve_task
from exporter.validation.checks import Check
from runtime import pipeline
from tests.checkpoints import QA_HELDOUT, TINY_DETR, TINY_RESNET, TRANSLATION_HELDOUT
from tests.checkpoints.train import captioning
from tests.checkpoints.train.shape_classifier import HELDOUT_SEED
from tests.checkpoints.train.shape_detector import heldout
from tests.checkpoints.train.shapes import LABELS, portrait
from tests.text_bundles import TextBundles

TEXTS = ("The old bridge is longer than the new one.", "Nobody asked about the price.", "ok", "Prices rose in May.")


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def evaluate(
    task: str, checkpoint: Path, bundle: Path, data: Path, limit: int | None = None, columns: str | None = None
) -> dict[str, Check]:
    source = resolve_source(str(checkpoint))
    config = load_config(source)
    evaluation = prepare(EvaluationSettings(data, columns, limit), task, config)
    assert evaluation is not None
    asked = evaluate_source(evaluation, load_checkpoint(source, resolve_task(task, config, source)))
    pipe = pipeline(task, bundle)
    try:
        return {check.name: check for check in evaluate_bundle(asked, pipe, PRECISIONS["fp32"])}
    finally:
        pipe.close()


def assert_equal(checks: dict[str, Check]) -> None:
    for check in checks.values():
        assert check.passed, check
        assert check.figures["bundle"] == pytest.approx(check.figures["source"], rel=1e-5)


def test_every_task_has_a_metric() -> None:
    assert set(EVALUATORS) == set(TASKS)


def test_several_labels(tmp_path: Path) -> None:
    """The labels that the source gives, but for the last text, which is given one that the source denies."""
    from exporter import export
    from tests.checkpoints.builders import tiny_classifier

    checkpoint = tiny_classifier("bert", tmp_path / "model", 4, problem_type="multi_label_classification")
    bundle = export(checkpoint, output=tmp_path, name="labels", validate=False)
    pipe = pipeline("text-classification", bundle)
    given = [[one["label"] for one in answer if one["score"] > 0.5] for answer in pipe(list(TEXTS), top_k=None)]
    pipe.close()
    denied = next(name for name in (f"LABEL_{number}" for number in range(4)) if name not in given[-1])
    rows = [{"text": text, "labels": labels} for text, labels in zip(TEXTS, [*given[:-1], [denied]], strict=True)]
    checks = evaluate("text-classification", checkpoint, bundle, lines(tmp_path / "data.jsonl", rows))
    assert_equal(checks)
    assert checks["subset accuracy"].figures["source"] == 75
    assert 0 < checks["macro F1"].figures["source"] <= checks["micro F1"].figures["source"] < 100


def test_answers(text_bundles: TextBundles) -> None:
    checks = evaluate("question-answering", text_bundles.checkpoint("qa"), text_bundles("qa"), QA_HELDOUT, 40)
    assert_equal(checks)
    assert checks["exact match"].figures["source"] > 60
    assert checks["F1"].figures["source"] >= checks["exact match"].figures["source"]


def test_answers_in_windows(text_bundles: TextBundles, tmp_path: Path) -> None:
    """The context is longer than the model's."""
    rows = [json.loads(line) for line in QA_HELDOUT.read_text(encoding="utf-8").splitlines()[:12]]
    together = " ".join(row["context"] for row in rows)
    long = [{"question": row["question"], "context": together, "answer": row["answer"]} for row in rows]
    data = lines(tmp_path / "long.jsonl", long)
    assert_equal(evaluate("question-answering", text_bundles.checkpoint("qa"), text_bundles("qa"), data))


def test_masked_tokens(text_bundles: TextBundles, tmp_path: Path) -> None:
    data = lines(tmp_path / "data.jsonl", [{"text": text} for text in TEXTS])
    checks = evaluate("fill-mask", text_bundles.checkpoint("fill-mask"), text_bundles("fill-mask"), data)
    assert_equal(checks)
    assert set(checks) == {"masked-token accuracy"}


def test_zero_shot(text_bundles: TextBundles, tmp_path: Path) -> None:
    labels = ("bridges", "prices", "bridges", "prices")
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)]
    data = lines(tmp_path / "data.jsonl", rows)
    assert_equal(evaluate("zero-shot-classification", text_bundles.checkpoint("nli"), text_bundles("nli"), data))


@pytest.mark.parametrize(("name", "task"), [("features", "feature-extraction"), ("sentences", "sentence-similarity")])
def test_embeddings(text_bundles: TextBundles, tmp_path: Path, name: str, task: str) -> None:
    """The cosine to the source's own vectors, and with scored pairs a correlation."""
    plain = lines(tmp_path / "plain.jsonl", [{"text": text} for text in TEXTS])
    checks = evaluate(task, text_bundles.checkpoint(name), text_bundles(name), plain)
    assert set(checks) == {"cosine to the source"}
    assert checks["cosine to the source"].figures["bundle"] == pytest.approx(100, abs=1e-4)
    rows = [{"sentence1": a, "sentence2": b, "score": n} for n, (a, b) in enumerate(pairwise(TEXTS))]
    checks = evaluate(task, text_bundles.checkpoint(name), text_bundles(name), lines(tmp_path / "pairs.jsonl", rows))
    assert set(checks) == {"cosine to the source", "Spearman"}
    assert_equal(checks)


def test_translations(text_bundles: TextBundles) -> None:
    checkpoint, bundle = text_bundles.checkpoint("translator"), text_bundles("translator")
    columns = "source=english,target=french"
    checks = evaluate("translation", checkpoint, bundle, TRANSLATION_HELDOUT, 16, columns)
    assert_equal(checks)
    assert checks["BLEU"].figures["source"] > 30


def test_captions(text_bundles: TextBundles, tmp_path: Path) -> None:
    rows = []
    for index, captioned in enumerate(captioning.heldout(6)):
        captioned.image.save(tmp_path / f"{index}.png")
        rows.append({"image": f"{index}.png", "caption": captioned.caption})
    checkpoint, bundle = text_bundles.checkpoint("captioner"), text_bundles("captioner")
    checks = evaluate("image-to-text", checkpoint, bundle, lines(tmp_path / "data.jsonl", rows))
    assert_equal(checks)
    assert checks["ROUGE-L"].figures["source"] > 50


def test_images(shapes_repository: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(HELDOUT_SEED)
    rows = []
    for index in range(20):
        image, label = portrait(random, (48, 48))
        image.save(tmp_path / f"{index}.png")
        rows.append({"file_name": f"{index}.png", "label": LABELS[label]})
    data = lines(tmp_path / "data.jsonl", rows)
    checks = evaluate("image-classification", TINY_RESNET, shapes_repository / "classifier", data)
    assert_equal(checks)
    assert checks["top-1 accuracy"].figures["source"] >= 85


def test_boxes(shapes_repository: Path, tmp_path: Path) -> None:
    rows = []
    for index, (image, shapes) in enumerate(heldout(8)):
        image.save(tmp_path / f"{index}.png")
        boxes, labels = [list(map(float, shape.box)) for shape in shapes], [LABELS[shape.label] for shape in shapes]
        rows.append({"image": f"{index}.png", "boxes": boxes, "labels": labels})
    data = lines(tmp_path / "data.jsonl", rows)
    checks = evaluate("object-detection", TINY_DETR, shapes_repository / "detector", data)
    # Boxes are cut to whole pixels: rounding may move one.
    figures = checks["mAP 50–95"].figures
    assert figures["bundle"] == pytest.approx(figures["source"], abs=0.5)
    assert figures["source"] > 20
