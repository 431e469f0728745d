"""KServe's own description of its objects: the models of its Python SDK, read without importing it.

The SDK's dependencies (a web server, cloud storage, Kubernetes' client) are many times what is needed here: its models
are Python files with two dicts each, so the wheel alone is unpacked into `.venv-triton/`, once.
"""

from __future__ import annotations

import ast
import fcntl
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SDK = "kserve==0.21.0"
HOME = Path(__file__).parents[2] / ".venv-triton"
SCALARS: dict[str, type] = {"str": str, "int": int, "bool": bool, "float": float}


@dataclass
class Model:
    """One type: `name: type` of its fields, in the spelling of the manifests, and which are required."""

    fields: dict[str, str] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)


def kserve_models() -> dict[str, Model]:
    """All of the SDK's models by class name; the wheel is fetched when it is not there."""
    target = HOME / SDK.replace("==", "-")
    HOME.mkdir(exist_ok=True)
    with (HOME / "kserve-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / "complete").exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
            subprocess.run([*pip, "--no-deps", "--upgrade", "--target", str(target), SDK], check=True)
            (target / "complete").touch()
    return dict(pair for path in (target / "kserve" / "models").glob("v1*.py") for pair in read_models(path))


def read_models(path: Path) -> Iterator[tuple[str, Model]]:
    """The classes of a file that describe an object."""
    source = path.read_text()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            dicts = {
                statement.targets[0].id: ast.literal_eval(statement.value)
                for statement in node.body
                if isinstance(statement, ast.Assign)
                and isinstance(statement.targets[0], ast.Name)
                and isinstance(statement.value, ast.Dict)
            }
            if "attribute_map" in dicts:
                names = dicts["attribute_map"]
                needed = re.findall(r"Invalid value for `(\w+)`, must not be `None`", source)
                types = {names[key]: kind for key, kind in dicts["openapi_types"].items()}
                yield node.name, Model(types, {names[key] for key in needed})


def faults(value: Any, kind: str, models: dict[str, Model], where: str = "") -> Iterator[str]:
    """What is wrong with a part of a manifest. Kubernetes' own types are left to others."""
    if kind.startswith("list["):
        if not isinstance(value, list):
            yield f"{where}: not a list"
            return
        for index, one in enumerate(value):
            yield from faults(one, kind[5:-1], models, f"{where}[{index}]")
    elif kind in SCALARS:
        if type(value) is not SCALARS[kind]:
            yield f"{where}: {value!r} is no {kind}"
    elif kind in models:
        yield from object_faults(value, models[kind], models, where)


def object_faults(value: Any, model: Model, models: dict[str, Model], where: str) -> Iterator[str]:
    """Unknown and missing fields, and what is wrong inside of the others."""
    yield from (f"{where}.{name}: unknown" for name in value.keys() - model.fields.keys())
    yield from (f"{where}.{name}: missing" for name in model.required - value.keys())
    for name in value.keys() & model.fields.keys():
        yield from faults(value[name], model.fields[name], models, f"{where}.{name}")
