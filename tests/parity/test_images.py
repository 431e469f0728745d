"""Images against transformers: loading pixel for pixel, and the processors' pixel values bit for bit."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.image_transforms import get_resize_output_image_size, get_size_with_aspect_ratio
from transformers.image_utils import get_image_size_for_max_height_width
from transformers.image_utils import load_image as hf_load_image
from transformers.models.yolos.image_processing_pil_yolos import get_size_with_aspect_ratio_yolos

from exporter.image_processor import describe_image_processor
from exporter.validation.images import compare_images
from runtime.images import ImageProcessor, load_image
from runtime.images.sizes import resized
from tests.pictures import as_bytes, as_file, picture, turned

MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr", "HSV", "I;16", "I", "F")
BOUNDED = {"shortest_edge": 80, "longest_edge": 133}
SQUARE = {"height": 48, "width": 64}

# Class of the processor -> its arguments. Those without use its defaults.
PROCESSORS: list[tuple[str, dict[str, Any]]] = [
    ("ViT", {}),
    ("ViT", {"size": SQUARE, "resample": 3}),
    ("ViT", {"size": SQUARE, "resample": 0, "do_normalize": False}),
    ("ViT", {"do_resize": False}),
    ("ViT", {"size": SQUARE, "do_rescale": False}),
    ("ViT", {"size": SQUARE, "image_mean": 0.4, "image_std": 0.3}),
    ("ViT", {"size": {"max_height": 70, "max_width": 90}}),
    ("DeiT", {}),
    ("DeiT", {"size": {"height": 20, "width": 31}, "crop_size": {"height": 27, "width": 28}}),
    ("ConvNext", {"size": {"shortest_edge": 384}}),
    ("ConvNext", {"size": {"shortest_edge": 64}, "crop_pct": 0.9}),
    ("Bit", {"size": {"shortest_edge": 33}, "do_center_crop": False}),
    ("CLIP", {}),
    ("CLIP", {"size": {"shortest_edge": 30}, "crop_size": {"height": 33, "width": 41}}),
    ("Blip", {"size": SQUARE}),
    ("MobileViT", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}),
    ("Beit", {"size": SQUARE}),
    ("Segformer", {"size": SQUARE}),
    ("Detr", {"size": BOUNDED}),
    ("Detr", {"size": BOUNDED, "pad_size": {"height": 150, "width": 140}}),
    ("Detr", {"size": BOUNDED, "do_pad": False}),
    ("ConditionalDetr", {"size": BOUNDED}),
    ("DeformableDetr", {"size": BOUNDED}),
    ("Yolos", {"size": BOUNDED}),
    ("Yolos", {"size": SQUARE}),
    ("RTDetr", {"size": {"height": 64, "width": 64}}),
]


def make(name: str, arguments: dict[str, Any]) -> Any:
    return getattr(transformers, f"{name}ImageProcessorPil")(**arguments)


@pytest.mark.parametrize(("name", "arguments"), PROCESSORS)
def test_pixel_values_are_equal(name: str, arguments: dict[str, Any]) -> None:
    processor = make(name, arguments)
    ours = ImageProcessor(describe_image_processor(processor))
    for seed, (width, height) in enumerate([(90, 70), (61, 140), (33, 33), (200, 41), (2, 3)]):
        image = picture(seed, width, height)
        try:
            expected = processor(images=[image], return_tensors="np")
        except ValueError:  # a pad_size that is too small, a side that becomes 0
            with pytest.raises(ValueError, match=r"too narrow|does not fit"):
                ours(image)
            continue
        found = ours(image)
        assert set(found) == set(expected)
        for key in expected:
            assert found[key].dtype == (np.float32 if key == "pixel_values" else np.int64)
            np.testing.assert_array_equal(found[key], np.asarray(expected[key]))


@pytest.mark.parametrize(("name", "arguments"), PROCESSORS[::4])
def test_the_exporters_comparison_agrees(name: str, arguments: dict[str, Any]) -> None:
    processor = make(name, arguments)
    check = compare_images(processor, ImageProcessor(describe_image_processor(processor)))
    assert check.passed, check.detail


@pytest.mark.parametrize("name", ["EfficientNet", "Levit"])
def test_processors_with_steps_of_their_own_are_refused(name: str) -> None:
    processor = make(name, {})
    check = compare_images(processor, ImageProcessor(describe_image_processor(processor)))
    assert not check.passed
    assert name in check.detail


def test_a_wrong_step_is_found() -> None:
    processor = make("ViT", {"size": SQUARE})
    spec = describe_image_processor(make("ViT", {"size": SQUARE, "resample": 3}))
    assert not compare_images(processor, ImageProcessor(spec)).passed


def test_arrays_are_taken_with_channels_first_and_last() -> None:
    processor = make("ViT", {"size": SQUARE})
    ours = ImageProcessor(describe_image_processor(processor))
    pixels = np.asarray(picture(1))
    for array in (pixels, pixels.transpose(2, 0, 1), pixels[:3]):
        expected = processor(images=array, return_tensors="np")["pixel_values"]
        np.testing.assert_array_equal(ours(array)["pixel_values"], np.asarray(expected))


SIDES = st.integers(1, 2000)


@settings(max_examples=400, deadline=None)
@given(SIDES, SIDES, st.integers(1, 900), st.integers(0, 900))
def test_sizes_after_resizing(height: int, width: int, edge: int, more: int) -> None:
    bounded = {"shortest_edge": edge, "longest_edge": edge + more}
    image = (height, width)
    assert resized(image, bounded) == get_size_with_aspect_ratio(image, edge, edge + more)
    assert resized(image, bounded, 16) == get_size_with_aspect_ratio_yolos(image, edge, edge + more)
    square = get_resize_output_image_size(np.empty((1, height, width)), edge, False, None, "channels_first")
    assert resized(image, {"shortest_edge": edge}) == square
    box = get_image_size_for_max_height_width(image, edge, edge + more)
    assert resized(image, {"max_height": edge, "max_width": edge + more}) == box


def equal(found: Image.Image, expected: Image.Image) -> bool:
    return found.mode == expected.mode == "RGB" and np.array_equal(np.asarray(found), np.asarray(expected))


def in_mode(mode: str) -> Image.Image:
    image = picture(3)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200)
    if mode == "PA":
        return image.quantize(16).convert("PA")
    return image.quantize(16) if mode == "P" else image.convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_modes(mode: str) -> None:
    image = in_mode(mode)
    assert equal(load_image(image), hf_load_image(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "camera.jpg"
    path.write_bytes(turned(picture(4), orientation))
    assert equal(load_image(str(path)), hf_load_image(str(path)))
    assert load_image(str(path)).size == ((70, 90) if orientation > 4 else (90, 70))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tiff", "ppm"])
def test_formats(suffix: str, tmp_path: Path) -> None:
    path = str(as_file(picture(5), tmp_path / f"picture.{suffix}"))
    assert equal(load_image(path), hf_load_image(path))


def test_every_way_to_name_an_image(tmp_path: Path) -> None:
    content = as_bytes(picture(6))
    path = as_file(picture(6), tmp_path / "a picture.png")
    encoded = base64.b64encode(content).decode()
    lines = base64.encodebytes(content).decode()
    expected = hf_load_image(str(path))
    for image in (str(path), encoded, lines, f"data:image/png;base64,{encoded}", Image.open(io.BytesIO(content))):
        assert equal(load_image(image), expected)
        assert equal(hf_load_image(image), expected)
    for image in (path, content, bytearray(content)):  # beyond HF
        assert equal(load_image(image), expected)


def test_transparent_palette_with_a_transparent_colour() -> None:
    image = picture(7).quantize(8)
    image.info["transparency"] = 3
    assert equal(load_image(image), hf_load_image(image))
