"""`onward run` on images: paths, standard input, boxes drawn with `--save`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime import pipeline
from tests.checkpoints.train.shape_detector import heldout
from tests.integration.command import ONWARD, Onward, assert_refused, process


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "scene.png"
    heldout(1)[0][0].save(path)
    return path


def test_classification(onward: Onward, shapes_repository: Path, scene_file: Path) -> None:
    bundle = shapes_repository / "classifier"
    shown = onward("run", bundle, scene_file, "--top-k", 2)
    assert shown.code == 0
    expected = pipeline(None, bundle)(str(scene_file), top_k=2)
    assert shown.out.splitlines() == [f"{record['score']:.4f}  {record['label']}" for record in expected]


def test_detection_with_a_drawing(onward: Onward, shapes_repository: Path, scene_file: Path, tmp_path: Path) -> None:
    bundle, target = shapes_repository / "detector", tmp_path / "boxes.png"
    outcome = onward("run", bundle, scene_file, "--threshold", 0.3, "--save", target, "--json")
    assert outcome.code == 0, outcome.err
    answer = json.loads(outcome.out)
    assert answer == pipeline(None, bundle)(str(scene_file), threshold=0.3)
    assert answer
    before, after = Image.open(scene_file), Image.open(target)
    assert after.size == before.size
    assert not np.array_equal(np.asarray(after), np.asarray(before))
    shown = onward("run", bundle, scene_file, "--threshold", 0.3).out.splitlines()
    assert len(shown) == len(answer)
    assert f"xmin={answer[0]['box']['xmin']}" in shown[0]


def test_image_on_standard_input(shapes_repository: Path, scene_file: Path) -> None:
    outcome = process(ONWARD, "run", shapes_repository / "classifier", "--json", stdin=scene_file.read_bytes())
    assert json.loads(outcome.out) == pipeline(None, shapes_repository / "classifier")(str(scene_file))
    assert_refused(process(ONWARD, "run", shapes_repository / "classifier", stdin=b"no image"), "standard input")


def test_what_is_refused(onward: Onward, shapes_repository: Path, scene_file: Path, tmp_path: Path) -> None:
    classifier, detector = shapes_repository / "classifier", shapes_repository / "detector"
    assert_refused(onward("run", classifier, "nowhere.png"), "no such image", "nowhere.png")
    assert_refused(onward("run", classifier, scene_file, "--save", tmp_path / "x.png"), "--save", "no")
    assert_refused(onward("run", detector, scene_file, "--save", tmp_path / "x.txt"), ".png or .jpg")
    assert_refused(onward("run", detector, scene_file, "--top-k", 3), "--top-k means nothing")
    assert_refused(onward("run", detector, scene_file, "-o", "treshold=0.2"), "did you mean 'threshold'")
    assert_refused(onward("run", detector, scene_file, "--save", tmp_path / "no" / "x.png"), "No such file")
