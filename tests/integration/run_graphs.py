"""Runs graphs with whatever onnxruntime its interpreter has: `python run_graphs.py JOB.json`. Needs numpy besides.

A job: {"version": where to write the version, "runs": [{"graph", "feeds": .npz, "outputs": .npz, "carry": {...}}]}.
carry: inputs of a run that are outputs of the run before it, by name, as a language model's cache is.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort


def main(job: dict[str, Any]) -> None:
    """Run the job's graphs one after the other and write their outputs."""
    Path(job["version"]).write_text(ort.__version__)
    sessions: dict[str, ort.InferenceSession] = {}
    last: dict[str, np.ndarray] = {}
    for run in job["runs"]:
        graph = run["graph"]
        if graph not in sessions:
            sessions[graph] = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
        feeds = dict(np.load(run["feeds"])) | {name: last[source] for name, source in run["carry"].items()}
        names = [output.name for output in sessions[graph].get_outputs()]
        last = dict(zip(names, sessions[graph].run(names, feeds), strict=True))
        np.savez(run["outputs"], **last)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
