"""Train the small image classifier: ``python -m tests.checkpoints.train.shape_classifier`` (half a minute, 1 thread).

A ResNet that tells six drawn shapes apart (``shapes.py``). Held-out drawings have a seed of their own.
Writes ``tiny-resnet-shapes/``, whose weights are also where the detector (``shape_detector.py``) starts from.
"""

import numpy as np
import torch
from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetForImageClassification

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


def main() -> None:
    """Train, report held-out accuracy, save the checkpoint with its model card."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    processor = ConvNextImageProcessorPil(size={"shortest_edge": SIZE}, crop_pct=1.0)
    pixels, labels = drawings(processor, random, DRAWN)
    model = ResNetForImageClassification(_config())
    print(f"{model.num_parameters():,} parameters")
    _train(model, pixels, labels, random)
    _save(model.eval(), processor)


def drawings(
    processor: ConvNextImageProcessorPil, random: np.random.Generator, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixel values ``[count, 3, SIZE, SIZE]`` and label ids ``[count]`` of fresh drawings."""
    drawn = [portrait(random, (48, 48)) for _ in range(count)]
    pixels = processor(images=[image for image, _ in drawn], return_tensors="pt")["pixel_values"]
    return pixels, torch.tensor([label for _, label in drawn])


def _config() -> ResNetConfig:
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}
    return ResNetConfig(**BACKBONE, **names)


def _train(
    model: ResNetForImageClassification, pixels: torch.Tensor, labels: torch.Tensor, random: np.random.Generator
) -> None:
    def loss() -> torch.Tensor:
        chosen = torch.from_numpy(random.integers(0, len(pixels), BATCH))
        logits = model(pixel_values=_turned(pixels[chosen], random)).logits
        return torch.nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)

    train(model, adamw(model, peak=2e-3, steps=STEPS), loss, every=100)


def _turned(pixels: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Mirrored and turned by quarters, colours swapped: shapes stay what they are."""
    if random.random() < 0.5:
        pixels = pixels.flip(-1)
    return torch.rot90(pixels, int(random.integers(4)), (-2, -1))[:, torch.from_numpy(random.permutation(3))]


def _save(model: ResNetForImageClassification, processor: ConvNextImageProcessorPil) -> None:
    pixels, labels = drawings(processor, np.random.default_rng(HELDOUT_SEED), HELDOUT)
    with torch.no_grad():
        accuracy = (model(pixel_values=pixels).logits.argmax(-1) == labels).float().mean().item()
    print(f"held-out accuracy {accuracy:.3f}")
    model.save_pretrained(TINY_RESNET)
    processor.save_pretrained(TINY_RESNET)
    write_card(
        TINY_RESNET, "resnet_card.md", {"accuracy": f"{accuracy:.2f}", "parameters": f"{model.num_parameters():,}"}
    )


if __name__ == "__main__":
    main()
