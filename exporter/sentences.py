"""What a sentence-transformers checkpoint declares beside its weights: pooling, normalisation, lengths, prompts.

Files and keys are those that sentence-transformers writes: `modules.json`, `1_Pooling/config.json`,
`sentence_bert_config.json`, `config_sentence_transformers.json`. A checkpoint without them is pooled by the mean of its
tokens, as sentence-transformers does it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporter.shards import read_json
from runtime.errors import ExportError
from runtime.pipelines.pooling import POOLINGS, SIMILARITIES

MODULES_FILE = "modules.json"
# As config.json of Pooling names them; with several, vectors stand side by side in this order.
POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def is_sentence_model(directory: Path) -> bool:
    """Whether sentence-transformers wrote this checkpoint."""
    return (directory / MODULES_FILE).is_file()


def sentence_facts(directory: Path) -> dict[str, Any]:
    """The manifest's `postprocess` for sentence-similarity: `pooling`, `normalize`, `similarity`, and where declared
    `max_seq_length`, `do_lower_case` and `prompt`.

    Raises `ExportError` for modules that have weights of their own (Dense) or that we do not know.
    """
    facts: dict[str, Any] = {"pooling": ["mean"], "normalize": False, "similarity": "cosine"}
    if not is_sentence_model(directory):
        return facts
    for module in _modules(directory):
        kind = module["type"].rsplit(".", 1)[-1]
        folder = directory / module["path"]
        if kind == "Transformer":
            facts |= _lengths(folder)
        elif kind == "Pooling":
            facts["pooling"] = _pooling(folder)
        elif kind == "Normalize":
            facts["normalize"] = True
        else:
            raise ExportError(f"{directory.name}: its module {kind} is not supported; Pooling and Normalize are")
    return facts | _prompt_and_similarity(directory)


def _modules(directory: Path) -> list[dict[str, Any]]:
    try:
        modules = json.loads((directory / MODULES_FILE).read_bytes())
        return [{"type": str(module["type"]), "path": str(module["path"])} for module in modules]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{directory / MODULES_FILE} cannot be read ({error}): save the checkpoint again") from error


def _pooling(folder: Path) -> list[str]:
    config = read_json(folder / "config.json")
    if "pooling_mode" in config:  # the spelling of newer releases
        chosen = config["pooling_mode"]
        modes = [chosen] if isinstance(chosen, str) else list(chosen)
    else:
        modes = [mode for key, mode in POOLING_KEYS.items() if config.get(key)]
    unknown = [mode for mode in modes if mode not in POOLINGS]
    if unknown or not modes:
        raise ExportError(f"{folder}: pooling {unknown or 'of no kind'} is not known; one of {', '.join(POOLINGS)}")
    return modes


def _lengths(folder: Path) -> dict[str, Any]:
    path = folder / "sentence_bert_config.json"
    config = read_json(path) if path.is_file() else {}
    names = ("max_seq_length", "do_lower_case")
    return {name: config[name] for name in names if config.get(name)}


def _prompt_and_similarity(directory: Path) -> dict[str, Any]:
    path = directory / "config_sentence_transformers.json"
    config = read_json(path) if path.is_file() else {}
    facts: dict[str, Any] = {}
    name = config.get("default_prompt_name")
    if name and config.get("prompts", {}).get(name):
        facts["prompt"] = config["prompts"][name]
    similarity = config.get("similarity_fn_name") or "cosine"
    if similarity not in SIMILARITIES:
        raise ExportError(f"{directory.name}: similarity {similarity!r} is not known; one of {', '.join(SIMILARITIES)}")
    return {**facts, "similarity": similarity}
