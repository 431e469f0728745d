"""Which architectures transformers has a task's head for: `python -m exporter.architectures` writes the table.

The runtime may not import transformers, so the table is a file of its own, `runtime/pipelines/architectures.py`; a test
says when it is out of date.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import runtime.pipelines
from exporter.tasks import TASKS, TaskRow

TABLE = Path(runtime.pipelines.__file__).with_name("architectures.py")
HEADER = '''"""Model types that transformers {version} has a task's head for; by `python -m exporter.architectures`.

Not a promise: an export says whether its checkpoint's own code can be reproduced, and proves it.
"""

# ruff: noqa: SIM905 (lists of strings would take a line for each)
ARCHITECTURES: dict[str, tuple[str, ...]] = {{
'''


def architectures(row: TaskRow) -> list[str]:
    """Model types, in order of the alphabet; for tasks of a bare model, those that are pretrained as text encoders."""
    import transformers

    auto_class = "AutoModelForMaskedLM" if row.auto_class == "AutoModel" else row.auto_class
    return sorted(getattr(transformers, auto_class)._model_mapping._model_mapping)


def source() -> str:
    """The table as Python."""
    import transformers

    tables = [entry(name, architectures(row)) for name, row in sorted(TASKS.items())]
    return HEADER.format(version=transformers.__version__) + "".join(tables) + "}\n"


def entry(task: str, names: list[str]) -> str:
    """One task of the table, wrapped."""
    lines = textwrap.wrap(" ".join(names), 100, break_long_words=False, break_on_hyphens=False)
    text = "\n".join(f'            "{line}{" " if index + 1 < len(lines) else ""}"' for index, line in enumerate(lines))
    return f'    "{task}": tuple(\n        (\n{text}\n        ).split()\n    ),\n'


if __name__ == "__main__":
    TABLE.write_text(source(), encoding="utf-8")
    print(TABLE)
