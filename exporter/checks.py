"""What a loaded checkpoint must fulfil before it is worth tracing: weights there and finite, a matching tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from exporter.source import Source
from exporter.tasks import TaskRow
from runtime.errors import ExportError

# Any one group is enough for transformers to build a tokenizer. Without files, transformers 5 silently builds an
# empty one (five tokens), so their presence is checked first.
TOKENIZER_FILES: tuple[tuple[str, ...], ...] = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("*.model",),
    ("*.tiktoken",),
    ("source.spm", "vocab.json"),
    ("tekken.json",),
)


def has_tokenizer(directory: Path) -> bool:
    """Whether the files of some tokenizer are there."""
    return any(all(any(directory.glob(pattern)) for pattern in group) for group in TOKENIZER_FILES)


def check_complete(info: dict[str, Any], provided: Iterable[str], source: Source, row: TaskRow) -> None:
    """Refuse weights that transformers would have left random: missing or of another size than config.json says.

    `info` is `from_pretrained(..., output_loading_info=True)`'s second result (tied weights are not in it), `provided`
    the names that a PEFT adapter brings.
    """
    provided = set(provided)
    wrong = sorted(key for key in info["mismatched_keys"] if key[0] not in provided)
    if wrong:
        name, found, expected = wrong[0]
        raise ExportError(
            f"{source.id}: {name} has shape {list(found)} where config.json implies {list(expected)}"
            f"{_more(len(wrong))}: the weights belong to another config.json"
        )
    missing = sorted(set(info["missing_keys"]) - provided)
    if missing:
        shown = ", ".join(missing[:4]) + _more(len(missing), 4)
        raise ExportError(
            f"{source.id} has no weights for {shown}, {row.name} would run with random ones: give a checkpoint that "
            f"was fine-tuned for {row.name}"
        )
    if info["error_msgs"]:
        raise ExportError(f"{source.id} cannot be loaded: {str(info['error_msgs'][0]).splitlines()[0]}")


def _more(count: int, shown: int = 1) -> str:
    return f" and {count - shown} more" if count > shown else ""


def check_finite(model: Any, source: Source, dtype: str) -> None:
    """Refuse NaN or infinite parameters (and NaN buffers: masks may hold -inf), naming the first."""
    import torch

    for name, tensor in model.named_parameters():
        if tensor.numel() and tensor.is_floating_point() and not torch.isfinite(_extremes(tensor)).all():
            hint = f"; {dtype} may be too narrow for it, try bfloat16 or float32" if dtype == "float16" else ""
            raise ExportError(f"{source.id}: {name} holds NaN or infinite values{hint or ': the checkpoint is broken'}")
    for name, tensor in model.named_buffers():
        if tensor.numel() and tensor.is_floating_point() and torch.isnan(_extremes(tensor)).any():
            raise ExportError(f"{source.id}: {name} holds NaN values: the checkpoint is broken")


def _extremes(tensor: Any) -> Any:
    # aminmax propagates NaN and needs no temporary of the tensor's size.
    import torch

    return torch.stack(tensor.detach().aminmax())


def check_vocabulary(model: Any, tokenizer: Any, source: Source) -> None:
    """Refuse a tokenizer that can produce ids beyond the embedding's rows."""
    rows = embedding_rows(model)
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if rows is not None and largest >= rows:
        raise ExportError(
            f"{source.id}: the tokenizer has ids up to {largest} but the embedding has {rows} rows: call "
            "resize_token_embeddings() and save the model again, or give the tokenizer it was trained with"
        )


def embedding_rows(model: Any) -> int | None:
    """Rows of the input embedding, None for a model without one (character hashes, patches)."""
    try:
        weight = model.get_input_embeddings().weight
    except (NotImplementedError, AttributeError):
        return None
    return int(weight.shape[0]) if weight.dim() == 2 else None
