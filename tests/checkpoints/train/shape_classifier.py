"""Train the small image classifier: ``python -m tests.checkpoints.train.shape_classifier`` (half a minute, 1 thread).

A ResNet that tells six drawn shapes apart (``shapes.py``). Held-out drawings have a seed of their own.
Writes ``tiny-resnet-shapes/``, whose weights are also where the detector (``shape_detector.py``) starts from.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import ConvNextImageProcessorPil, PreTrainedModel, ResNetConfig, ResNetForImageClassification

from tests.checkpoints import TINY_RESNET
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.optimise import adamw, train
from tests.checkpoints.train.shapes import LABELS, portrait

SIZE = 32
BACKBONE = {"embedding_size": 24, "hidden_sizes": [24, 48, 96], "depths": [1, 1, 1], "layer_type": "basic"}
STEPS = 600
BATCH = 64
DRAWN = 6000
SEED = 20242
HELDOUT_SEED = 99
HELDOUT = 300


class Plan(NamedTuple):
    """How a classifier is trained, where it goes, and its card."""

    folder: Path
    card: str
    steps: int
    peak: float
    seed: int


def main() -> None:
    """Train, report held-out accuracy, save the checkpoint with its model card."""
    processor = ConvNextImageProcessorPil(size={"shortest_edge": SIZE}, crop_pct=1.0)
    plan = Plan(TINY_RESNET, "resnet_card.md", STEPS, 2e-3, SEED)
    fit(lambda: ResNetForImageClassification(ResNetConfig(**BACKBONE, **names())), processor, plan)


def names() -> dict[str, Any]:
    """The labels, for a config."""
    return {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}


def fit(make: Callable[[], PreTrainedModel], processor: Any, plan: Plan) -> None:
    """Train what `make` gives on drawings, and save it."""
    torch.set_num_threads(1)
    torch.manual_seed(plan.seed)
    random = np.random.default_rng(plan.seed)
    pixels, labels = drawings(processor, random, DRAWN)
    model = make()
    print(f"{model.num_parameters():,} parameters")
    _train(model, pixels, labels, random, plan)
    _save(model.eval(), processor, plan)


def drawings(processor: Any, random: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixel values ``[count, 3, SIZE, SIZE]`` and label ids ``[count]`` of fresh drawings."""
    drawn = [portrait(random, (48, 48)) for _ in range(count)]
    pixels = processor(images=[image for image, _ in drawn], return_tensors="pt")["pixel_values"]
    return pixels, torch.tensor([label for _, label in drawn])


def _train(
    model: PreTrainedModel, pixels: torch.Tensor, labels: torch.Tensor, random: np.random.Generator, plan: Plan
) -> None:
    def loss() -> torch.Tensor:
        chosen = torch.from_numpy(random.integers(0, len(pixels), BATCH))
        logits = model(pixel_values=_turned(pixels[chosen], random)).logits
        return torch.nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)

    train(model, adamw(model, plan.peak, plan.steps), loss, every=100)


def _turned(pixels: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Mirrored and turned by quarters, colours swapped: shapes stay what they are."""
    if random.random() < 0.5:
        pixels = pixels.flip(-1)
    return torch.rot90(pixels, int(random.integers(4)), (-2, -1))[:, torch.from_numpy(random.permutation(3))]


def _save(model: PreTrainedModel, processor: Any, plan: Plan) -> None:
    pixels, labels = drawings(processor, np.random.default_rng(HELDOUT_SEED), HELDOUT)
    with torch.no_grad():
        accuracy = (model(pixel_values=pixels).logits.argmax(-1) == labels).float().mean().item()
    print(f"held-out accuracy {accuracy:.3f}")
    model.save_pretrained(plan.folder)
    processor.save_pretrained(plan.folder)
    facts = {"accuracy": f"{accuracy:.2f}", "parameters": f"{model.num_parameters():,}"}
    write_card(plan.folder, plan.card, facts)


if __name__ == "__main__":
    main()
