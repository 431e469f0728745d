"""The task table of the runtime: one row a task. A new task is a file in this folder and a row here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from runtime.errors import InputError

if TYPE_CHECKING:
    from runtime.pipelines.base import Pipeline


@dataclass(frozen=True)
class TaskEntry:
    """A task's pipeline: `module:class`, loaded only when the task is used; what goes in and comes out, for people."""

    name: str
    pipeline: str
    aliases: tuple[str, ...]
    inputs: str
    outputs: str


TASKS = {
    entry.name: entry
    for entry in (
        TaskEntry(
            "text-classification",
            "runtime.pipelines.text_classification:TextClassificationPipeline",
            ("sentiment-analysis",),
            "text, list of texts, {text, text_pair}",
            "[{label, score}]",
        ),
        TaskEntry(
            "text-generation",
            "runtime.pipelines.text_generation:TextGenerationPipeline",
            ("causal-lm",),
            "text, list of texts, chat messages",
            "[{generated_text}]",
        ),
    )
}
ALIASES = {alias: entry.name for entry in TASKS.values() for alias in entry.aliases}


def find_task(name: str) -> TaskEntry:
    """The row of a task, by its name or an alias. Raises `InputError` that lists the tasks."""
    task = ALIASES.get(name, name)
    if task not in TASKS:
        raise InputError(f"unknown task {name!r}; available tasks: {', '.join([*TASKS, *ALIASES])}")
    return TASKS[task]


def load_class(entry: TaskEntry) -> type[Pipeline]:
    """Import the pipeline class of a row."""
    module, name = entry.pipeline.split(":")
    loaded: type[Pipeline] = getattr(import_module(module), name)
    return loaded
