"""A peer among the sides of a measurement."""

from __future__ import annotations

from typing import Any

from benchmarks import models
from benchmarks.peers.environment import MissingPeerError, interpreter
from benchmarks.turns import Side, reason
from benchmarks.worker import run


def peer_side(measurement: str, requirements: str, name: str, precision: str, /, **arguments: Any) -> Side:
    """`measurement` ("module:function" in `peers/`), its environment and model prepared.

    One that cannot be had says why in the table. arguments: what the measurement takes besides `model`.
    """
    module = measurement.partition(":")[0]
    try:
        python = interpreter(requirements)
        model = models.peer_model(module, python, name, precision)
    except (MissingPeerError, RuntimeError) as error:
        return Side(requirements, dict, missing=reason(error))
    return Side(requirements, lambda: run(f"benchmarks.peers.{measurement}", python=python, model=model, **arguments))
