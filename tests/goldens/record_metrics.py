"""Records what the field's own libraries say: `python tests/goldens/record_metrics.py` with seqeval 1.2,
pycocotools 2.0 and scikit-learn installed. Writes `metrics.json` beside it: cases and their values."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from seqeval.metrics import f1_score as entity_f1
from sklearn.metrics import accuracy_score, f1_score

TAGS = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-PER", "S-LOC"]


def entities(random: Random) -> dict[str, Any]:
    """Random tags, ill-formed sequences among them, and predictions that share most of them."""
    gold = [[random.choice(TAGS) for _ in range(random.randint(1, 12))] for _ in range(20)]
    found = [[tag if random.random() < 0.8 else random.choice(TAGS) for tag in row] for row in gold]
    return {"gold": gold, "found": found, "value": 100 * float(entity_f1(gold, found))}


def labels(random: Random) -> dict[str, Any]:
    """Labels of which some are never found."""
    gold = [random.choice("abcd") for _ in range(60)]
    found = [label if random.random() < 0.6 else random.choice("abce") for label in gold]
    macro = f1_score(gold, found, average="macro", zero_division=0)
    return {"gold": gold, "found": found, "accuracy": 100 * accuracy_score(gold, found), "macro": 100 * float(macro)}


def box(random: Random) -> list[float]:
    x, y = random.uniform(0, 70), random.uniform(0, 70)
    return [round(side, 1) for side in (x, y, x + random.uniform(12, 30), y + random.uniform(12, 30))]


def moved(random: Random, corners: list[float]) -> list[float]:
    return [round(side + random.gauss(0, 1.5), 1) for side in corners]


def detection(random: Random) -> dict[str, Any]:
    """Boxes that are nearly right, some missed, some false, some with the wrong label."""
    images = []
    for _ in range(12):
        gold = [[random.choice("abc"), box(random)] for _ in range(random.randint(0, 6))]
        near = [[label, moved(random, corners)] for label, corners in gold if random.random() < 0.85]
        false = [[random.choice("abc"), box(random)] for _ in range(random.randint(0, 4))]
        wrong = [[random.choice("abc"), moved(random, corners)] for _, corners in gold if random.random() < 0.3]
        found = [[label, corners, round(random.random(), 3)] for label, corners in near + false + wrong]
        images.append({"gold": gold, "found": found})
    return {"images": images, "value": coco(images)}


def coco(images: list[dict[str, Any]]) -> float:
    """COCO's own AP at IoU 0.50:0.95, areas of all sizes, 100 detections."""
    truth = COCO()
    annotations = [
        {
            "id": 0,
            "image_id": index,
            "category_id": ord(label),
            "bbox": xywh(corners),
            "area": area(corners),
            "iscrowd": 0,
        }
        for index, image in enumerate(images)
        for label, corners in image["gold"]
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    categories = [{"id": ord(label), "name": label} for label in "abc"]
    truth.dataset = {
        "images": [{"id": index} for index in range(len(images))],
        "annotations": annotations,
        "categories": categories,
    }
    truth.createIndex()
    found = truth.loadRes(
        [
            {"image_id": index, "category_id": ord(label), "bbox": xywh(corners), "score": score}
            for index, image in enumerate(images)
            for label, corners, score in image["found"]
        ]
    )
    evaluation = COCOeval(truth, found, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return 100 * float(evaluation.stats[0])


def xywh(corners: list[float]) -> list[float]:
    return [corners[0], corners[1], corners[2] - corners[0], corners[3] - corners[1]]


def area(corners: list[float]) -> float:
    return (corners[2] - corners[0]) * (corners[3] - corners[1])


if __name__ == "__main__":
    random = Random(20246)
    cases = {
        "entities": [entities(random) for _ in range(8)],
        "labels": [labels(random) for _ in range(4)],
        "detection": [detection(random) for _ in range(6)],
    }
    Path(__file__).with_name("metrics.json").write_text(json.dumps(cases) + "\n")
