"""ONNX Runtime sessions: the provider that was asked for or an error, one session per file and process."""

from __future__ import annotations

import os
import platform
import threading
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime as ort

from runtime.errors import BundleError, ProviderError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
X86 = ("x86_64", "amd64", "i386", "i686", "x86")
VNNI = {"avx512_vnni", "avx_vnni"}
_sessions: dict[tuple[Any, ...], ort.InferenceSession] = {}
_lock = threading.Lock()


def available_threads() -> int:
    """Cores that this process may use (its CPU affinity, not the machine's size)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_session(
    path: Path, provider: str = "cpu", threads: int | None = None, spinning: bool = True, between_runs: bool = True
) -> ort.InferenceSession:
    """The process-wide session of one ONNX file; opening the same unchanged file again returns the same session.

    provider: "cpu" or "cuda". threads: intra-op threads, all cores of this process by default. spinning: threads poll
    for work between operators: right for a loop that decodes, wrong under a server with many small requests.
    between_runs: whether they go on for a while after a run, which a loop of runs in close succession wants.
    Raises `ProviderError` when the provider is not really active, `BundleError` when the graph cannot be loaded.
    """
    check_provider(provider)
    stamp = path.stat()
    key = (str(path.resolve()), stamp.st_mtime_ns, stamp.st_size, provider, threads, spinning, between_runs)
    with _lock:
        if key not in _sessions:
            _sessions[key] = _create_session(path, provider, threads, spinning, between_runs)
        return _sessions[key]


def open_graph(model: bytes, provider: str) -> ort.InferenceSession:
    """The process-wide session of a small graph that is not in a file; one thread, which does not poll for work."""
    check_provider(provider)
    with _lock:
        if (model, provider) not in _sessions:
            _sessions[model, provider] = _create_session(model, provider, 1, False)
        return _sessions[model, provider]


def close_sessions() -> None:
    """Forget every open session, so that their memory is given back once nothing else holds them."""
    with _lock:
        _sessions.clear()


def check_provider(provider: str) -> None:
    """Raise `ProviderError`, naming the missing library, when `provider` cannot work here."""
    if provider not in PROVIDERS:
        raise ProviderError(f"unknown provider {provider!r}: choose one of {', '.join(PROVIDERS)}")
    if PROVIDERS[provider] not in ort.get_available_providers():
        raise ProviderError(
            f"provider {provider!r} is not in this onnxruntime {ort.__version__} (it has "
            f"{', '.join(ort.get_available_providers())}): pip uninstall onnxruntime, then pip install 'onward[gpu]'"
        )


def _create_session(
    source: Path | bytes, provider: str, threads: int | None, spinning: bool, between_runs: bool = True
) -> ort.InferenceSession:
    model = source if isinstance(source, bytes) else str(source)
    options = session_options(threads, spinning, between_runs)
    try:
        session = ort.InferenceSession(model, options, providers=_provider_chain(provider))
    except Exception as error:  # ORT raises a family of unrelated classes
        name = "a graph" if isinstance(source, bytes) else source.name
        raise BundleError(f"{name} cannot be loaded by onnxruntime {ort.__version__}: {_one_line(error)}") from error
    if PROVIDERS[provider] not in session.get_providers():
        raise ProviderError(
            f"provider {provider!r} did not start, onnxruntime fell back to {', '.join(session.get_providers())}: "
            "its libraries (CUDA 13, cuDNN 9) are missing; pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )
    return session


def _provider_chain(provider: str) -> list[str]:
    """CUDA keeps the CPU behind it for the few shape operators that only exist there."""
    return [PROVIDERS[provider]] if provider == "cpu" else [PROVIDERS[provider], PROVIDERS["cpu"]]


def session_options(threads: int | None, spinning: bool, between_runs: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or available_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.add_session_config_entry("session.force_spinning_stop", "0" if between_runs else "1")
    if int8_saturates(platform.machine(), cpu_flags()):
        # int8 weights become uint8, whose slower kernels are exact.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def int8_saturates(machine: str, flags: frozenset[str]) -> bool:
    """Whether onnxruntime's products of uint8 and int8 overflow 16 bits on this CPU: x86 without VNNI instructions.

    Unknown flags (an empty set) count as a CPU without. On a CPU with VNNI the remedy would cost half the speed for
    nothing, and onnxruntime itself does not tell the two apart (MlasPlatformU8S8Overflow, as of 1.31).
    """
    return machine.lower() in X86 and not flags & VNNI


@cache
def cpu_flags() -> frozenset[str]:
    """What Linux says that the CPU can do; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
