"""object-detection against `transformers.pipeline`: architectures, every form of input, thresholds, batches."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoImageProcessor
from transformers import pipeline as hf_pipeline

from exporter import export
from exporter.detection import resolve_detection
from runtime import pipeline
from runtime.errors import ExportError, InputError
from runtime.pipelines.boxes import detections
from tests.checkpoints.vision import tiny_detector
from tests.checkpoints.vision_rows import DETECTOR_ROWS
from tests.pictures import as_bytes, as_file, picture, turned

TASK = "object-detection"
TOLERANCE = 1e-4
PATHS = {"detr": "emission", "conditional_detr": "plain", "yolos": "emission", "rt_detr": "emission"}
SCORING = {
    "detr": {"scoring": "softmax"},
    "conditional_detr": {"scoring": "sigmoid", "top_k": 60},  # all pairs of 12 queries and 5 classes, 100 at most
    "yolos": {"scoring": "softmax"},
    "rt_detr": {"scoring": "sigmoid", "top_k": 20},  # as many as there are queries
}
PICTURES = [picture(seed, *size) for seed, size in enumerate([(90, 70), (70, 90), (300, 64), (33, 33), (180, 140)])]


class Sides:
    """Both pipelines of one checkpoint."""

    def __init__(self, bundle: Path, checkpoint: Path) -> None:
        self.bundle, self.checkpoint = bundle, checkpoint
        processor = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
        self.ours = pipeline(TASK, bundle)
        self.theirs = hf_pipeline(TASK, str(checkpoint), image_processor=processor, device=-1)

    def compare(self, inputs: Any, **kwargs: Any) -> Any:
        found, expected = self.ours(inputs, **kwargs), self.theirs(inputs, **kwargs)
        same(found, expected)
        return found


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
        return
    assert list(found) == list(expected) == ["score", "label", "box"]
    assert found["label"] == expected["label"]
    assert abs(found["score"] - expected["score"]) < TOLERANCE
    assert list(found["box"]) == list(expected["box"]) == ["xmin", "ymin", "xmax", "ymax"]
    assert type(found["score"]) is float
    for side, value in expected["box"].items():
        assert type(found["box"][side]) is int
        assert abs(found["box"][side] - value) <= 1  # decimals are cut off: 41.99999 and 42.00001


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("detectors")


def exported(folder: Path, model_type: str) -> Sides:
    checkpoint = tiny_detector(model_type, folder / "checkpoints" / model_type)
    export(checkpoint, output=folder / "repository", name=model_type)
    return Sides(folder / "repository" / model_type, checkpoint)


@pytest.fixture(scope="module")
def yolos(folder: Path) -> Sides:
    return exported(folder, "yolos")


@pytest.mark.parametrize("model_type", DETECTOR_ROWS)
def test_architectures(model_type: str, folder: Path, request: pytest.FixtureRequest) -> None:
    sides = request.getfixturevalue("yolos") if model_type == "yolos" else exported(folder, model_type)
    assert sides.ours.manifest.path == PATHS[model_type], sides.ours.manifest.path_reason
    assert sides.ours.manifest.postprocess == SCORING[model_type]
    for threshold in (0.0, 0.2, 0.5, 0.9):
        sides.compare(PICTURES, threshold=threshold)
    alone = [sides.ours(image, threshold=0.1) for image in PICTURES]
    assert any(alone)
    # HF cannot put images of different sizes into one batch; the answers must be those of single images.
    same(sides.ours([*PICTURES, *PICTURES], threshold=0.1, batch_size=4), [*alone, *alone])


def test_equal_sizes_in_a_batch_as_in_hf(yolos: Sides) -> None:
    images = [picture(seed) for seed in range(4)]
    found, expected = yolos.ours(images, batch_size=2, threshold=0.1), yolos.theirs(images, batch_size=2, threshold=0.1)
    same(found, expected)


def test_hf_refuses_different_sizes_in_a_batch(yolos: Sides) -> None:
    with pytest.raises(RuntimeError):
        yolos.theirs(PICTURES, batch_size=2)


def test_every_form_of_input(yolos: Sides, tmp_path: Path) -> None:
    path = str(as_file(PICTURES[0], tmp_path / "picture.png"))
    encoded = base64.b64encode(as_bytes(PICTURES[0])).decode()
    answers = [yolos.compare(form, threshold=0.1) for form in (PICTURES[0], path, encoded)]
    assert answers[0]
    assert all(answer == answers[0] for answer in answers)
    assert yolos.compare([path], threshold=0.1) == [answers[0]]
    same(yolos.ours(images=path, threshold=0.1), yolos.theirs(images=path, threshold=0.1))
    stream = (name for name in (path, path))
    assert list(yolos.ours(stream, threshold=0.1)) == [answers[0], answers[0]]


def test_boxes_are_those_of_the_upright_image(yolos: Sides, tmp_path: Path) -> None:
    path = tmp_path / "camera.jpg"
    path.write_bytes(turned(PICTURES[0], 6))
    yolos.compare(str(path), threshold=0.1)


def test_steps_can_be_called_one_by_one(yolos: Sides) -> None:
    inputs = yolos.ours.preprocess(PICTURES[0])
    expected = yolos.theirs.preprocess(PICTURES[0])
    for name in ("pixel_values", "pixel_mask", "target_size"):
        np.testing.assert_array_equal(inputs[name], expected[name].numpy())
    same(yolos.ours.postprocess(yolos.ours.forward(inputs), threshold=0.1), yolos.theirs(PICTURES[0], threshold=0.1))


@pytest.mark.parametrize(
    ("inputs", "kwargs", "message"),
    [
        (None, {}, "needs an image"),
        ("no/such/file.png", {}, "no such image"),
        (np.zeros((4, 4, 3), np.uint8), {}, "not ndarray"),  # as in HF, which takes arrays for classification only
        (picture(1, 900, 4), {}, "too narrow"),
        (PICTURES[0], {"threshold": "high"}, "threshold must be a number"),
        (PICTURES[0], {"treshold": 0.5}, "did you mean 'threshold'"),
        ([PICTURES[0], "nowhere.png"], {"batch_size": 2}, "item 1: no such image"),
    ],
)
def test_bad_input(yolos: Sides, inputs: Any, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        yolos.ours(inputs, **kwargs)


@pytest.mark.parametrize("name", ["Detr", "Yolos", "ConditionalDetr", "DeformableDetr", "RTDetr"])
@pytest.mark.parametrize(("queries", "classes"), [(100, 92), (300, 80), (7, 3)])
def test_postprocessing(name: str, queries: int, classes: int) -> None:
    """Resolved by asking the processor, then equal on outputs that were not asked for."""
    processor = getattr(transformers, f"{name}ImageProcessorPil")()
    rule = resolve_detection(processor, queries, classes)
    random = np.random.default_rng(queries)
    for _ in range(10):
        logits = random.permutation(np.linspace(-7, 2, queries * classes, dtype=np.float32)).reshape(queries, classes)
        boxes = random.uniform(-0.1, 1.1, (queries, 4)).astype(np.float32)
        size = tuple(int(side) for side in random.integers(1, 3000, 2))
        threshold = float(random.uniform(0.1, 0.9))
        outputs = SimpleNamespace(logits=torch.tensor(logits)[None], pred_boxes=torch.tensor(boxes)[None])
        expected = processor.post_process_object_detection(outputs, threshold, torch.tensor([size]))[0]
        found = detections(logits, boxes, size, **rule)
        kept = found.scores > threshold
        np.testing.assert_array_equal(found.labels[kept], expected["labels"].numpy())
        np.testing.assert_allclose(found.scores[kept], expected["scores"].numpy(), atol=2e-6)
        np.testing.assert_allclose(found.boxes[kept], expected["boxes"].numpy(), rtol=1e-6, atol=1e-3)


def test_processors_that_detect_nothing_are_refused() -> None:
    with pytest.raises(ExportError, match="detects no objects"):
        resolve_detection(transformers.ViTImageProcessorPil(), 10, 3)


def test_unknown_postprocessing_is_refused() -> None:
    class Own(transformers.DetrImageProcessorPil):
        def post_process_object_detection(self, *args: Any, **kwargs: Any) -> Any:
            results = super().post_process_object_detection(*args, **kwargs)
            return [{**result, "boxes": result["boxes"] / 2} for result in results]

    with pytest.raises(ExportError, match="the runtime does not know"):
        resolve_detection(Own(), 10, 3)
