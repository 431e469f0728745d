"""The graphs in the ONNX Runtime of Triton's own backend, which is older than ours: they load, and compute the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from runtime.bundle import Bundle, open_bundle
from tests.accuracy.lab import Lab
from tests.integration import run_graphs

OLD = "1.27"
ROWS, LENGTH, CAPACITY = 2, 9, 32
# Activations are rounded to 8 bit inside of the kernels, so that the last bit of a sum can decide on a whole step.
QUANTISED = 0.1


@pytest.fixture(scope="session")
def old_python() -> Path:
    """The interpreter of a small environment with the old onnxruntime, made once in the user's cache directory."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onward-tests"
    venv = cache / f"onnxruntime-{OLD}-python{sys.version_info.major}.{sys.version_info.minor}"
    python = venv / "bin" / "python"
    if not (venv / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, f"onnxruntime=={OLD}.*", "numpy"], capture_output=True, text=True)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            pytest.skip(f"pip could not fetch onnxruntime {OLD}: {reason}")
        (venv / "complete").touch()
    return python


@dataclass
class Job:
    """Runs to be made by both versions, in folders of their own."""

    folder: Path
    runs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, graph: Path, feeds: dict[str, np.ndarray], carry: dict[str, str] | None = None) -> None:
        path = self.folder / f"feeds{len(self.runs)}.npz"
        np.savez(path, **feeds)
        self.runs.append({"graph": str(graph), "feeds": str(path), "carry": carry or {}})

    def described(self, name: str) -> dict[str, Any]:
        """The job for the version called `name`."""
        runs = [{**run, "outputs": str(self.folder / f"{name}{n}.npz")} for n, run in enumerate(self.runs)]
        return {"version": str(self.folder / f"{name}.txt"), "runs": runs}

    def outputs(self, name: str) -> Iterator[dict[str, np.ndarray]]:
        for number in range(len(self.runs)):
            yield dict(np.load(self.folder / f"{name}{number}.npz"))


def compare(job: Job, old_python: Path, tolerance: float = 2e-4) -> None:
    """Run the job with both versions; every output must agree."""
    run_graphs.main(job.described("new"))
    (job.folder / "job.json").write_text(json.dumps(job.described("old")))
    done = subprocess.run(
        [str(old_python), run_graphs.__file__, str(job.folder / "job.json")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (job.folder / "old.txt").read_text().startswith(f"{OLD}.")
    assert (job.folder / "new.txt").read_text() == onnxruntime.__version__
    for new, old in zip(job.outputs("new"), job.outputs("old"), strict=True):
        assert new.keys() == old.keys()
        for name, expected in new.items():
            assert np.isfinite(expected).all() and np.ptp(expected) > 0, f"{name} says nothing"
            np.testing.assert_allclose(old[name], expected, atol=tolerance, err_msg=name)


def test_classifier(classifier_bundle: Path, old_python: Path, tmp_path: Path) -> None:
    """A padded batch."""
    compare(classifier_job(classifier_bundle, tmp_path), old_python)


def classifier_job(path: Path, folder: Path) -> Job:
    bundle = open_bundle(path)
    ids = np.random.default_rng(0).integers(5, 2000, (ROWS, LENGTH))
    mask = np.ones_like(ids)
    mask[1, 4:] = 0
    known = {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    job = Job(folder)
    job.add(bundle.graph("model"), {spec.name: known[spec.name] for spec in bundle.manifest.graphs["model"].inputs})
    return job


def test_causal_lm(causal_lm_bundle: Path, old_python: Path, tmp_path: Path) -> None:
    """A prompt of two rows, then two steps that continue them from the cache of the step before."""
    compare(causal_lm_job(causal_lm_bundle, tmp_path), old_python)


def causal_lm_job(path: Path, folder: Path) -> Job:
    bundle = open_bundle(path)
    carry = {name: name.replace("past_key_values", "present") for name in empty_cache(bundle)}
    job = Job(folder)
    job.add(bundle.graph("model"), step_feeds(bundle, 0, LENGTH) | empty_cache(bundle))
    job.add(bundle.graph("model"), step_feeds(bundle, LENGTH, 1), carry)
    job.add(bundle.graph("model"), step_feeds(bundle, LENGTH + 1, 1), carry)
    return job


def test_quantised_graphs(
    causal_lm_checkpoint: Path, classifier_checkpoint: Path, old_python: Path, tmp_path: Path
) -> None:
    """Every operator of int8 and int4."""
    lm, classifier = Lab(causal_lm_checkpoint, tmp_path / "lm"), Lab(classifier_checkpoint, tmp_path / "classifier")
    for number, (make, bundle) in enumerate(
        ((causal_lm_job, lm("int8")), (causal_lm_job, lm("int4")), (classifier_job, classifier("int8")))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        compare(make(bundle, folder), old_python, QUANTISED)


def step_feeds(bundle: Bundle, past: int, count: int) -> dict[str, np.ndarray]:
    """Everything but the cache, for `count` tokens after `past` ones."""
    known = {
        "input_ids": np.random.default_rng(past).integers(1, 2000, (ROWS, count)),
        "position_ids": np.tile(np.arange(past, past + count), (ROWS, 1)),
        "logits_positions": np.full((ROWS, 1), count - 1),
        "seqlens_k": np.full(ROWS, past + count - 1, np.int32),
        "total_sequence_length": np.array(past + count, np.int32),
    }
    inputs = {spec.name for spec in bundle.manifest.graphs["model"].inputs}
    return {name: array for name, array in known.items() if name in inputs}


def empty_cache(bundle: Bundle) -> dict[str, np.ndarray]:
    """Zeroed keys and values by input name."""
    spec = bundle.manifest.cache
    assert spec is not None
    return {
        f"past_key_values.{layer}.{part}": np.zeros((ROWS, heads, CAPACITY, size), spec.dtype)
        for layer, (heads, size) in enumerate(spec.layers)
        for part in ("key", "value")
    }


@pytest.mark.parametrize("name", ["causal_lm_bundle", "classifier_bundle"])
def test_opset_and_ir_are_old_enough(name: str, request: pytest.FixtureRequest) -> None:
    """Opset 23 and IR 10 are the newest that the backend reads."""
    import onnx

    bundle = open_bundle(request.getfixturevalue(name))
    for graph in bundle.manifest.graphs:
        model = onnx.load(bundle.graph(graph), load_external_data=False)
        assert model.ir_version <= 10
        assert {item.domain: item.version for item in model.opset_import}[""] <= 23
