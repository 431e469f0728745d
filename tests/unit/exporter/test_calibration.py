"""Calibration data: every form that people have, and a clear word about what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from exporter.options import ExportOptions, check_options
from exporter.quantization.calibration import calibration_feeds
from exporter.quantization.request import Settings
from exporter.quantization.samples import read_samples
from runtime.errors import ExportError
from tests.unit.exporter.graphs import build

GRAPH = build(
    "(int64[batch, s] input_ids, int64[batch, s] attention_mask) => (int64[batch, s] y) "
    "{ y = Add(input_ids, attention_mask) }"
)
STEP = build(
    "(int64[batch, n] input_ids, int64[batch, m] logits_positions) => (int64[batch, m] y) "
    "{ y = GatherElements <axis = 1> (input_ids, logits_positions) }"
)


def test_a_decoder_is_asked_about_every_token(tmp_path: Path) -> None:
    """Its last layer is computed only where it is asked about: products learn from all of that."""
    samples = read_samples(write(tmp_path / "a.txt", "abcdef"))
    [feed] = calibration_feeds(reads_text(), {"model": STEP}, samples)["model"]
    np.testing.assert_array_equal(feed["logits_positions"], [range(6)])


PIXELS = build("(float[batch, 3, 8, 8] pixel_values) => (float[batch, 3, 8, 8] y) { y = Neg(pixel_values) }")


class Letters:
    """A tokenizer of letters."""

    model_max_length = 12

    def __call__(self, *texts: str, truncation: bool, max_length: int) -> dict[str, list[int]]:
        assert truncation
        ids = [ord(letter) for text in texts for letter in text][:max_length]
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}


def reads_text() -> Any:
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=16))
    model, row = SimpleNamespace(config=config), SimpleNamespace(name="t")
    return SimpleNamespace(tokenizer=Letters(), processor=None, row=row, model=model)


def reads_images() -> Any:
    def process(image: Image.Image, return_tensors: str) -> dict[str, np.ndarray]:
        array = np.asarray(image.resize((8, 8)), np.float32)
        return {"pixel_values": array.transpose(2, 0, 1)[None], "pixel_mask": np.ones((1, 8, 8), np.int64)}

    return SimpleNamespace(processor=process, tokenizer=None, row=SimpleNamespace(name="i"))


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.txt", "one\n\n two \n", ["one", "two"]),
        ("a.jsonl", '{"text": "one"}\n\n"two"\n', ["one", "two"]),
        ("a.jsonl", '{"question": "q", "context": "c", "id": 1}', [("q", "c")]),
        ("a.csv", 'label,sentence\n1,"a, b"\n', ["a, b"]),
        ("a.tsv", "premise\thypothesis\np\th\n", [("p", "h")]),
    ],
)
def test_texts(tmp_path: Path, name: str, content: str, texts: list[Any]) -> None:
    samples = read_samples(write(tmp_path / name, content))
    assert samples.texts == texts
    [feed, *_] = calibration_feeds(reads_text(), {"model": GRAPH}, samples)["model"]
    assert list(feed) == ["input_ids", "attention_mask"]
    assert feed["input_ids"].dtype == np.int64
    assert feed["input_ids"].shape[0] == 1


def test_texts_are_cut_at_the_limit_of_the_tokenizer(tmp_path: Path) -> None:
    samples = read_samples(write(tmp_path / "a.txt", "x" * 500))
    [feed] = calibration_feeds(reads_text(), {"model": GRAPH}, samples)["model"]
    assert feed["input_ids"].shape == (1, 12)


def test_images(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    Image.new("L", (5, 9)).save(tmp_path / "a.png")
    Image.new("RGBA", (7, 3)).save(tmp_path / "inner" / "b.webp")
    write(tmp_path / "notes.md", "no image")
    feeds = calibration_feeds(reads_images(), {"model": PIXELS}, read_samples(tmp_path))["model"]
    assert [feed["pixel_values"].shape for feed in feeds] == [(1, 3, 8, 8)] * 2


def test_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pixel_values=np.ones((4, 3, 8, 8), np.float32), other=np.ones(4))
    feeds = calibration_feeds(reads_images(), {"model": PIXELS}, read_samples(tmp_path / "a.npz"))["model"]
    assert [list(feed) for feed in feeds] == [["pixel_values"]] * 4


def test_built_in_inputs_do_for_probing() -> None:
    assert len(calibration_feeds(reads_text(), {"model": GRAPH}, None)["model"]) > 3
    assert calibration_feeds(reads_images(), {"model": PIXELS, "decoder": GRAPH}, None).keys() == {"model"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"pixel_values": np.ones((4, 3, 8, 9), np.float32)},
            r"is float32\[4, 3, 8, 9\], not float32\[batch, 3, 8, 8\]",
        ),
        ({"pixel_values": np.ones((4, 3, 8, 8))}, r"is float64\[4, 3, 8, 8\], not float32"),
        ({"pixel_values": np.ones((4, 3), np.float32)}, r"is float32\[4, 3\]"),
        ({"images": np.ones((4, 3, 8, 8), np.float32)}, "lacks the input 'pixel_values': it has images"),
    ],
)
def test_arrays_of_the_wrong_shape(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ExportError, match=message):
        calibration_feeds(reads_images(), {"model": PIXELS}, read_samples(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "\n\n", "is empty"),
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", "{", "cannot be read"),
        ("a.jsonl", '{"label": 1}', "has no column of texts: call it text or sentence"),
        ("a.csv", "label\n1\n", "has no column of texts"),
        ("a.parquet", "x", r"calibration data is \.jsonl"),
        ("a.npz", "x", "cannot be read"),
    ],
)
def test_files_that_say_nothing(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        read_samples(write(tmp_path / name, content))


def test_missing_files_and_directories_without_images(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no such file or directory"):
        read_samples(tmp_path / "nothing.txt")
    with pytest.raises(ExportError, match="is empty"):
        read_samples(tmp_path)


@pytest.mark.parametrize("arrays", [{"a": np.ones((0, 3))}, {"a": np.float32(1)}])
def test_empty_arrays(tmp_path: Path, arrays: dict[str, Any]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ExportError, match="has empty arrays"):
        read_samples(tmp_path / "a.npz")


def test_texts_for_a_model_of_images_and_the_other_way_round(tmp_path: Path) -> None:
    texts = read_samples(write(tmp_path / "a.txt", "text"))
    with pytest.raises(ExportError, match="i is calibrated with a directory of images or"):
        calibration_feeds(reads_images(), {"model": PIXELS}, texts)
    Image.new("L", (5, 9)).save(tmp_path / "a.png")
    with pytest.raises(ExportError, match="t is calibrated with texts"):
        calibration_feeds(reads_text(), {"model": GRAPH}, read_samples(tmp_path))


def test_damaged_image(tmp_path: Path) -> None:
    write(tmp_path / "a.png", "no image")
    with pytest.raises(ExportError, match=r"calibration image .*a\.png cannot be read"):
        calibration_feeds(reads_images(), {"model": PIXELS}, read_samples(tmp_path))


# ---- refused before anything is loaded


@pytest.mark.parametrize(
    ("precisions", "options", "message"),
    [
        (["fp16"], {"calibration_data": Path("x.txt")}, "changes nothing here, only int8 and int4 learn from it"),
        (["int8"], {"calibration_data": Path("x.txt")}, "no calibration data at x.txt"),
        (["int4"], {"quantization": Settings(method="gptq")}, "give some with --calibration-data FILE"),
        (["int4"], {"quantization": Settings(block_size=48)}, "--block-size 48 has no kernels"),
        (["int4"], {"quantization": Settings(method="awq")}, "unknown --int4-method 'awq'; one of rtn, hqq, gptq"),
        (["fp32", "bf16"], {}, r"--bf16 cannot run on cpu: .*MatMul, Gemm and Add; use --device cuda"),
        (["int3"], {}, "unknown precision 'int3'; one of fp32, fp16, bf16, int8, int4"),
    ],
)
def test_options_that_cannot_work(precisions: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        check_options(ExportOptions("nowhere", **options), precisions)


def test_the_cpu_provider_still_lacks_bfloat16() -> None:
    """The reason that bf16 is refused for; when this fails, a newer ONNX Runtime may have changed that."""
    import onnx_ir
    import onnxruntime as ort

    for op in ("MatMul", "Gemm", "Add"):
        model = build(f"(bfloat16[4, 4] x, bfloat16[4, 4] z) => (bfloat16[4, 4] y) {{ y = {op}(x, z) }}")
        with pytest.raises(Exception, match="Could not find an implementation"):
            ort.InferenceSession(onnx_ir.serde.serialize_model(model).SerializeToString())


def test_manifest_is_json() -> None:
    from exporter.quantization.plan import Report

    report = Report("s")
    report.weights.update({"4 bit": 3, "float": 1})
    report.kept["w"] = "why"
    assert json.loads(json.dumps(report.as_json())) == {
        "scheme": "s",
        "weights_percent": {"4 bit": 75.0, "float": 25.0},
        "kept": {"w": "why"},
    }
