"""What each precision costs in accuracy on the trained checkpoints, within the budgets of `budgets.json`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exporter.quantization import recipes
from exporter.quantization.blocks import Blocks, fill_up
from exporter.quantization.request import Settings
from runtime import pipeline
from tests.accuracy import lab, metrics
from tests.accuracy.lab import Lab, Row, show
from tests.accuracy.metrics import Metric
from tests.accuracy.test_accuracy import BUDGETS
from tests.checkpoints import (
    SENTIMENT_HELDOUT,
    TINY_BERT,
    TINY_CAPTIONER,
    TINY_DETR,
    TINY_GPT2,
    TINY_MARIAN,
    TINY_MIXTRAL,
    TINY_MLM,
    TINY_NER,
    TINY_QA,
    TINY_RESNET,
    TINY_VIT,
)
from tests.checkpoints.train.shapes import portrait

Labs = Callable[[Path], Lab]
ALL = ("int8", "int4", "fp16")  # in this order float32 is traced once
# Task -> its checkpoint, its metric, and the precisions that it is exported in beside fp32. The ResNet has no matrix
# large enough for int4, and convolutions for int8, which want calibration data: below.
TASKS: dict[str, tuple[Path, Metric, tuple[str, ...]]] = {
    "language model": (TINY_GPT2, metrics.perplexity(TINY_GPT2), ALL),
    "mixture of experts": (TINY_MIXTRAL, metrics.perplexity(TINY_MIXTRAL), ALL),
    "sentiment": (TINY_BERT, Metric(metrics.sentiment), ALL),
    "named entities": (TINY_NER, Metric(metrics.names), ALL),
    "question answering": (TINY_QA, Metric(metrics.spans), ALL),
    "masked words": (TINY_MLM, Metric(metrics.masked_words), ALL),
    "translation": (TINY_MARIAN, Metric(metrics.translations), ALL),
    "captions": (TINY_CAPTIONER, Metric(metrics.captions), ALL),
    "shapes": (TINY_RESNET, Metric(metrics.shapes), ("fp16",)),
    "shapes, ViT": (TINY_VIT, Metric(metrics.shapes), ALL),
    "object detection": (TINY_DETR, Metric(metrics.detection_f1), ALL),
}


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Labs:
    """One lab for each checkpoint."""
    made: dict[Path, Lab] = {}
    return lambda checkpoint: made.setdefault(checkpoint, Lab(checkpoint, tmp_path_factory.mktemp(checkpoint.name)))


def assert_within_budgets(rows: list[Row]) -> None:
    """All of them, or the table."""
    assert all(row.passed for row in rows), f"accuracy lost\n{show(rows)}"


@pytest.mark.parametrize("task", list(TASKS))
def test_precisions(task: str, labs: Labs) -> None:
    checkpoint, metric, precisions = TASKS[task]
    bundles = {precision: labs(checkpoint)(precision) for precision in ("fp32", *precisions)}
    assert_within_budgets(lab.compare(task, metric, bundles, BUDGETS[f"{task}, loss to fp32"]))


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images to calibrate with."""
    directory = tmp_path_factory.mktemp("drawings")
    random = np.random.default_rng(77)
    for number in range(24):
        portrait(random, (48, 48))[0].save(directory / f"{number:02}.png")
    return directory


def test_int8_convolutions(labs: Labs, drawings: Path) -> None:
    """Calibrated: all convolutions are integer ones, and hardly an answer changes."""
    shapes = labs(TINY_RESNET)
    bundles = {"fp32": shapes("fp32"), "int8": shapes("int8", calibration_data=drawings)}
    assert_within_budgets(lab.compare("shapes", Metric(metrics.shapes), bundles, BUDGETS["shapes, loss to fp32"]))


def test_int8_products_with_fixed_scales(labs: Labs, tmp_path: Path) -> None:
    """Calibrated: hardly an answer changes, and none with the texts that share its batch, as it does without."""
    halves = [SENTIMENT_HELDOUT.with_name(f"sentiment_{side}.txt") for side in ("positive", "negative")]
    texts = [line for half in halves for line in half.read_text(encoding="utf-8").splitlines()[:32]]
    data = tmp_path / "texts.txt"
    data.write_text("\n".join(texts))
    model = labs(TINY_BERT)
    bundles = {"fp32": model("fp32"), "int8": model("int8", calibration_data=data)}
    assert_within_budgets(
        lab.compare("sentiment", Metric(metrics.sentiment), bundles, BUDGETS["sentiment, loss to fp32"])
    )
    assert moved(bundles["int8"], texts) == 0 < moved(model("int8"), texts)


def moved(bundle: Path, texts: list[str]) -> float:
    """How much the score of the longest text changes beside others."""
    pipe = pipeline("text-classification", bundle, verify=False)
    longest = max(texts, key=lambda text: len(pipe.tokenizer(text)["input_ids"]))
    alone, beside = pipe([longest])[0], pipe([longest, *texts[:7]], batch_size=8)[0]
    return abs(float(alone["score"] - beside["score"]))


CALIBRATION = """The function returns a list of the values that were read, in the order in which they were found.
If the argument is None, the default encoding is used and an error is raised when the file cannot be opened.
Changed in version 3.6: the parameter is keyword-only, and a deprecation warning is issued for positional use.
Return True if the object is an instance of the class, or of a subclass of it, and False otherwise.
An iterator over the keys of the dictionary; modifying it during the iteration raises a RuntimeError.
See also: the module documentation of the standard library, which describes how objects are copied and compared.
"""


def test_gptq_loses_less_than_rounding(labs: Labs, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text(CALIBRATION)
    metric, model = TASKS["language model"][1], labs(TINY_GPT2)
    found = {
        method: metric.of(model("int4", quantization=Settings(128, True, method, 8), calibration_data=data))
        for method, data in (("rtn", None), ("gptq", texts), ("hqq", None))
    }
    assert found["gptq"] < found["rtn"]
    assert found["hqq"] < found["rtn"]


def per_tensor(weight: np.ndarray, bits: int, size: int, symmetric: bool = True) -> Blocks:
    """A bad quantisation: one scale for the whole weight, that of its largest number."""
    blocks = fill_up(weight, size)
    scale = np.abs(blocks).max() / (2 ** (bits - 1) - 1)
    codes = np.clip(np.round(blocks / scale) + 2 ** (bits - 1), 0, 2**bits - 1).astype(np.uint8)
    zeros = None if symmetric else np.full(blocks.shape[:2], 2 ** (bits - 1), np.uint8)
    return Blocks(codes, np.full(blocks.shape[:2], scale, np.float32), zeros, bits, weight.shape[1])


def test_bad_quantisation_is_caught(labs: Labs, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 bit with one scale per tensor goes over the budget, and the table says so."""
    monkeypatch.setattr(recipes, "quantize_rtn", per_tensor)
    checkpoint, metric, _ = TASKS["language model"]
    bundles = {"fp32": labs(checkpoint)("fp32"), "int4": labs(checkpoint).fresh("int4")}
    rows = lab.compare("language model", metric, bundles, BUDGETS["language model, loss to fp32"])
    assert rows[0].loss > 0.03
    with pytest.raises(AssertionError, match=r"int4 .*<-- over its budget"):
        assert_within_budgets(rows)
