"""Images that are none, too large, too slow, or cut off: one line that says what to do. And the drawing of boxes."""

from __future__ import annotations

import base64
import http.server
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.bundle import ImageSpec
from runtime.errors import InputError
from runtime.images import ImageProcessor, decode_image, load_image
from runtime.images.download import download
from runtime.images.draw import draw_boxes
from tests.pictures import as_bytes, picture

PICTURE = as_bytes(picture(1))


class Handler(http.server.BaseHTTPRequestHandler):
    """/picture, /moved -> /picture, /ftp -> ftp://, /slow, /endless, anything else is not there."""

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(2)
        if self.path in ("/moved", "/ftp"):
            target = "/picture" if self.path == "/moved" else "ftp://127.0.0.1/picture"
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
            return
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b"x" * 65536)
        self.send_response(200 if self.path in ("/picture", "/slow") else 404)
        self.end_headers()
        self.wfile.write(PICTURE)

    def handle(self) -> None:
        """Clients that hang up are what these tests are about."""
        with suppress(OSError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_url(site: str) -> None:
    for path in ("/picture", "/moved"):
        assert np.array_equal(np.asarray(load_image(site + path)), np.asarray(picture(1)))


def test_urls_that_give_no_image(site: str) -> None:
    with pytest.raises(InputError, match="answered 404"):
        load_image(site + "/nothing")
    with pytest.raises(InputError, match="cannot be fetched"):
        load_image(site + "/ftp")
    with pytest.raises(InputError, match=r"longer than 0\.3 s"):
        load_image(site + "/slow", timeout=0.3)
    with pytest.raises(InputError, match="larger than 1 MiB"):
        download(site + "/endless", max_bytes=1 << 20)
    with pytest.raises(InputError, match="cannot be fetched"):
        load_image("http://127.0.0.1:1/nobody")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("nothing/here.png", "no such image"),
        ("cats", "no such image file: 'cats'"),
        ("", "empty string"),
        ("data:image/png;base64", "without a comma"),
        ("data:image/png;base64,!!!!", "not valid base64"),
        ("data:image/png;base64," + base64.b64encode(b"no picture").decode(), "not an image"),
        (base64.b64encode(b"no picture at all, but long enough to be meant as one. " * 3).decode(), "not an image"),
        (b"no picture", "not an image"),
        (b"", "not an image"),
        (7, "not int"),
        (None, "not NoneType"),
        ({"image": "a.png"}, "not dict"),
        (("a.png",), "not tuple"),
    ],
)
def test_what_is_no_image(image: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_image(image)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_truncated_files_are_named(file_format: str, tmp_path: Path) -> None:
    content = as_bytes(picture(2, 200, 150), file_format)
    path = tmp_path / "cut off.img"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"cut off\.img"):
        load_image(str(path))


def test_damaged_files_never_raise_anything_else() -> None:
    random = np.random.default_rng(5)
    for file_format in ("PNG", "JPEG", "GIF", "WEBP", "TIFF"):
        content = np.frombuffer(as_bytes(picture(3), file_format), np.uint8)
        for _ in range(40):
            damaged = content.copy()
            damaged[random.integers(0, len(damaged), 12)] = random.integers(0, 256, 12)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert decode_image(damaged.tobytes()).mode == "RGB"
                except InputError as error:
                    assert "\n" not in str(error)


def test_decompression_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="decompression bomb"):
        decode_image(PICTURE)


def test_limit_of_pixels_and_formats() -> None:
    with pytest.raises(InputError, match="90 x 70 pixels, 6000 are the most"):
        decode_image(PICTURE, max_pixels=6000)
    with pytest.raises(InputError, match="not an image"):
        decode_image(PICTURE, formats=("JPEG",))
    assert decode_image(PICTURE, formats=("PNG", "of another Pillow"), max_pixels=6300).size == (90, 70)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5), np.uint8), "is no RGB image"),
        (np.zeros((4, 5, 4), np.uint8), "is no RGB image"),
        (np.zeros((0, 5, 3), np.uint8), "is no RGB image"),
        (np.zeros((4, 5, 3), np.float32), "give uint8"),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageProcessor(ImageSpec())(array)


def test_images_too_narrow_or_too_large_for_the_steps() -> None:
    with pytest.raises(InputError, match="too narrow"):
        ImageProcessor(ImageSpec(size={"shortest_edge": 32, "longest_edge": 64}, size_multiple=16))(picture(1, 400, 2))
    with pytest.raises(InputError, match="does not fit in 50 x 40"):
        ImageProcessor(ImageSpec(pad_size=(40, 50)))(picture(1))


def test_boxes_are_drawn_where_they_are() -> None:
    image = Image.new("RGB", (100, 80), "white")
    box = {"xmin": 20, "ymin": 30, "xmax": 70, "ymax": 60}
    drawn = draw_boxes(image, [{"score": 0.9, "label": "cat", "box": box}])
    changed = np.argwhere(np.asarray(drawn)[31:] != 255)  # below the label
    assert np.asarray(image).min() == 255
    assert (changed[:, 0].min(), changed[:, 0].max() + 31) == (0, 60)
    assert (changed[:, 1].min(), changed[:, 1].max()) == (20, 70)
    assert draw_boxes(image, []).tobytes() == image.tobytes()
