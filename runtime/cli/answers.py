"""What `onward run` makes of a text for tasks that need more than one, and of answers that are one line each."""

from __future__ import annotations

import json
from typing import Any

from runtime.errors import InputError

# What the text is called, and the argument that goes with it: -o context="...".
COMPANIONS = {
    "question-answering": ("question", "context", True),
    "sentence-similarity": ("source_sentence", "sentences", False),
}
NAMES = ("label", "entity_group", "entity", "token_str", "answer")


def make_question(task: str, text: str, arguments: dict[str, Any]) -> Any:
    """The text, or a dict with it and its companion, which is taken from `arguments`."""
    if task not in COMPANIONS:
        return text
    name, companion, needed = COMPANIONS[task]
    if companion not in arguments:
        if needed:
            raise InputError(f"{task} needs a {companion} as well: pass -o {companion}='...'")
        return text
    return {name: text, companion: arguments.pop(companion)}


def line(item: Any) -> str:
    """`0.98  POSITIVE` for a scored record, one such line per label for a ranking, JSON for anything else."""
    if isinstance(item, dict) and {"labels", "scores"} <= item.keys():
        return "\n".join(f"{score:.4f}  {label}" for label, score in zip(item["labels"], item["scores"], strict=True))
    name = next((name for name in NAMES if isinstance(item, dict) and name in item), None)
    if name is None or "score" not in item:
        return json.dumps(item, ensure_ascii=False, default=float)
    rest = item["word"] if "word" in item else item.get("sequence", "")
    return f"{item['score']:.4f}  {item[name]}" + (f"  {rest}" if rest else "")
