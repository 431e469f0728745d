"""A checkpoint of transformers 5 for peers on transformers 4.57: the same weights, a config that both understand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path


def for_old_transformers(checkpoint: str, output: str) -> str:
    """A copy beside `output`, weights linked, with rotary settings and tokenizer class under their old names."""
    folder = Path(f"{output}-checkpoint")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in Path(checkpoint).iterdir():
        if file.suffix == ".safetensors":
            (folder / file.name).symlink_to(file.resolve())
        elif file.suffix in (".json", ".txt", ".jinja"):
            shutil.copy(file, folder / file.name)
    rewrite(folder / "config.json", old_config)
    rewrite(folder / "tokenizer_config.json", lambda raw: raw | {"tokenizer_class": "PreTrainedTokenizerFast"})
    return str(folder)


def old_config(raw: dict[str, object]) -> dict[str, object]:
    """`rope_parameters` became one setting and `torch_dtype` became `dtype` in transformers 5."""
    rope = raw.get("rope_parameters")
    theta = {"rope_theta": rope["rope_theta"]} if isinstance(rope, dict) and "rope_theta" in rope else {}
    return raw | theta | {"torch_dtype": raw.get("dtype", "float32")}


def rewrite(path: Path, change: object) -> None:
    """Change a JSON file in place; nothing to do when it is not there."""
    if path.is_file():
        path.write_text(json.dumps(change(json.loads(path.read_text())), indent=2))  # type: ignore[operator]
