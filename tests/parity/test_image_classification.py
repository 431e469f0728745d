"""image-classification against `transformers.pipeline`: architectures, every form of input, every option."""

from __future__ import annotations

import base64
import inspect
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoImageProcessor, LevitImageProcessorPil
from transformers import pipeline as hf_pipeline
from transformers.pipelines.image_classification import ClassificationFunction
from transformers.pipelines.pt_utils import KeyDataset

from exporter import export
from runtime import pipeline
from runtime.errors import ExportError, InputError, ValidationError
from tests.checkpoints.vision import tiny_image_classifier
from tests.checkpoints.vision_rows import CLASSIFIER_ROWS
from tests.pictures import as_bytes, as_file, picture

TASK = "image-classification"
TOLERANCE = 1e-4
# What the table of an export's end says, by architecture: emission where there is attention.
PATHS = {"vit": "emission", "deit": "emission", "swin": "emission", "convnext": "plain", "resnet": "plain"}
PICTURES = [picture(seed, *size) for seed, size in enumerate([(90, 70), (70, 90), (64, 64), (200, 50), (31, 33)])]


class Sides:
    """Both pipelines of one checkpoint."""

    def __init__(self, bundle: Path, checkpoint: Path) -> None:
        self.bundle, self.checkpoint = bundle, checkpoint
        self.ours, self.theirs = self.make()

    def make(self, **kwargs: Any) -> tuple[Any, Any]:
        processor = AutoImageProcessor.from_pretrained(self.checkpoint, backend="pil")
        theirs = hf_pipeline(TASK, str(self.checkpoint), image_processor=processor, device=-1, **kwargs)
        return pipeline(TASK, self.bundle, **kwargs), theirs

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
    else:
        assert list(found) == list(expected) == ["label", "score"]
        assert found["label"] == expected["label"]
        assert type(found["score"]) is float
        assert abs(found["score"] - expected["score"]) < TOLERANCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("image-classifiers")


def exported(folder: Path, model_type: str, name: str = "", **overrides: Any) -> Sides:
    name = name or model_type
    checkpoint = tiny_image_classifier(model_type, folder / "checkpoints" / name, **overrides)
    export(checkpoint, output=folder / "repository", name=name)
    return Sides(folder / "repository" / name, checkpoint)


@pytest.fixture(scope="module")
def vit(folder: Path) -> Sides:
    return exported(folder, "vit")


@pytest.mark.parametrize("model_type", CLASSIFIER_ROWS)
def test_architectures(model_type: str, folder: Path, request: pytest.FixtureRequest) -> None:
    sides = request.getfixturevalue("vit") if model_type == "vit" else exported(folder, model_type)
    assert sides.ours.manifest.path == PATHS[model_type], sides.ours.manifest.path_reason
    sides.compare(PICTURES)
    alone = [sides.ours(image) for image in PICTURES]
    same(sides.ours(PICTURES, batch_size=3), alone)
    if model_type == "resnet":  # no crop: sizes are free
        assert sides.ours.graph.inputs[0].shape == ["batch", 3, "height", "width"]


def test_answers_are_not_all_alike(vit: Sides) -> None:
    answers = vit.compare(PICTURES, top_k=1)
    assert len({answer[0]["label"] for answer in answers}) > 1


def test_every_form_of_input(vit: Sides, tmp_path: Path) -> None:
    path = str(as_file(PICTURES[0], tmp_path / "picture.png"))
    encoded = base64.b64encode(as_bytes(PICTURES[0])).decode()
    forms = [PICTURES[0], path, encoded, f"data:image/png;base64,{encoded}", np.asarray(PICTURES[0])]
    answers = [vit.compare(form) for form in forms]
    assert all(answer == answers[0] for answer in answers)
    assert vit.compare([path]) == [answers[0]]
    assert vit.compare([path, PICTURES[1]])[0] == answers[0]


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK", "LA"])
def test_modes(vit: Sides, mode: str) -> None:
    vit.compare(PICTURES[0].convert("L").convert(mode) if mode == "LA" else PICTURES[0].convert(mode))


def test_images_is_another_name_of_inputs(vit: Sides) -> None:
    # HF wants something for `inputs` all the same, which it then ignores.
    same(vit.ours(images=PICTURES[0]), vit.theirs(None, images=PICTURES[0]))
    same(vit.ours(None, images=PICTURES[:2]), vit.theirs(None, images=PICTURES[:2]))


@pytest.mark.parametrize("batch_size", [1, 2])
def test_generators_and_datasets(vit: Sides, batch_size: int) -> None:
    found = vit.ours((image for image in PICTURES), batch_size=batch_size)
    expected = vit.theirs((image for image in PICTURES), batch_size=batch_size)
    assert inspect.isgenerator(found) == inspect.isgenerator(expected)
    same(list(found), list(expected))
    records = [{"image": image} for image in PICTURES]
    data = KeyDataset(records, "image")
    found = vit.ours(data, batch_size=batch_size)
    assert len(found) == len(records)
    same(list(found), list(vit.theirs(data, batch_size=batch_size)))


@pytest.mark.parametrize("top_k", [0, 1, 3, 7, 99, None])
def test_top_k(vit: Sides, top_k: int | None) -> None:
    answer = vit.compare(PICTURES[0], top_k=top_k)
    assert len(answer) == (5 if top_k is None else min(top_k, 7))


@pytest.mark.parametrize("function", ["softmax", "SIGMOID", "none", ClassificationFunction.SIGMOID])
def test_function_to_apply(vit: Sides, function: Any) -> None:
    vit.compare(PICTURES[:2], function_to_apply=function)


def test_arguments_of_the_constructor(vit: Sides) -> None:
    ours, theirs = vit.make(top_k=2, function_to_apply="sigmoid", batch_size=2)
    same(ours(PICTURES), theirs(PICTURES))
    same(ours(PICTURES[0], top_k=3), theirs(PICTURES[0], top_k=3))


@pytest.mark.parametrize(
    ("num_labels", "overrides"),
    [(1, {}), (3, {"problem_type": "multi_label_classification"}), (2, {"problem_type": "regression"})],
)
def test_default_function(num_labels: int, overrides: dict[str, Any], folder: Path) -> None:
    name = f"vit-{num_labels}"
    exported(folder, "vit", name, num_labels=num_labels, **overrides).compare(PICTURES[:2])


def test_steps_can_be_called_one_by_one(vit: Sides) -> None:
    inputs = vit.ours.preprocess(PICTURES[0])
    np.testing.assert_array_equal(inputs["pixel_values"], vit.theirs.preprocess(PICTURES[0])["pixel_values"].numpy())
    same(vit.ours.postprocess(vit.ours.forward(inputs)), vit.theirs(PICTURES[0]))


def test_fp16(folder: Path, vit: Sides) -> None:
    export(vit.checkpoint, output=folder / "repository", name="vit16", precision="fp16")
    found, expected = pipeline(TASK, folder / "repository" / "vit16")(PICTURES, top_k=1), vit.theirs(PICTURES, top_k=1)
    for one, other in zip(found, expected, strict=True):
        assert one[0]["label"] == other[0]["label"]
        assert abs(one[0]["score"] - other[0]["score"]) < 2e-2


@pytest.mark.parametrize(
    ("inputs", "kwargs", "message"),
    [
        (None, {}, "needs an image"),
        ("no/such/file.png", {}, "no such image"),
        (3, {}, "not int"),
        (("a.png", "b.png"), {}, "not tuple"),
        ([["a.png"]], {}, "not list"),
        ({"image": "a.png"}, {}, "not dict"),
        (PICTURES[0], {"function_to_apply": "tanh"}, "tanh"),
        (PICTURES[0], {"top_k": -1}, "top_k"),
        (PICTURES[0], {"topk": 1}, "did you mean 'top_k'"),
        (np.zeros((4, 4)), {}, "no RGB image"),
    ],
)
def test_bad_input(vit: Sides, inputs: Any, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vit.ours(inputs, **kwargs)


def test_bad_item_of_a_batch_is_named(vit: Sides) -> None:
    with pytest.raises(InputError, match="item 1: no such image"):
        vit.ours([PICTURES[0], "nowhere.png", PICTURES[1]], batch_size=2)


def test_no_images_no_answers(vit: Sides) -> None:
    assert vit.ours([]) == []


def test_a_processor_with_steps_of_its_own_stops_the_export(folder: Path, vit: Sides) -> None:
    checkpoint = shutil.copytree(vit.checkpoint, folder / "own-steps")
    # It resizes to more than its size says, by a factor that stands in its code alone.
    processor = LevitImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(checkpoint)
    with pytest.raises(ValidationError, match="image processor: LevitImageProcessorPil does more"):
        export(checkpoint, output=folder / "repository", name="own-steps")
    assert not (folder / "repository" / "own-steps").exists()


def test_a_checkpoint_without_an_image_processor(folder: Path, vit: Sides) -> None:
    checkpoint = shutil.copytree(vit.checkpoint, folder / "no-processor")
    (checkpoint / "preprocessor_config.json").unlink()
    with pytest.raises(ExportError, match=r"has no preprocessor_config\.json: save its image processor"):
        export(checkpoint, output=folder / "repository")
