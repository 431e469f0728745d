"""`options`: any argument of a task's pipeline, as one JSON object, for what has no tensor of its own.

It is also how `pipeline(task, "triton://...")` hands its arguments on. Two keys are no arguments: "task" asks for the
answer of another task that the same bundle does (a text2text-generation bundle also summarizes), and "item" says which
of its sender's items the first one is, for error messages.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from runtime.errors import InputError
from runtime.pipelines.registry import find_task, is_translation, load_class
from runtime.triton.tensors import texts

# What a client could make the server reserve memory for, and the most of it.
_LIMITS = {"num_beams": 64, "num_return_sequences": 64, "max_length": 1 << 17, "pad_to_multiple_of": 1 << 12}
# They are the request's own affair: how many items it has, and what these are.
_RESERVED = (
    "self",
    "batch_size",
    "num_workers",
    "inputs",
    "images",
    "text_inputs",
    "sequences",
    "sources",
    "X",
    "data",
)
_KEPT = 8  # pipelines for other tasks than the bundle's own; they share its sessions


def read_options(request: Any, max_bytes: int) -> dict[str, Any] | None:
    """The arguments in `options`, None without. Raises `InputError`."""
    found = read_json(request, "options", max_bytes)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise InputError('options must be a JSON object, such as {"top_k": 3}')
    for name in _RESERVED:
        if name in found:
            raise InputError(f"options cannot have {name!r}: leave it out")
    check_limits(found)
    return found


def read_json(request: Any, name: str, max_bytes: int) -> Any:
    """What the JSON text of a tensor says, the same in all rows; None without, or where it is empty."""
    values = texts(request, name, max_bytes)
    if not values or values[0] == "":
        return None
    if any(value != values[0] for value in values):
        raise InputError(f"{name} must be the same for all rows of a request; send the rows as separate requests")
    try:
        return json.loads(values[0])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not valid JSON: {error}") from error


def check_limits(options: dict[str, Any]) -> None:
    """Raise `InputError` for numbers that would have the server reserve memory without end."""
    for name, value in options.items():
        if isinstance(value, dict):
            check_limits(value)
        limit = _LIMITS.get(name)
        if limit is not None and isinstance(value, int | float) and value > limit:
            raise InputError(f"{name} is {value}; this server takes at most {limit}")


class Tasks:
    """The pipelines over one bundle: its own task's, and others that run on the same files."""

    def __init__(self, pipe: Any) -> None:
        self._own = pipe
        self._others: OrderedDict[str, Any] = OrderedDict()

    def __call__(self, task: str | None) -> Any:
        """The pipeline for a task. Raises `InputError` for one that the bundle does not do."""
        if task is None or task == self._own.task:
            return self._own
        if task not in self._others:
            self._others[task] = self._open(task)
        self._others.move_to_end(task)
        if len(self._others) > _KEPT:
            self._others.popitem(last=False)
        return self._others[task]

    def _open(self, task: str) -> Any:
        if not isinstance(task, str):
            raise InputError(f"task is a name, not {task!r}")
        entry, own = find_task(task), self._own
        exported = find_task(own.manifest.task).name
        if exported == entry.name and not is_translation(task):
            return own  # an alias
        if exported not in (entry.name, *entry.bundles):
            raise InputError(f"this model was exported for {exported}, not for {task}")
        name = task if is_translation(task) else entry.name
        settings = {"provider": own.provider, "threads": own.threads, "spinning": own.spinning}
        return load_class(entry)(own.bundle, task=name, **settings)
