"""Loads a checkpoint through transformers' Auto classes, and refuses what would not be the model it claims to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.adapters import adapter_shapes, config_directory, fit_labels, merge
from exporter.checks import TOKENIZER_FILES, check_complete, check_finite, check_vocabulary, has_tokenizer
from exporter.idle_weights import idle_weights
from exporter.image_processor import has_image_processor
from exporter.piece_tokenizers import piece_model
from exporter.quiet import quiet
from exporter.shards import read_json
from exporter.source import Source
from exporter.tasks import TaskRow
from runtime.errors import ExportError, OnwardError, ProviderError

DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: `model` in eval mode with eager attention, adapters merged, all weights finite."""

    model: Any  # transformers.PreTrainedModel
    config: Any  # transformers.PretrainedConfig
    tokenizer: Any  # transformers.PreTrainedTokenizerFast; None when the task reads no text
    source: Source
    row: TaskRow
    processor: Any = None  # transformers.BaseImageProcessor, its PIL variant; None when the task reads no images


def load_config(source: Source, trust_remote_code: bool = False, token: str | None = None) -> Any:
    """The checkpoint's `PretrainedConfig`. Raises `ExportError` for an architecture that transformers does not know."""
    from transformers import CONFIG_MAPPING, AutoConfig

    directory = config_directory(source)
    raw = read_json(Path(directory) / "config.json")
    if not trust_remote_code and raw.get("model_type") not in CONFIG_MAPPING:
        raise ExportError(_unknown_architecture(raw, source))
    with quiet(), _load_errors(source, "config.json"):
        config = AutoConfig.from_pretrained(directory, trust_remote_code=trust_remote_code, token=token)
    if getattr(config, "quantization_config", None):
        raise ExportError(f"{source.id} is quantised already: give the checkpoint it was made from")
    if source.kind == "peft":
        fit_labels(config, source)
    return config


def _unknown_architecture(raw: dict[str, Any], source: Source) -> str:
    if "auto_map" in raw:
        return f"{source.id} brings its own model code: read it, then pass --trust-remote-code to run it"
    import transformers

    known = f"transformers {transformers.__version__}"
    return f"{source.id}: model_type {raw.get('model_type')!r} is not known to {known}: check config.json"


def load_checkpoint(
    source: Source,
    row: TaskRow,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    trust_remote_code: bool = False,
    token: str | None = None,
) -> Checkpoint:
    """Load `source` for the task of `row` in `dtype` ("float32", "float16", "bfloat16") on `device`.

    Raises `ExportError` for weights that are missing, of wrong size, NaN or infinite, and for a tokenizer that is
    missing or too large; `ProviderError` for a device that is not there. Prints nothing.
    """
    check_device(device)
    if dtype not in DTYPES:
        raise ExportError(f"unknown dtype {dtype!r}; one of {', '.join(DTYPES)}")
    config = load_config(source, trust_remote_code, token)
    tokenizer = load_tokenizer(source, trust_remote_code, token) if "text" in row.modality else None
    processor = load_image_processor(source, trust_remote_code, token) if "image" in row.modality else None
    model = _load_model(source, row, config, dtype, trust_remote_code, token)
    check_finite(model, source, dtype)
    if tokenizer is not None:
        check_vocabulary(model, tokenizer, source)
    return Checkpoint(model.eval().to(device), model.config, tokenizer, source, row, processor)


def check_device(device: str) -> None:
    """Raise `ProviderError` unless torch can use `device` ("cpu", "cuda", "cuda:N")."""
    import torch

    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise ProviderError(f"unknown device {device!r}: use cpu, cuda or cuda:N")
    if kind == "cuda" and torch.version.cuda is None:
        raise ProviderError(f"torch {torch.__version__} is built without CUDA: install a CUDA build, or use cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ProviderError(f"no NVIDIA GPU or driver for CUDA {torch.version.cuda} (see nvidia-smi): use cpu")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise ProviderError(f"no GPU {index}: there are {torch.cuda.device_count()}, counted from 0")


def load_tokenizer(source: Source, trust_remote_code: bool = False, token: str | None = None) -> Any:
    """The checkpoint's fast tokenizer; that of an adapter's base model when the adapter has none."""
    from transformers import AutoTokenizer

    places = [place for place in (source, source.base) if place is not None]
    directory = next((p.location for p in places if has_tokenizer(Path(p.location))), None)
    if directory is None:
        wanted = ", or ".join(" with ".join(group) for group in TOKENIZER_FILES[:4])
        raise ExportError(f"{source.id} has no tokenizer: {wanted} must be there; save it with save_pretrained()")
    with quiet(), _load_errors(source, "its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=trust_remote_code, token=token)
    if not tokenizer.is_fast and piece_model(tokenizer) is None:
        kind = type(tokenizer).__name__
        raise ExportError(f"{source.id}: {kind} has no fast version; onward needs one that writes tokenizer.json")
    return tokenizer


def load_image_processor(source: Source, trust_remote_code: bool = False, token: str | None = None) -> Any:
    """The checkpoint's image processor in its PIL variant, whose steps the runtime reproduces bit for bit."""
    from transformers import AutoImageProcessor

    places = [place for place in (source, source.base) if place is not None]
    directory = next((p.location for p in places if has_image_processor(Path(p.location))), None)
    if directory is None:
        raise ExportError(
            f"{source.id} has no preprocessor_config.json: save its image processor with save_pretrained()"
        )
    with quiet(), _load_errors(source, "its image processor"):
        return AutoImageProcessor.from_pretrained(
            directory, backend="pil", trust_remote_code=trust_remote_code, token=token
        )


def _load_model(
    source: Source, row: TaskRow, config: Any, dtype: str, trust_remote_code: bool, token: str | None
) -> Any:
    import transformers

    auto_class = getattr(transformers, row.auto_class)
    adapter = source if source.kind == "peft" else None
    with quiet(), _load_errors(source, row.auto_class):
        model, info = auto_class.from_pretrained(
            (source.base or source).location,
            config=config,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # reported by check_complete, with the name
            output_loading_info=True,
            trust_remote_code=trust_remote_code,
            token=token,
        )
        provided = adapter_shapes(adapter) if adapter else ()
        check_complete(info, {*provided, *idle_weights(model, info["missing_keys"], row)}, source, row)
        return merge(model, adapter) if adapter else model


@contextmanager
def _load_errors(source: Source, what: str) -> Iterator[None]:
    """One line instead of a traceback through transformers, which raises every kind of exception for bad files."""
    try:
        yield
    except (OnwardError, MemoryError):
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise ExportError(f"{source.id} cannot be loaded ({what}): {reason}") from error
