"""Train the small object detector: ``python -m tests.checkpoints.train.shape_detector`` (about 2 minutes, 1 thread).

A Conditional DETR that finds one to three drawn shapes (``shapes.py``). Scenes have a grid of 3 by 3 cells, and each of
the nine queries is taught to answer for one cell: no matching is needed. Its backbone starts as the classifier that
``shape_classifier.py`` trains. Held-out scenes have a seed of their own. Writes ``tiny-detr-shapes/``.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import (
    ConditionalDetrConfig,
    ConditionalDetrForObjectDetection,
    ConditionalDetrImageProcessorPil,
    ResNetForImageClassification,
)

from tests.checkpoints import TINY_DETR, TINY_RESNET
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.optimise import adamw, train
from tests.checkpoints.train.shape_classifier import BACKBONE, names
from tests.checkpoints.train.shapes import LABELS, Shape, scene

SIZE = 64
CELLS = 9
NOTHING = len(LABELS)
SHARPNESS = 4.0  # of the attention to a position, at the beginning
STEPS = 1600
BATCH = 48
DRAWN = 6000
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
    processor = ConditionalDetrImageProcessorPil(size={"shortest_edge": SIZE, "longest_edge": 2 * SIZE})
    training = scenes(processor, [drawn(random) for _ in range(DRAWN)])
    model = _looking_at_cells(_with_backbone(ConditionalDetrForObjectDetection(_config())))
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


def scenes(processor: ConditionalDetrImageProcessorPil, drawings: list[tuple[Image.Image, list[Shape]]]) -> Scenes:
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


def _config() -> ConditionalDetrConfig:
    backbone = {"model_type": "resnet", **BACKBONE, "out_features": ["stage2"]}  # 8 by 8 of 64 pixels
    layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 1}
    widths = {"d_model": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "num_queries": CELLS, "dropout": 0.0}
    return ConditionalDetrConfig(use_timm_backbone=False, backbone_config=backbone, **layers, **widths, **names())


def _with_backbone(model: ConditionalDetrForObjectDetection) -> ConditionalDetrForObjectDetection:
    """The classifier's weights for the backbone, all of them free to be trained on."""
    trained = ResNetForImageClassification.from_pretrained(TINY_RESNET).resnet.state_dict()
    backbone = model.model.backbone.model
    missing = backbone.load_state_dict(trained, strict=False).missing_keys
    assert not missing, missing
    for parameter in backbone.parameters():
        parameter.requires_grad_(True)
    return model


def _looking_at_cells(model: ConditionalDetrForObjectDetection) -> ConditionalDetrForObjectDetection:
    """Begin where training shall end up: with every query's reference point in its cell, and its attention there.

    Left to itself, that takes a detector of this kind longer than everything else.
    """
    decoder, queries = model.model.decoder, model.model.query_position_embeddings.weight.detach()
    middles = torch.tensor([[(cell % 3 + 0.5) / 3, (cell // 3 + 0.5) / 3] for cell in range(CELLS)])
    optimizer = torch.optim.Adam(decoder.ref_point_head.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        (decoder.ref_point_head(queries).sigmoid() - middles).square().sum().backward()
        optimizer.step()
    with torch.no_grad():
        for layer in decoder.layers:
            for projection in (layer.encoder_attn.q_pos_sine_proj, layer.encoder_attn.k_pos_proj):
                projection.weight.copy_(SHARPNESS * torch.eye(model.config.d_model))
    return model


def _train(model: ConditionalDetrForObjectDetection, training: Scenes, random: np.random.Generator) -> None:
    def loss() -> torch.Tensor:
        chosen = torch.from_numpy(random.integers(0, len(training.pixels), BATCH))
        batch = _mirrored(Scenes(*(tensor[chosen] for tensor in training)), random)
        return _loss(model(pixel_values=batch.pixels), batch)

    train(model, adamw(model, peak=1.5e-3, steps=STEPS), loss, every=50)


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
    """Cross-entropy of every class for itself, and L1 and overlap of the boxes where there is a shape."""
    logits, boxes = output.logits, output.pred_boxes  # type: ignore[attr-defined]
    there = batch.labels != NOTHING
    wanted = torch.nn.functional.one_hot(batch.labels, NOTHING + 1)[..., :NOTHING].float()
    classes = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / there.sum()
    found, target = boxes[there], batch.boxes[there]
    return classes + 5 * (found - target).abs().sum(-1).mean() + 2 * (1 - overlap(found, target)).mean()


def overlap(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union ``[n]`` of boxes ``[n, 4]`` (centre and size)."""
    low = torch.maximum(first[:, :2] - first[:, 2:] / 2, second[:, :2] - second[:, 2:] / 2)
    high = torch.minimum(first[:, :2] + first[:, 2:] / 2, second[:, :2] + second[:, 2:] / 2)
    common = (high - low).clamp(min=0).prod(-1)
    return common / (first[:, 2:].prod(-1) + second[:, 2:].prod(-1) - common).clamp(min=1e-6)


def _save(model: ConditionalDetrForObjectDetection, processor: ConditionalDetrImageProcessorPil) -> None:
    test = scenes(processor, heldout())
    with torch.no_grad():
        output = model(pixel_values=test.pixels)
    there = test.labels != NOTHING
    scores, labels = output.logits.sigmoid().max(-1)
    right = (labels == test.labels) & (scores > 0.5)
    overlaps = overlap(output.pred_boxes[there], test.boxes[there])
    good = (right[there] & (overlaps > 0.5)).float().mean().item()
    false = (scores[~there] > 0.5).float().mean().item()
    iou = overlaps.mean().item()
    print(f"held-out: classes {right[there].float().mean():.3f}, IoU {iou:.3f}, found {good:.3f}, false {false:.3f}")
    model.save_pretrained(TINY_DETR)
    processor.save_pretrained(TINY_DETR)
    facts = {
        "found": f"{good:.2f}",
        "iou": f"{iou:.2f}",
        "parameters": f"{model.num_parameters():,}",
    }
    write_card(TINY_DETR, "detr_card.md", facts)


if __name__ == "__main__":
    main()
