"""Which way products are computed in 8 bit is timed, and the clearly faster one is taken."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.quantization import integer, speed
from exporter.quantization.integer import quantize_8_bit
from exporter.quantization.request import Request, Settings
from exporter.quantization.speed import Timing, time_products, within
from tests.unit.exporter.graphs import build, ops

WEIGHT = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
STEP = """(float[b, 64] x, float[b, 2] "past_key_values.0.key") => (float[b, 96] y) { y = MatMul(x, w) }"""
EVEN = {1: 10.0, 8: 20.0, 128: 100.0}
FASTER, SLOWER = {1: 5.0, 8: 18.0, 128: 95.0}, {1: 8.0, 8: 22.0, 128: 140.0}


def test_both_ways_are_timed() -> None:
    timing = time_products([(1024, 2048), (2048, 1024)], (1, 16))
    assert timing is not None
    for found in (timing.dynamic, timing.weights):
        assert list(found) == [1, 16]
        assert 0 < found[1] < found[16]
    assert f"for 1, 16 rows: integer products {timing.dynamic[1]:.1f}" in timing.sentence()
    assert set(timing.as_json()) == {"dynamic", "weights alone"}


def test_a_small_model_is_not_timed() -> None:
    assert time_products([(1024, 1024)], (1,)) is None


def test_weights_that_are_timed_are_limited() -> None:
    sizes = [(1000, 1000)] * 5
    assert within(sizes, 3_500_000) == sizes[:3]
    assert within(sizes, 10) == sizes[:1]


@pytest.mark.parametrize(("weights", "preferred"), [(FASTER, True), (SLOWER, False), (EVEN, False)])
def test_what_is_clearly_faster_is_taken(
    weights: dict[int, float], preferred: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def timed(sizes: list[speed.Size], rows: tuple[int, ...]) -> Timing:
        asked.append((sizes, rows))
        return Timing(EVEN, weights)

    monkeypatch.setattr(integer, "time_products", timed)
    model = build(STEP, w=WEIGHT)
    report = quantize_8_bit({"model": model}, Request())
    assert asked == [([(64, 96)], (1, 8, 128))]
    assert ops(model) == (["MatMulNBits"] if preferred else ["DynamicQuantizeMatMul"])
    assert report.scheme.startswith("weight-only" if preferred else "dynamic")
    assert report.as_json()["milliseconds"]["dynamic"] == {"1 rows": 10.0, "8 rows": 20.0, "128 rows": 100.0}


@pytest.mark.parametrize(
    "request_", [Request(settings=Settings(int8_method="dynamic")), Request(calibrated=True), Request(device="cuda")]
)
def test_where_nothing_is_to_choose_nothing_is_timed(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer, "time_products", lambda *_: pytest.fail("timed"))
    quantize_8_bit({"model": build(STEP, w=WEIGHT)}, request_)
