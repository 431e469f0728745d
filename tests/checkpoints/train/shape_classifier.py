"""Train the small image classifier: ``python -m tests.checkpoints.train.shape_classifier`` (about 2 minutes, 1 thread).

A ViT that tells six drawn shapes apart (``shapes.py``). Fresh drawings in every epoch; held-out drawings have seeds of
their own. Writes ``tiny-vit-shapes/``.
"""

import numpy as np
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from tests.checkpoints import TINY_VIT
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.optimise import adamw
from tests.checkpoints.train.shapes import LABELS, portrait

SIZE = 32
STEPS = 1500
BATCH = 96
DRAWN = 9000
SEED = 20242
HELDOUT_SEED = 99
HELDOUT = 300


def main() -> None:
    """Train, report held-out accuracy, save the checkpoint with its model card."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    processor = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    pixels, labels = drawings(processor, random, DRAWN)
    model = ViTForImageClassification(_config())
    print(f"{model.num_parameters():,} parameters")
    _train(model, pixels, labels, random)
    _save(model.eval(), processor)


def drawings(
    processor: ViTImageProcessorPil, random: np.random.Generator, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixel values ``[count, 3, SIZE, SIZE]`` and label ids ``[count]`` of fresh drawings."""
    drawn = [portrait(random, (48, 48)) for _ in range(count)]
    pixels = processor(images=[image for image, _ in drawn], return_tensors="pt")["pixel_values"]
    return pixels, torch.tensor([label for _, label in drawn])


def _config() -> ViTConfig:
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}
    shape = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 160}
    return ViTConfig(**shape, **names, image_size=SIZE, patch_size=4, hidden_dropout_prob=0.0)


def _train(
    model: ViTForImageClassification, pixels: torch.Tensor, labels: torch.Tensor, random: np.random.Generator
) -> None:
    optimizer = adamw(model, peak=2e-3, steps=STEPS)
    model.train()
    for step in range(1, STEPS + 1):
        chosen = torch.from_numpy(random.integers(0, len(pixels), BATCH))
        logits = model(pixel_values=_turned(pixels[chosen], random)).logits
        loss = torch.nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
        optimizer.step(loss, model)
        if step % 250 == 0:
            print(f"step {step}: train {loss.item():.3f}", flush=True)


def _turned(pixels: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Mirrored and turned by quarters, colours swapped: shapes stay what they are."""
    if random.random() < 0.5:
        pixels = pixels.flip(-1)
    return torch.rot90(pixels, int(random.integers(4)), (-2, -1))[:, torch.from_numpy(random.permutation(3))]


def _save(model: ViTForImageClassification, processor: ViTImageProcessorPil) -> None:
    pixels, labels = drawings(processor, np.random.default_rng(HELDOUT_SEED), HELDOUT)
    with torch.no_grad():
        accuracy = (model(pixel_values=pixels).logits.argmax(-1) == labels).float().mean().item()
    print(f"held-out accuracy {accuracy:.3f}")
    model.save_pretrained(TINY_VIT)
    processor.save_pretrained(TINY_VIT)
    write_card(TINY_VIT, "vit_card.md", {"accuracy": f"{accuracy:.2f}", "parameters": f"{model.num_parameters():,}"})


if __name__ == "__main__":
    main()
