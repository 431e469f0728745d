"""The generation parameters of a checkpoint and its task, for the manifest.

Source: transformers 5.23, `pipelines/base.py` (`Pipeline.__init__`, `_prepare_generate_kwargs`) and the
`_default_generation_config` of its pipeline classes.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from runtime.errors import ExportError
from runtime.generation.config import TASK_DEFAULTS, GenerationConfig
from runtime.generation.parameters import UNSUPPORTED

# Parameters that choose how transformers computes or what it hands back, not which tokens come out.
WITHOUT_EFFECT_ON_TOKENS = frozenset(
    {
        "assistant_confidence_threshold",
        "assistant_lookbehind",
        "cache_config",
        "cache_implementation",
        "compile_config",
        "continuous_batching_config",
        "disable_compile",
        "is_assistant",
        "low_memory",
        "max_cache_len",
        "max_matching_ngram_size",
        "num_assistant_tokens",
        "num_assistant_tokens_schedule",
        "output_attentions",
        "output_hidden_states",
        "output_logits",
        "output_scores",
        "prefill_chunk_size",
        "prompt_lookup_num_tokens",
        "return_dict_in_generate",
        "speculation_type",
        "target_lookbehind",
        "use_cache",
        "use_mtp",
    }
)


def resolve_generation(model: Any, tokenizer: Any, task: str) -> dict[str, Any]:
    """The manifest's `generation`: what `runtime.generation.config.resolve` takes as `defaults`.

    The checkpoint's own parameters lie at the top. What HF's pipeline for `task` adds where neither user nor checkpoint
    set something lies under "task_defaults", because which of it applies depends on the user's parameters. Parameters
    that only steer transformers itself, and entries that no generation parameter is named like, are left out; those
    that change the tokens and are not implemented stay in, so that the runtime refuses them. JSON types only.
    Raises `ExportError` for a model that cannot generate.
    """
    from exporter.tracing.captioner import inner_parameters, steps_language_model

    found = getattr(model, "generation_config", None)
    if found is None or not model.can_generate():
        raise ExportError(f"{type(model).__name__} cannot generate text: export it for another task than {task}")
    values = {key: _plain(value) for key, value in found.to_diff_dict().items() if _is_kept(key, value)}
    if values.get("pad_token_id") is None and getattr(tokenizer, "pad_token_id", None) is not None:
        values["pad_token_id"] = tokenizer.pad_token_id
    positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(positions, int):
        values["max_position_embeddings"] = positions
    if task in DROPPED_DEFAULTS:
        values |= inner_parameters(model) if steps_language_model(model) else {}
        return values if values.get("max_length") not in (None, 20) else {**values, **DROPPED_DEFAULTS[task]}
    defaults = task_defaults(task)
    return {**values, TASK_DEFAULTS: defaults} if defaults else values


# Of pipelines that transformers 5 dropped: 4.57's `_default_generation_config` (pipelines/image_to_text.py). There they
# hold whatever the user passes, unless the checkpoint has a length of its own (`Pipeline.__init__`).
DROPPED_DEFAULTS = {"image-to-text": {"max_new_tokens": 256}}


def task_defaults(task: str) -> dict[str, Any]:
    """What the pipeline for `task` fills into gaps: of the installed transformers, if it still has that pipeline."""
    from transformers.pipelines import PIPELINE_REGISTRY

    entry = PIPELINE_REGISTRY.supported_tasks.get(PIPELINE_REGISTRY.task_aliases.get(task, task))
    if entry is None:
        return {}
    module, _, name = entry["impl"].rpartition(".")
    config = getattr(import_module(module), name)._default_generation_config
    if config is None:
        return {}
    return {key: _plain(value) for key, value in config.to_diff_dict().items() if _is_kept(key, value)}


def _is_kept(name: str, value: Any) -> bool:
    if name in UNSUPPORTED:
        return name not in WITHOUT_EFFECT_ON_TOKENS and value not in (None, *UNSUPPORTED[name])
    return name in GenerationConfig.__struct_fields__ and value is not None


def _plain(value: Any) -> Any:
    """JSON types: HF's dict from id tuples to biases as pairs, other objects by their `to_dict`."""
    if isinstance(value, dict) and any(isinstance(key, tuple) for key in value):
        value = [[list(key), bias] for key, bias in value.items()]
    return json.loads(json.dumps(value, default=lambda item: item.to_dict()))
