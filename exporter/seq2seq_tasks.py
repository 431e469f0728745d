"""What an encoder–decoder does for each of its tasks: generation parameters and the prefix put before a text.

transformers 5 dropped these pipelines; the rules are those of 4.57 (`pipelines/base.py`, `Pipeline.__init__`, and
`_default_generation_config` of `pipelines/text2text_generation.py`): 4 beams whatever the checkpoint says, 256 new
tokens unless it has a length of its own, then `config.task_specific_params`, which wins over everything.
"""

from __future__ import annotations

from typing import Any

from exporter.generation_config import resolve_generation
from runtime.generation.config import TASK_DEFAULTS, GenerationConfig
from runtime.pipelines.text2text_generation import ANY_PAIR

TASKS = ("text2text-generation", "summarization", "translation")
BEAMS, NEW_TOKENS = 4, 256


def resolve_tasks(model: Any, tokenizer: Any) -> dict[str, dict[str, Any]]:
    """Per task, language pair of the checkpoint, and any other pair: `{"generation": {...}, "prefix": "..."}`."""
    own = resolve_generation(model, tokenizer, "text2text-generation")
    own.pop(TASK_DEFAULTS, None)
    base = {**own, "num_beams": BEAMS}
    if own.get("max_length") in (None, 20):
        base = {**base, "max_new_tokens": NEW_TOKENS}
        base.pop("max_length", None)
    specific = getattr(model.config, "task_specific_params", None) or {}
    names = [*TASKS, ANY_PAIR, *(name for name in specific if name.startswith("translation_"))]
    prefix = getattr(model.config, "prefix", None) or ""
    return {name: merged(base, prefix, specific.get(parameters_of(name, specific)) or {}) for name in names}


def parameters_of(task: str, specific: dict[str, Any]) -> str:
    """The task whose parameters hold. "translation" without languages means the first pair that the checkpoint names.

    Source: transformers 4.57 `pipelines/__init__.py`, end of `pipeline()`.
    """
    pairs = (name for name in specific if name.startswith("translation"))
    return next(pairs, task) if task == "translation" else task


def merged(base: dict[str, Any], prefix: str, specific: dict[str, Any]) -> dict[str, Any]:
    """The task's own parameters over the others."""
    known = {key: value for key, value in specific.items() if key in GenerationConfig.__struct_fields__}
    return {"generation": {**base, **known}, "prefix": specific.get("prefix", prefix)}
