"""Train the small object detector: ``python -m tests.checkpoints.train.shape_detector`` (about 3 minutes, 1 thread).

A YOLOS that finds one to three drawn shapes (``shapes.py``). Scenes have a grid of 3 by 3 cells, and each of the nine
detection tokens is taught to answer for one cell: no matching is needed, and a few minutes are enough. Held-out scenes
have seeds of their own. Writes ``tiny-yolos-shapes/``.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

from tests.checkpoints import TINY_DETECTOR
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.optimise import adamw
from tests.checkpoints.train.shapes import LABELS, Shape, scene

SIZE = 64
CELLS = 9
NOTHING = len(LABELS)
STEPS = 1700
BATCH = 64
DRAWN = 9000
SEED = 20243
HELDOUT_SEED = 98
HELDOUT = 200


class Scenes(NamedTuple):
    """pixels ``[n, 3, SIZE, SIZE]``; labels ``[n, CELLS]``; boxes ``[n, CELLS, 4]`` (relative centre and size)."""

    pixels: torch.Tensor
    labels: torch.Tensor
    boxes: torch.Tensor


def main() -> None:
    """Train, report held-out quality, save the checkpoint with its model card."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    processor = YolosImageProcessorPil(size={"height": SIZE, "width": SIZE})
    training = scenes(processor, [drawn(random) for _ in range(DRAWN)])
    model = YolosForObjectDetection(_config())
    print(f"{model.num_parameters():,} parameters")
    _train(model, training, random)
    _save(model.eval(), processor)


def drawn(random: np.random.Generator) -> tuple[Image.Image, list[Shape]]:
    """A scene of one to three shapes."""
    chosen = random.choice(CELLS, size=random.integers(1, 4), replace=False)
    return scene(random, (96, 96), [(int(cell) % 3, int(cell) // 3) for cell in chosen])


def heldout(count: int = HELDOUT) -> list[tuple[Image.Image, list[Shape]]]:
    """Scenes that were never trained on."""
    random = np.random.default_rng(HELDOUT_SEED)
    return [drawn(random) for _ in range(count)]


def scenes(processor: YolosImageProcessorPil, drawings: list[tuple[Image.Image, list[Shape]]]) -> Scenes:
    """Scenes as tensors."""
    pixels = processor(images=[image for image, _ in drawings], return_tensors="pt")["pixel_values"]
    labels = torch.full((len(drawings), CELLS), NOTHING)
    boxes = torch.full((len(drawings), CELLS, 4), 0.5)
    for row, (image, shapes) in enumerate(drawings):
        for shape in shapes:
            x0, y0, x1, y1 = (side / image.width for side in shape.box)
            centre = (x0 + x1) / 2, (y0 + y1) / 2
            cell = int(centre[1] * 3) * 3 + int(centre[0] * 3)
            labels[row, cell] = shape.label
            boxes[row, cell] = torch.tensor([*centre, x1 - x0, y1 - y0])
    return Scenes(pixels, labels, boxes)


def _config() -> YolosConfig:
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}
    shape = {"hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 192}
    size = {"image_size": [SIZE, SIZE], "patch_size": 8, "num_detection_tokens": CELLS}
    return YolosConfig(**shape, **names, **size, hidden_dropout_prob=0.0, use_mid_position_embeddings=False)


def _train(model: YolosForObjectDetection, training: Scenes, random: np.random.Generator) -> None:
    optimizer = adamw(model, peak=2e-3, steps=STEPS)
    model.train()
    for step in range(1, STEPS + 1):
        chosen = torch.from_numpy(random.integers(0, len(training.pixels), BATCH))
        batch = _mirrored(Scenes(*(tensor[chosen] for tensor in training)), random)
        loss = _loss(model(pixel_values=batch.pixels), batch)
        optimizer.step(loss, model)
        if step % 200 == 0:
            print(f"step {step}: train {loss.item():.3f}", flush=True)


def _mirrored(batch: Scenes, random: np.random.Generator) -> Scenes:
    """Turned around both axes by chance, colours swapped."""
    pixels, labels, boxes = batch
    pixels, boxes = pixels[:, torch.from_numpy(random.permutation(3))], boxes.clone()
    for axis in (0, 1):
        if random.random() < 0.5:
            pixels, labels = pixels.flip(3 - axis), labels.view(-1, 3, 3).flip(2 - axis).flatten(1)
            boxes = boxes.view(-1, 3, 3, 4).flip(2 - axis).flatten(1, 2)
            boxes[..., axis] = 1 - boxes[..., axis]
    return Scenes(pixels, labels, boxes)


def _loss(output: object, batch: Scenes) -> torch.Tensor:
    """Cross-entropy of the classes, and L1 and overlap of the boxes where there is a shape."""
    logits, boxes = output.logits, output.pred_boxes  # type: ignore[attr-defined]
    weight = torch.ones(NOTHING + 1)
    weight[NOTHING] = 0.5
    classes = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), weight)
    there = batch.labels != NOTHING
    found, wanted = boxes[there], batch.boxes[there]
    return classes + 5 * (found - wanted).abs().mean() + (1 - overlap(found, wanted)).mean()


def overlap(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union ``[n]`` of boxes ``[n, 4]`` (centre and size)."""
    low = torch.maximum(first[:, :2] - first[:, 2:] / 2, second[:, :2] - second[:, 2:] / 2)
    high = torch.minimum(first[:, :2] + first[:, 2:] / 2, second[:, :2] + second[:, 2:] / 2)
    common = (high - low).clamp(min=0).prod(-1)
    return common / (first[:, 2:].prod(-1) + second[:, 2:].prod(-1) - common).clamp(min=1e-6)


def _save(model: YolosForObjectDetection, processor: YolosImageProcessorPil) -> None:
    test = scenes(processor, heldout())
    with torch.no_grad():
        output = model(pixel_values=test.pixels)
    there = test.labels != NOTHING
    right = (output.logits.argmax(-1)[there] == test.labels[there]).float()
    overlaps = overlap(output.pred_boxes[there], test.boxes[there])
    false = (output.logits.argmax(-1)[~there] != NOTHING).float().mean().item()
    good = (right.bool() & (overlaps > 0.5)).float().mean().item()
    iou = overlaps.mean().item()
    print(f"held-out: classes {right.mean().item():.3f}, IoU {iou:.3f}, found {good:.3f}, false {false:.3f}")
    model.save_pretrained(TINY_DETECTOR)
    processor.save_pretrained(TINY_DETECTOR)
    facts = {
        "found": f"{good:.2f}",
        "iou": f"{iou:.2f}",
        "parameters": f"{model.num_parameters():,}",
    }
    write_card(TINY_DETECTOR, "yolos_card.md", facts)


if __name__ == "__main__":
    main()
