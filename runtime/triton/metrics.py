"""What an engine does, on the server's metrics port: Prometheus families beside Triton's own `nv_inference_*`.

Labels are the model's name and version. The numbers are those of `runtime.generation.statistics`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import triton_python_backend_utils as pb_utils

_INTERVAL = 0.5  # seconds between looks at the engine; only what has changed is told to the server


@dataclass(frozen=True)
class Family:
    """A metric: its name, what it says, the field of the statistics, and whether it only grows."""

    name: str
    description: str
    field: str
    grows: bool = True


FAMILIES = (
    Family("onward_generated_tokens_total", "Tokens generated", "generated_tokens"),
    Family("onward_prompt_tokens_total", "Tokens of the prompts that got a slot", "prompt_tokens"),
    Family("onward_reused_tokens_total", "Prompt tokens found in a slot and not computed again", "reused_tokens"),
    Family("onward_prefix_hits_total", "Requests whose prompt began with what a slot held", "prefix_hits"),
    Family("onward_decode_steps_total", "Runs of the model that advanced sequences", "decode_steps"),
    Family("onward_requests_total", "Sequences submitted", "requests"),
    Family("onward_slots", "Sequences that can be under way at the same time", "slots", grows=False),
    Family("onward_active_slots", "Sequences under way", "active", grows=False),
    Family("onward_waiting_requests", "Sequences that wait for a slot", "waiting", grows=False),
)
FINISHED = ("onward_finished_total", "Sequences that ended, by reason")


class Publisher:
    """A thread that tells the server what `statistics` says."""

    def __init__(self, statistics: Callable[[], Any], labels: dict[str, str]) -> None:
        self._statistics = statistics
        self._labels = labels
        self._metrics = {family: new_metric(family, labels) for family in FAMILIES}
        self._finished_family = pb_utils.MetricFamily(
            name=FINISHED[0], description=FINISHED[1], kind=pb_utils.MetricFamily.COUNTER
        )
        self._finished: dict[str, Any] = {}
        self._told: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; the last numbers are told first."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self._publish()
        self._publish()

    def _publish(self) -> None:
        try:
            found = self._statistics()
            for family, (_, metric) in self._metrics.items():
                self._tell(family.field, metric, float(getattr(found, family.field)), family.grows)
            for reason, count in found.finished.items():
                self._tell(f"finished {reason}", self._of_reason(reason), float(count), grows=True)
        except Exception as error:  # metrics must not end what they are about
            pb_utils.Logger.log_error(f"metrics could not be published: {error}")

    def _tell(self, name: str, metric: Any, value: float, grows: bool) -> None:
        before = self._told.get(name, 0.0)
        if value != before:
            if grows:
                metric.increment(value - before)
            else:
                metric.set(value)
            self._told[name] = value

    def _of_reason(self, reason: str) -> Any:
        if reason not in self._finished:
            self._finished[reason] = self._finished_family.Metric(labels={**self._labels, "reason": reason})
        return self._finished[reason]


def new_metric(family: Family, labels: dict[str, str]) -> tuple[Any, Any]:
    """(family, metric): a family has to live as long as its metrics."""
    kind = pb_utils.MetricFamily.COUNTER if family.grows else pb_utils.MetricFamily.GAUGE
    made = pb_utils.MetricFamily(name=family.name, description=family.description, kind=kind)
    return made, made.Metric(labels=labels)
