"""BLIP and GIT: captions equal to transformers' `generate()`, greedy and with beams, with and without a beginning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from runtime import pipeline
from runtime.bundle import open_bundle
from runtime.errors import InputError
from runtime.session import close_sessions
from tests.checkpoints.captioners import tiny_image_captioner
from tests.pictures import picture

IMAGES = [picture(1, 50, 60), picture(2, 200, 40), picture(3, 33, 33).convert("L"), picture(4, 64, 64)]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_beams": 3},
    {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 2.0},
    {"repetition_penalty": 1.5, "min_length": 8},
    {"no_repeat_ngram_size": 1, "num_beams": 2},
]
PROMPT = "a film of"


class Captioner:
    """A checkpoint, its bundle, and HF's answers."""

    def __init__(self, model_type: str, folder: Path) -> None:
        from exporter import export

        checkpoint = tiny_image_captioner(model_type, folder / "checkpoint")
        self.bundle = export(checkpoint, output=folder / "repository", name=model_type)
        self.manifest = open_bundle(self.bundle).manifest
        self.model = AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.processor = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
        self.is_git = model_type == "git"

    def caption(self, image: Image.Image, prompt: str | None = None, **options: Any) -> list[dict[str, str]]:
        """What 4.57's pipeline makes of one image: GIT gets the ids behind [CLS], BLIP what its tokenizer gives."""
        pixels = self.processor(image.convert("RGB"), return_tensors="pt").pixel_values
        ids: dict[str, torch.Tensor] = {}
        if prompt is not None and self.is_git:
            plain = self.tokenizer(prompt, add_special_tokens=False).input_ids
            ids = {"input_ids": torch.tensor([[self.tokenizer.cls_token_id, *plain]])}
        elif prompt is not None:
            encoded = self.tokenizer(prompt, return_tensors="pt")
            ids = {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask}
        with torch.no_grad():
            output = self.model.generate(pixel_values=pixels, **ids, do_sample=False, **options)
        return [{"generated_text": self.tokenizer.decode(one, skip_special_tokens=True)} for one in output]


@pytest.fixture(scope="module", params=["git", "blip"])
def captioner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captioner]:
    """Exported with validation, which must pass."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Captioner(request.param, tmp_path_factory.mktemp(request.param))
    torch.set_num_threads(threads)
    close_sessions()


def test_the_path_and_what_the_validation_compared(captioner: Captioner) -> None:
    manifest = captioner.manifest
    assert (manifest.path, sorted(manifest.graphs)) == ("fallback", ["decode", "prefill"])
    assert manifest.task == "image-to-text" and manifest.validation["passed"] is True
    read = {spec.name for spec in manifest.graphs["decode"].inputs}
    assert "pixel_values" not in read and "pixel_values" in {spec.name for spec in manifest.graphs["prefill"].inputs}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_captions_equal_generate(captioner: Captioner, options: dict[str, Any]) -> None:
    pipe = pipeline("image-to-text", captioner.bundle)
    found = pipe(IMAGES, max_new_tokens=12, generate_kwargs=options)
    assert found == [captioner.caption(image, max_new_tokens=12, **options) for image in IMAGES]
    assert len({str(answer) for answer in found}) > 1


@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_prompts_begin_the_caption(captioner: Captioner, options: dict[str, Any]) -> None:
    pipe = pipeline("image-to-text", captioner.bundle, max_new_tokens=8)
    found = pipe(IMAGES[:2], prompt=PROMPT, generate_kwargs=options)
    assert found == [captioner.caption(image, PROMPT, max_new_tokens=8, **options) for image in IMAGES[:2]]
    assert all(answer[0]["generated_text"].startswith(PROMPT) for answer in found)


def test_batches_and_streams_answer_as_single_images(captioner: Captioner) -> None:
    pipe = pipeline("image-to-text", captioner.bundle, max_new_tokens=6)
    alone = [pipe(image) for image in IMAGES * 3]
    assert pipe(IMAGES * 3, batch_size=5) == alone
    assert list(pipe((image for image in IMAGES * 3), batch_size=2)) == alone
    steps = pipe.postprocess(pipe.forward(pipe.preprocess(IMAGES[0]), max_new_tokens=6))
    assert steps == alone[0]


def test_bad_prompts(captioner: Captioner) -> None:
    with pytest.raises(InputError, match="prompt must be a text"):
        pipeline("image-to-text", captioner.bundle)(IMAGES[0], prompt=7)
