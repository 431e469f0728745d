"""The report: what it counts, what it draws, and that the page is one file that needs nothing else."""

from __future__ import annotations

import copy
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper

from exporter.report import plots
from exporter.report.graph import describe_graph, weight_bytes
from exporter.report.html import render
from exporter.report.latency import measure
from exporter.report.layers import LayerReference, compare_states, distance
from exporter.report.units import size
from exporter.report.workloads import Workload
from exporter.validation.causal_lm import Generated, generation_check
from exporter.validation.checks import ERROR_EXPONENTS, error_counts
from runtime.bundle import open_bundle

# ---- figures


def test_errors_are_counted_by_size() -> None:
    """As a share of the largest value, which is 100 here."""
    expected = np.array([[100.0, 1.0, 1.0, 1.0, 1.0]])
    found = expected + np.array([[0.0, 1e-8, 5e-4, 2.0, np.nan]])
    counts = dict(zip(ERROR_EXPONENTS, error_counts(expected, found), strict=True))
    assert sum(counts.values()) == 5
    assert counts[-9] == 2  # 0, and 1e-10 of 100
    assert counts[-5] == 1  # 5e-6: above 10^-5.5
    assert counts[-1.5] == 1  # 0.02: above 10^-2
    assert counts[ERROR_EXPONENTS[-1]] == 1  # NaN


def test_errors_of_more_rows_than_a_block() -> None:
    expected = np.ones((1000, 3))
    assert sum(error_counts(expected, expected + 1e-3)) == 3000


def test_agreement_by_position() -> None:
    expected = [Generated([1], [5, 6, 7], [9, 9, 9], {}), Generated([1], [5, 6], [9, 9], {})]
    precision: Any = SimpleNamespace(exact=False, agreement=0.0)
    assert generation_check("greedy", expected, [[5, 6, 7], [5, 6]], precision).curve == [1.0, 1.0, 1.0]
    assert generation_check("greedy", expected, [[5, 9, 7], [5, 6]], precision).curve == [1.0, 0.5, 0.0]


def quantised_model() -> onnx.ModelProto:
    """Two blocks of packed weights in 4 bits, and a MatMul that is left in float32."""
    packed = helper.make_tensor("packed", TensorProto.UINT8, [4, 1, 16], bytes(64), raw=True)
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], np.ones(4, np.float32).tobytes(), raw=True)
    plain = helper.make_tensor("plain", TensorProto.FLOAT, [4, 4], np.eye(4, dtype=np.float32).tobytes(), raw=True)
    nodes = [
        helper.make_node(
            "MatMulNBits", ["x", "packed", "scales"], ["y"], domain="com.microsoft", K=32, N=4, bits=4, block_size=32
        ),
        helper.make_node("MatMul", ["y", "plain"], ["z"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 4])]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, [packed, scales, plain])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def test_precision_map_names_packed_weights() -> None:
    model = onnx_ir.from_proto(quantised_model())
    found = describe_graph(model)
    assert {"op": "MatMulNBits", "type": "int4 weights", "count": 1} in found["operators"]
    assert {"op": "MatMul", "type": "float32", "count": 1} in found["operators"]
    assert found["fused"] == {"MatMulNBits": 1}
    assert weight_bytes([model]) == {"float32": 80, "int4, in blocks": 64}


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.50 GB")])
def test_sizes_for_people(count: float, text: str) -> None:
    assert size(count) == text


def test_further_tokens_leave_out_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a first token moves by 5 s and every other by 1 s."""
    clock = [0.0]
    monkeypatch.setattr("exporter.report.latency.time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def generate(count: int) -> None:
        clock[0] += 5 + (count - 1) if count else 3

    assert measure(generate, Workload("further", {}, new_tokens=17, further=True)).milliseconds == 1000
    assert measure(generate, Workload("first", {}, new_tokens=1)).milliseconds == 5000
    assert measure(generate, Workload("pass", {})).milliseconds == 3000


# ---- layers


def layered(tmp_path: Path, by: float) -> tuple[Path, LayerReference]:
    """x + 1, then x + 2 + `by`: and what the layers should say."""
    constants = [("one", 1.0), ("two", 2.0 + by)]
    weights = [helper.make_tensor(name, TensorProto.FLOAT, [1], [value]) for name, value in constants]
    nodes = [helper.make_node("Add", ["x", "one"], ["first"]), helper.make_node("Add", ["first", "two"], ["y"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])]
    inner = [helper.make_tensor_value_info("first", TensorProto.FLOAT, [2, 3])]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights, value_info=inner)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    return path, LayerReference("hidden states", {"x": x}, {"1": x + 1, "2": x + 3, "3": x[::-1] * 99})


def test_layers_are_found_by_their_values(tmp_path: Path) -> None:
    path, reference = layered(tmp_path, by=0.0)
    found = {entry["layer"]: entry["error"] for entry in compare_states(reference, reference.feeds, path)}
    assert found == {"1": 0.0, "2": 0.0, "3": None}


def test_a_layer_that_is_off_shows(tmp_path: Path) -> None:
    path, reference = layered(tmp_path, by=0.08)
    found = {entry["layer"]: entry["error"] for entry in compare_states(reference, reference.feeds, path)}
    assert found["1"] == 0.0
    assert found["2"] == pytest.approx(0.01, rel=1e-3)


def test_a_layer_of_which_one_row_is_left_is_found() -> None:
    """Graphs of classifiers compute the last layer for one position."""
    states = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    assert distance(states, states.reshape(-1)) == 0
    assert distance(states, states[:, 3].reshape(-1)) == 0
    assert 0.001 < distance(states, states[:, 0].reshape(-1) + 0.01) < 0.02
    assert distance(states, states[:, :2].reshape(-1)) == np.inf


# ---- plots


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def heights(svg: str) -> list[float]:
    return [float(part.attrib["height"]) for part in drawn(svg).iter("rect")]


def test_histogram() -> None:
    counts = [0] * len(ERROR_EXPONENTS)
    counts[2], counts[5] = 30, 10
    found = heights(plots.error_histogram(counts))
    assert found[2] == max(found)
    assert found[5] == pytest.approx(found[2] / 3, abs=0.2)
    assert "30 values (75.00%)" in plots.error_histogram(counts)


def test_layers_on_a_logarithmic_axis() -> None:
    layers = [{"layer": str(n), "error": error} for n, error in enumerate([1e-6, 1e-5, None, 1e-3])]
    found = heights(plots.layer_errors(layers))
    assert len(found) == 3  # the unknown one has no bar
    assert found[2] == pytest.approx(3 * found[1], rel=0.02)


@pytest.mark.parametrize("errors", [[], [0.0], [None], [0.0, 0.0], [1.0], [1e-7, math.inf]])
def test_layers_that_are_perfect_unknown_or_lost(errors: list[float | None]) -> None:
    drawn(plots.layer_errors([{"layer": str(n), "error": error} for n, error in enumerate(errors)]))


@pytest.mark.parametrize("curve", [[], [1.0], [1.0, 0.5, 0.0], [1.0] * 300])
def test_curve(curve: list[float]) -> None:
    assert len(list(drawn(plots.agreement(curve)).iter("circle"))) == len(curve)


# ---- the page


class Page(HTMLParser):
    """Collects what a page would load, and whether its tags close."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag in ("script", "link", "iframe", "img", "object"):
            self.loads.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{name}={value}" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(classifier_bundle: Path) -> dict[str, Any]:
    """What an export wrote."""
    found: dict[str, Any] = json.loads((classifier_bundle / "1" / "report.json").read_text(encoding="utf-8"))
    return found


def test_the_page_needs_nothing_else(report: dict[str, Any], classifier_bundle: Path) -> None:
    content = (classifier_bundle / "1" / "report.html").read_text(encoding="utf-8")
    page = Page(content)
    assert page.open == []
    assert page.loads == []
    assert not re.search(r"url\(|@import|https?:", content)
    assert report["manifest"]["architecture"] in content


def test_the_page_shows_what_was_measured(report: dict[str, Any]) -> None:
    content = render(report)
    assert "all 6 checks passed" in content
    assert "2 × MultiHeadAttention" in content
    assert content.count("<svg") == len(report["errors"]) + 1
    for name in report["sizes"]:
        assert name in content
    for check in report["checks"]:
        assert check["name"] in content


def test_figures_of_an_export(report: dict[str, Any], classifier_bundle: Path) -> None:
    assert [entry["layer"] for entry in report["layers"]] == ["0", "1", "2"]
    assert all(0 < entry["error"] < 1e-5 for entry in report["layers"])
    assert all(row["source_ms"] > 0 and row["bundle_ms"] > 0 for row in report["latency"])
    assert report["problems"] == {}
    assert set(report["errors"]) == {"logits"}
    graph = report["graphs"]["model"]
    assert graph["nodes"] == sum(entry["count"] for entry in graph["operators"])
    assert graph["nodes"] == sum(open_bundle(classifier_bundle).manifest.graphs["model"].nodes.values())


def test_names_are_escaped(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    changed["manifest"]["name"] = "<script>alert(1)</script>"
    changed["checks"][0]["detail"] = "<img src=x>"
    changed["layers"][0]["layer"] = "<svg onload=x>"
    page = Page(render(changed))
    assert page.loads == []


@pytest.mark.parametrize(("load", "shown"), [(0.5, True), (None, True), (9.0, False)])
def test_a_busy_machine_makes_no_headline(report: dict[str, Any], load: float | None, shown: bool) -> None:
    content = render({**report, "machine": {**report["machine"], "threads": 2, "load": load}})
    assert ("<small>Speed</small>" in content) is shown
    assert ("kept this machine busy" in content) is not shown


def test_a_report_without_validation(report: dict[str, Any]) -> None:
    kept = {key: value for key, value in report.items() if key not in ("layers", "layers_of", "latency", "problems")}
    content = render({**kept, "checks": [], "errors": {}, "agreement": {}, "accuracy": []})
    assert "Not validated" in content
    assert "<svg" not in content


def test_a_report_says_why_something_is_missing(report: dict[str, Any]) -> None:
    reasons = {"layers": "no counterpart", "latency": "it would not run"}
    content = render({**report, "layers": [], "latency": [], "problems": reasons})
    assert "no counterpart" in content
    assert "it would not run" in content


def test_what_was_quantised_and_what_was_not(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    assert "quantised" not in render(report)
    changed["manifest"]["provenance"]["quantisation"] = {
        "scheme": "weights in blocks of 32",
        "weights_percent": {"4 bit": 90.0, "8 bit": 10.0, "float": 0.0},
        "kept": {"lm_head <weight>": "loses 0.3 of its output in 4 bit"},
        "notes": ["tied table stored once"],
        "experts": "QMoE <all>",
    }
    changed["manifest"]["precision"] = "int4"
    assert "Answers like its source model" in render(report)
    content = render(changed)
    assert Page(content).open == []
    for words in (
        "weights in blocks of 32",
        "90 %",
        "lm_head &lt;weight&gt;",
        "loses 0.3",
        "tied table",
        "1 weight with more bits",
        "experts: QMoE &lt;all&gt;",
        "As close to its source model as int4 may be",
    ):
        assert words in content
