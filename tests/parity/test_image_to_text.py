"""Captioning against transformers' `generate()`, in the contract of the 4.57 pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

from exporter.validation.images import drawing
from runtime import pipeline
from runtime.errors import InputError
from tests.checkpoints.seq2seq import tiny_captioner
from tests.device import MEMORIES, move_to_device

IMAGES = [drawing(50, 60, 1), drawing(200, 40, 2), drawing(33, 33, 3).convert("L")]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_captioner(tmp_path_factory.mktemp("captioner") / "tiny-vit-gpt2")


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from exporter import export

    return export(checkpoint, output=tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def caption(checkpoint: Path) -> Any:
    """HF's captions of one image."""
    model = VisionEncoderDecoderModel.from_pretrained(checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    processor = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")

    def run(image: Image.Image, **options: Any) -> list[dict[str, str]]:
        pixels = processor(image.convert("RGB"), return_tensors="pt").pixel_values
        with torch.no_grad():
            output = model.generate(pixels, **options)
        return [{"generated_text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in output]

    return run


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}])
@pytest.mark.parametrize("memory", MEMORIES)
def test_captions_equal_generate(bundle: Path, caption: Any, options: dict[str, Any], memory: str) -> None:
    pipe = pipeline("image-to-text", bundle)
    if memory == "device":
        move_to_device(pipe)
    found = pipe(IMAGES, max_new_tokens=12, generate_kwargs={"do_sample": False, **options})
    assert found == [caption(image, max_new_tokens=12, do_sample=False, **options) for image in IMAGES]


def test_one_image_and_the_steps_one_by_one(bundle: Path) -> None:
    pipe = pipeline("image-to-text", bundle)
    answer = pipe(IMAGES[0], max_new_tokens=6)
    assert [list(item) for item in answer] == [["generated_text"]]
    assert pipe.postprocess(pipe.forward(pipe.preprocess(IMAGES[0]), max_new_tokens=6)) == answer
    assert pipe(images=IMAGES[0], max_new_tokens=6) == answer


def test_a_batch_says_what_each_image_says_alone(bundle: Path) -> None:
    pipe = pipeline("image-to-text", bundle, max_new_tokens=8)
    assert pipe(IMAGES * 2, batch_size=4) == [pipe(image) for image in IMAGES * 2]


def test_default_is_256_new_tokens(bundle: Path) -> None:
    from runtime.generation.config import resolve

    assert resolve(pipeline("image-to-text", bundle).manifest.generation).max_new_tokens == 256


def test_bad_input(bundle: Path) -> None:
    pipe = pipeline("image-to-text", bundle)
    with pytest.raises(InputError, match="needs an image"):
        pipe()
    with pytest.raises(InputError, match="takes no prompt"):
        pipe(IMAGES[0], prompt="a photo of")
    with pytest.raises(InputError, match="max_new_tokens"):
        pipe(IMAGES[0], max_new_token=3)
    with pytest.raises(InputError, match="item 1"):
        pipe([IMAGES[0], "no-such-file.png"], batch_size=2)
