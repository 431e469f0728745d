"""Metrics against what the field's own libraries say, some asked here, some recorded (`goldens/record_metrics.py`),
and against values that follow from the definitions."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from exporter.evaluation import multi_label
from exporter.evaluation.base import Example
from exporter.evaluation.language_model import losses, window_length
from exporter.evaluation.metrics.bleu import bleu
from exporter.evaluation.metrics.classification import accuracy, label_f1s, macro_f1, micro_f1, pearson, ranks, spearman
from exporter.evaluation.metrics.detection import Boxes, mean_average_precision
from exporter.evaluation.metrics.entities import entity_f1, spans
from exporter.evaluation.metrics.rouge import rouge_l
from exporter.evaluation.metrics.squad import exact_match, f1, normalise
from exporter.evaluation.run import accuracy_check, default_drop
from exporter.precision import PRECISIONS
from exporter.validation.checks import log_softmax

RECORDED: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "goldens" / "metrics.json").read_text()
)
SENTENCES = (
    "the cat sat on the mat",
    "The cat sat on a mat, quietly.",
    "Prices rose by 3.5% in May; economists had expected 2%.",
    "prices rose 3.5 % in May",
    "¡Hola! ¿Qué tal? Überraschung",
    "",
    "mat the on sat cat the",
)


# ---- classes


@pytest.mark.parametrize("case", RECORDED["labels"])
def test_accuracy_and_macro_f1_as_scikit_learn(case: dict[str, Any]) -> None:
    assert accuracy(case["found"], case["gold"]) == pytest.approx(case["accuracy"])
    assert macro_f1(case["found"], case["gold"]) == pytest.approx(case["macro"])


def test_f1_of_several_labels() -> None:
    """Labels: a right twice; b found once, wrongly; c missed once; d on neither side."""
    found, gold = [{"a"}, {"a", "b"}, set()], [{"a"}, {"a"}, {"c"}]
    assert micro_f1(found, gold) == pytest.approx(100 * 2 * 2 / (2 * 2 + 1 + 1))
    assert label_f1s(found, gold, "abcd") == [100, 0, 0, 0]
    assert micro_f1([set()], [set()]) == 0
    answers = [{"a": 0.9, "b": 0.2, "c": 0.5}, {"a": 0.6, "b": 0.51, "c": 0.1}, {"a": 0.0, "b": 0.0, "c": 0.4}]
    scores = multi_label.score(answers, [Example("", frozenset(one)) for one in gold])
    assert scores == pytest.approx({"micro F1": 200 / 3, "macro F1": 100 / 3, "subset accuracy": 100 / 3})


def test_correlations() -> None:
    assert pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(100)
    assert pearson([1, 2, 3], [3, 2, 1]) == pytest.approx(-100)
    assert pearson([1, 1, 1], [3, 2, 1]) == 0
    assert spearman([1, 2, 3], [1, 10, 1000]) == pytest.approx(100)
    assert ranks([5, 1, 5, 3]) == [3.5, 1, 3.5, 2]
    random = np.random.default_rng(0)
    a, b = random.normal(size=50), random.normal(size=50)
    assert pearson(a.tolist(), b.tolist()) == pytest.approx(100 * np.corrcoef(a, b)[0, 1])


# ---- entities


@pytest.mark.parametrize("case", RECORDED["entities"])
def test_entity_f1_as_seqeval(case: dict[str, Any]) -> None:
    assert entity_f1(case["found"], case["gold"]) == pytest.approx(case["value"])


def test_entities_are_strict() -> None:
    """One end is wrong, or the type: neither is right."""
    gold = [["B-PER", "I-PER", "O", "B-LOC"]]
    assert entity_f1(gold, gold) == 100
    assert entity_f1([["B-PER", "O", "O", "B-LOC"]], gold) == 50
    assert entity_f1([["B-LOC", "I-LOC", "O", "B-LOC"]], gold) == 50
    assert entity_f1([["O"] * 4], gold) == 0
    assert entity_f1([["O"]], [["O"]]) == 100
    assert spans(["I-PER", "B-PER", "I-PER"]) == {("PER", 0, 0), ("PER", 1, 2)}


# ---- answers


def test_squad_normalisation() -> None:
    assert normalise("The  Eiffel-Tower, in a\nPark!") == "eiffeltower in park"
    assert normalise("theatre") == "theatre"  # articles are whole words


@pytest.mark.parametrize(
    ("found", "golds", "em", "score"),
    [
        ("the cat", ["Cat."], 100, 100),
        ("a black cat", ["cat", "black dog"], 0, 200 / 3),
        ("cat", ["dog"], 0, 0),
        ("", [], 100, 100),
        ("cat", [], 0, 0),
        ("", ["cat"], 0, 0),
        ("cat cat", ["cat"], 0, 200 / 3),
    ],
)
def test_squad(found: str, golds: list[str], em: float, score: float) -> None:
    assert exact_match([found], [golds]) == em
    assert f1([found], [golds]) == pytest.approx(score)


# ---- texts


def test_rouge_l_as_rouge_score() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    random = Random(1)
    words = ["a", "b", "c", "d", "e", "f"]
    made = [" ".join(random.choice(words) for _ in range(random.randint(0, 15))) for _ in range(40)]
    for found, gold in [(a, b) for a in SENTENCES for b in SENTENCES] + list(zip(made[::2], made[1::2], strict=True)):
        assert rouge_l([found], [gold]) == pytest.approx(100 * scorer.score(gold, found)["rougeL"].fmeasure)


def test_bleu_as_sacrebleu() -> None:
    import sacrebleu

    found, gold = list(SENTENCES[:4]), [SENTENCES[1], SENTENCES[1], SENTENCES[2], SENTENCES[2]]
    expected = sacrebleu.corpus_bleu(found, [gold]).score
    assert 0 < expected < 100
    assert bleu(found, [[text] for text in gold]) == pytest.approx(expected)
    assert bleu(gold, [[text] for text in gold]) == pytest.approx(100)


def test_bleu_with_some_second_references() -> None:
    """One that is right raises the score; a text that lacks one is no error."""
    found = ["the cat sat on the mat", "prices rose in May this year"]
    one = bleu(found, [["a dog lay on a rug"], ["prices rose in May this year"]])
    two = bleu(found, [["a dog lay on a rug", "the cat sat on the mat"], ["prices rose in May this year"]])
    assert one < two == pytest.approx(100)


# ---- boxes


def boxes(records: list[list[Any]]) -> Boxes:
    corners = np.array([record[1] for record in records], float).reshape(-1, 4)
    return Boxes(corners, [record[0] for record in records], [record[2] for record in records if len(record) > 2])


@pytest.mark.parametrize("case", RECORDED["detection"])
def test_map_as_pycocotools(case: dict[str, Any]) -> None:
    found = [boxes(image["found"]) for image in case["images"]]
    gold = [boxes(image["gold"]) for image in case["images"]]
    assert 10 < case["value"] < 90
    assert mean_average_precision(found, gold) == pytest.approx(case["value"], abs=1e-6)


def test_map_of_perfect_and_empty_answers() -> None:
    gold = [boxes([["cat", [0, 0, 10, 10]], ["dog", [20, 20, 30, 40]]])]
    perfect = [boxes([["cat", [0, 0, 10, 10], 0.9], ["dog", [20, 20, 30, 40], 0.8]])]
    assert mean_average_precision(perfect, gold) == pytest.approx(100)
    assert mean_average_precision([boxes([])], gold) == 0
    assert mean_average_precision([boxes([])], [boxes([])]) == 0


# ---- perplexity


def test_losses_in_windows() -> None:
    """Every token is predicted once but the first of a window, whatever the blocks."""
    random = np.random.default_rng(0)
    ids, table = random.integers(0, 7, 200), random.normal(size=(7, 7))

    def logits(window: np.ndarray) -> np.ndarray:
        return table[window]

    total, count = losses(ids, 90, logits)
    expected = [
        -log_softmax(table[a][None])[0, b]
        for start in (0, 90, 180)
        for a, b in zip(ids[start : start + 90][:-1], ids[start : start + 90][1:], strict=True)
    ]
    assert count == len(expected) == 197
    assert total == pytest.approx(sum(expected))
    assert losses(ids[:1], 90, logits) == (0.0, 0)
    assert losses(ids[:91], 90, logits)[1] == 89  # a last window of one token has nothing to predict


@pytest.mark.parametrize(("context", "vocabulary", "length"), [(256, 2048, 256), (8192, 50257, 667), (64, 10**7, 64)])
def test_windows_fit_into_memory(context: int, vocabulary: int, length: int) -> None:
    assert window_length(context, vocabulary) == length


# ---- budgets


@pytest.mark.parametrize(
    ("source", "bundle", "relative", "passed", "drop"),
    [
        (90.0, 89.5, False, True, 0.5),
        (90.0, 88.9, False, False, 1.1),
        (90.0, 95.0, False, True, -5.0),
        (20.0, 20.1, True, True, 0.5),
        (20.0, 20.5, True, False, 2.5),
        (20.0, float("nan"), True, False, float("nan")),
    ],
)
def test_drop(source: float, bundle: float, relative: bool, passed: bool, drop: float) -> None:
    check = accuracy_check("metric", source, bundle, 1.0, 10, relative)
    assert check.passed is passed
    assert check.figures["drop"] == pytest.approx(drop, nan_ok=True)
    assert bool(check.detail) is not passed


@pytest.mark.parametrize(
    ("precision", "drop"), [("fp32", 0.1), ("fp16", 0.5), ("bf16", 0.5), ("int8", 1.0), ("int4", 5.0)]
)
def test_default_drop(precision: str, drop: float) -> None:
    assert default_drop(PRECISIONS[precision]) == drop
