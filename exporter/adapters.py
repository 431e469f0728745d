"""PEFT adapters: what their weights bring, and merging them into the base model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exporter.shards import ADAPTER_WEIGHTS, read_header
from exporter.source import CONFIG, Source
from runtime.errors import ExportError

PREFIX = "base_model.model."  # peft.utils.save_and_load: how a PeftModel names its base model's modules
HEADS = ("classifier.weight", "score.weight", "classifier.out_proj.weight", "classification_head.out_proj.weight")


def adapter_shapes(source: Source) -> dict[str, list[int]]:
    """Parameter name in the base model -> shape, of all tensors in the adapter (LoRA matrices included)."""
    header = read_header(Path(source.location) / ADAPTER_WEIGHTS)
    return {name.removeprefix(PREFIX): list(entry["shape"]) for name, entry in header.items()}


def config_directory(source: Source) -> str:
    """Directory whose config.json describes the merged model: the adapter's if it has one, else the base's."""
    if source.base is None or (Path(source.location) / CONFIG).is_file():
        return source.location
    return source.base.location


def fit_labels(config: Any, source: Source) -> None:
    """Set `config.num_labels` from the head that the adapter brings; adapter_config.json does not say it."""
    if (Path(source.location) / CONFIG).is_file():
        return
    for name, shape in adapter_shapes(source).items():
        if name.endswith(HEADS) and len(shape) == 2 and shape[0] != config.num_labels:
            config.num_labels = shape[0]


def merge(model: Any, source: Source) -> Any:
    """The base `model` with the adapter's weights merged in. Raises `ExportError` for one that cannot be merged."""
    from peft import PeftModel

    _fit_embeddings(model, source)
    adapted = PeftModel.from_pretrained(model, source.location)
    if not hasattr(adapted, "merge_and_unload"):
        kind = adapted.active_peft_config.peft_type
        raise ExportError(f"adapter {source.id} ({kind!s}) cannot be merged: only adapters like LoRA can be exported")
    return adapted.merge_and_unload(safe_merge=True)


def _fit_embeddings(model: Any, source: Source) -> None:
    """Resize the embedding to the one that the adapter brings: training with added tokens grows it."""
    embedding = model.get_input_embeddings().weight
    name = next(name for name, parameter in model.named_parameters() if parameter is embedding)
    rows = adapter_shapes(source).get(name, list(embedding.shape))[0]
    if rows != embedding.shape[0]:
        model.resize_token_embeddings(rows)
