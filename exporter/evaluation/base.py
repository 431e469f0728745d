"""What an evaluator of a task is, and what it reads: examples made of rows, with the labels that the model knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.evaluation.columns import Role
from exporter.evaluation.data import Table
from exporter.loading import Checkpoint
from runtime.errors import InputError

BATCH = 8


@dataclass(frozen=True)
class Example:
    """What is asked, and what would be right (None where the source model alone says that)."""

    inputs: Any
    gold: Any = None


@dataclass(frozen=True)
class Sheet:
    """Rows with a column for each role. config: the checkpoint's, for its labels."""

    table: Table
    columns: Mapping[str, str]
    config: Any

    def __len__(self) -> int:
        return len(self.table.rows)

    def get(self, index: int, role: str) -> Any:
        """The cell of a role."""
        return self.table.value(index, self.columns[role])

    def text(self, index: int, role: str) -> str:
        """A cell that must be a text."""
        value = self.get(index, role)
        if not isinstance(value, str):
            raise InputError(f"{self.where(index)}: the {role} must be a text, not {type(value).__name__}")
        return value

    def label(self, index: int, value: Any, role: str) -> str:
        """The model's name for a label: given by name, by number, or by the number of a class of the data set."""
        names = [str(self.config.id2label[number]) for number in range(self.config.num_labels)]
        own = self.table.class_names.get(self.columns[role], [])
        if own and set(own) <= set(names) and is_number(value) and 0 <= int(value) < len(own):
            return own[int(value)]
        if str(value) in names:
            return str(value)
        if is_number(value) and 0 <= int(value) < len(names):
            return names[int(value)]
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        raise InputError(f"{self.where(index)}: the model has no label {value!r}, it knows {shown}")

    def number(self, index: int, role: str) -> float:
        """A cell that must be a number."""
        try:
            return float(self.get(index, role))
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.where(index)}: {self.get(index, role)!r} is no number") from error

    def where(self, index: int) -> str:
        """For messages."""
        return f"{self.table.path}, row {index + 1}"


def is_number(value: Any) -> bool:
    """An int, or a text that spells one."""
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, str) and value.isdecimal()))


@dataclass(frozen=True)
class Evaluator:
    """How accuracy is measured for a task.

    examples: of a sheet; raises `InputError` for golds that the model cannot know. ask_source, ask_bundle: one answer
    for each example. score: metrics by name from (answers, examples, the source's answers), higher is better except
    for those in `relative`, which must not grow by more than a share.
    """

    roles: tuple[Role, ...]
    examples: Callable[[Sheet], list[Example]]
    ask_source: Callable[[Checkpoint, Sequence[Example]], list[Any]]
    ask_bundle: Callable[[Any, Sequence[Example]], list[Any]]
    score: Callable[[Sequence[Any], Sequence[Example], Sequence[Any]], dict[str, float]]
    relative: frozenset[str] = frozenset()


def source_pipeline(task: str, checkpoint: Checkpoint) -> Any:
    """HF's own pipeline over the checkpoint."""
    from transformers import pipeline

    return pipeline(task, model=checkpoint.model, tokenizer=checkpoint.tokenizer, image_processor=checkpoint.processor)


def images_of(sheet: Sheet, index: int) -> Any:
    """A PIL image of a data set, or the path of one beside the file."""
    value = sheet.get(index, "image")
    if not isinstance(value, str):
        return value
    if "://" in value:
        raise InputError(f"{sheet.where(index)}: {value} is no file; download the images first")
    path = sheet.table.path.parent / value
    if not path.is_file():
        raise InputError(f"{sheet.where(index)}: no image at {path}")
    return str(path)


TEXT = Role(
    "text",
    ("sentence", "content", "document", "review", "comment", "comment_text", "body", "premise", "sentence1", "input"),
)
LABEL = Role("label", ("labels", "gold", "target", "class", "category", "sentiment", "intent"))
IMAGE = Role("image", ("img", "picture", "path", "file", "file_name", "image_path"))
