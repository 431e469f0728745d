"""Sessions: one for each file and process, and only with the provider that was asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from runtime import session
from runtime.errors import BundleError, ProviderError
from runtime.session import available_threads, check_provider, close_sessions, int8_saturates, open_session


def graph(path: Path, factor: float = 2.0) -> Path:
    """An ONNX file that multiplies its input."""
    text = f"""
        <ir_version: 8, opset_import: ["": 18]>
        g (float[n] x) => (float[n] y) {{
            f = Constant <value = float {{{factor}}}> ()
            y = Mul(x, f)
        }}
    """
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def answer(session: ort.InferenceSession) -> float:
    return float(session.run(None, {"x": np.ones(1, np.float32)})[0][0])


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_sessions()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return graph(tmp_path / "model.onnx")


def test_one_session_for_each_file(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_session(path)
    monkeypatch.chdir(tmp_path)
    assert open_session(Path("model.onnx")) is first
    assert open_session(path, threads=1) is not first
    assert open_session(path, spinning=False) is not first
    assert open_session(path, between_runs=False) is not first
    assert answer(first) == 2.0


@pytest.mark.parametrize(("spinning", "between_runs"), [(True, True), (True, False), (False, True)])
def test_how_threads_wait(path: Path, spinning: bool, between_runs: bool) -> None:
    options = open_session(path, spinning=spinning, between_runs=between_runs).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == str(int(spinning))
    assert options.get_session_config_entry("session.force_spinning_stop") == str(int(not between_runs))


def test_changed_file_is_opened_anew(path: Path) -> None:
    first = open_session(path)
    graph(path, 3.0)
    assert answer(open_session(path)) == 3.0
    assert answer(first) == 2.0


def test_closed_sessions_are_opened_anew(path: Path) -> None:
    first = open_session(path)
    close_sessions()
    assert open_session(path) is not first


def test_threads_that_open_together_share(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(lambda _: open_session(path), range(16)))
    assert len({id(session) for session in sessions}) == 1


def test_threads_are_the_cores_of_this_process(path: Path) -> None:
    assert available_threads() == len(os.sched_getaffinity(0))
    assert open_session(path).get_session_options().intra_op_num_threads == available_threads()
    assert open_session(path, threads=1).get_session_options().intra_op_num_threads == 1


def test_affinity_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert available_threads() == 1


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x08"])
def test_graph_that_is_none(tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "model.onnx"
    broken.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx cannot be loaded by onnxruntime") as caught:
        open_session(broken)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_unknown_provider(path: Path) -> None:
    with pytest.raises(ProviderError, match="unknown provider 'tpu': choose one of cpu, cuda"):
        open_session(path, provider="tpu")


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this onnxruntime has CUDA")
def test_provider_that_is_not_in_this_build(path: Path) -> None:
    with pytest.raises(ProviderError, match=r"'cuda' is not in this onnxruntime .*onward\[gpu\]"):
        open_session(path, provider="cuda")
    check_provider("cpu")


def test_provider_that_falls_back_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu without CUDA's libraries: the provider is listed, and the session silently runs on the CPU."""
    create = ort.InferenceSession
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])

    def fall_back(*args: object, providers: list[str]) -> ort.InferenceSession:
        assert providers[0] == "CUDAExecutionProvider"
        return create(*args, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(ort, "InferenceSession", fall_back)
    with pytest.raises(ProviderError, match=r"'cuda' did not start.*CUDA 13, cuDNN 9"):
        open_session(path, provider="cuda")


def test_failed_session_is_not_kept(path: Path) -> None:
    good = path.read_bytes()
    path.write_bytes(b"broken")
    with pytest.raises(BundleError):
        open_session(path)
    path.write_bytes(good)
    assert answer(open_session(path)) == 2.0


# ---- int8 on CPUs without VNNI


@pytest.mark.parametrize(
    ("machine", "flags", "saturates"),
    [
        ("x86_64", {"avx2", "fma"}, True),
        ("x86_64", {"avx2", "avx512f", "avx512bw"}, True),
        ("x86_64", {"avx2", "avx512f", "avx512_vnni"}, False),
        ("x86_64", {"avx2", "avx_vnni"}, False),
        ("AMD64", set(), True),  # Windows tells nothing: right, not fast
        ("aarch64", set(), False),
        ("arm64", {"asimddp"}, False),
    ],
)
def test_int8_saturation_by_cpu(machine: str, flags: set[str], saturates: bool) -> None:
    assert int8_saturates(machine, frozenset(flags)) == saturates


@pytest.mark.parametrize(("flags", "entry"), [({"avx2"}, "1"), ({"avx2", "avx512_vnni"}, None)])
def test_sessions_ask_for_exact_int8_where_it_saturates(
    path: Path, monkeypatch: pytest.MonkeyPatch, flags: set[str], entry: str | None
) -> None:
    monkeypatch.setattr(session, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    options = open_session(path).get_session_options()
    found = None
    with suppress(RuntimeError):  # raised for an entry that was never set
        found = options.get_session_config_entry("session.x64quantprecision")
    assert found == entry
    assert answer(open_session(path)) == 2.0
