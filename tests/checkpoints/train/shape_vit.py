"""Train the small ViT: ``python -m tests.checkpoints.train.shape_vit`` (ten minutes, 1 thread).

It tells the same six drawn shapes apart as the ResNet of ``shape_classifier.py``, and starts as the encoder of the
captioner (``captioning.py``): from random weights a ViT takes much longer to see shapes. Writes ``tiny-vit-shapes/``.
"""

from transformers import VisionEncoderDecoderModel, ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from tests.checkpoints import TINY_CAPTIONER, TINY_VIT
from tests.checkpoints.train.captions import SIZE
from tests.checkpoints.train.shape_classifier import Plan, fit, names


def main() -> None:
    """Train, report held-out accuracy, save the checkpoint with its model card."""
    processor = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    fit(begin, processor, Plan(TINY_VIT, "vit_card.md", 4500, 1e-3, 20244))


def begin() -> ViTForImageClassification:
    """The captioner's encoder under a new classifier."""
    encoder = VisionEncoderDecoderModel.from_pretrained(TINY_CAPTIONER).encoder
    model = ViTForImageClassification(ViTConfig.from_dict({**encoder.config.to_dict(), **names()}))
    missing = model.vit.load_state_dict(encoder.state_dict(), strict=False).missing_keys
    assert not missing, missing
    return model


if __name__ == "__main__":
    main()
