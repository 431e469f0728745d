"""Runs one measurement in a process of its own: `python -m benchmarks.worker MEASUREMENT JSON` prints JSON.

A fresh process a round: engines cannot disturb each other's threads, and peak memory means something.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def run(measurement: str, python: str = sys.executable, **arguments: Any) -> dict[str, float]:
    """Run `module:function` in a fresh process of `python` and return what it returns, with peak memory.

    Raises `RuntimeError` with what the process said when it fails.
    """
    command = [python, "-m", "benchmarks.worker", measurement, json.dumps(arguments)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{measurement} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    """Call the function named on the command line and print its figures."""
    module, function = sys.argv[1].split(":")
    figures = getattr(import_module(module), function)(**json.loads(sys.argv[2]))
    print(json.dumps({**figures, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """Most memory that this process has held, in MiB.

    From /proc where there is one: `ru_maxrss` of a child begins with what its parent held when it was started.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
