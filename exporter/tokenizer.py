"""Writes a tokenizer into a bundle and resolves what its HF class knows into the manifest."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import msgspec
from transformers import PreTrainedTokenizerBase, TokenizersBackend
from transformers.convert_slow_tokenizer import SLOW_TO_FAST_CONVERTERS, convert_slow_tokenizer

from exporter.piece_tokenizers import convert_pieces, piece_model
from runtime.bundle import TokenizerSpec
from runtime.errors import ExportError

TOKENIZER_FILE = "tokenizer.json"
# Above this HF takes `model_max_length` for "no limit" (tokenization_utils_base.py, LARGE_INTEGER).
_NO_LIMIT = 1e20


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, directory: Path) -> TokenizerSpec:
    """Save `tokenizer` into `directory` (tokenizer.json, tokenizer_config.json, chat templates) and describe it.

    It is saved again through HF, never copied: transformers 5 rebuilds most tokenizers from class code and config on
    loading, so the source's tokenizer.json may say something else. Tokenizers written in Python are converted where
    transformers knows how. Raises `ExportError` with the reason where it does not.
    """
    fast, unknown_from = (tokenizer, None) if _backend(tokenizer) is not None else _converted(tokenizer)
    # State of the last call, not part of the tokenizer; HF sets both anew in every call.
    _backend(fast).no_truncation()
    _backend(fast).no_padding()
    directory.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(directory)
    if not (directory / TOKENIZER_FILE).is_file():
        raise ExportError(f"{type(tokenizer).__name__} writes no {TOKENIZER_FILE}, which is all the runtime can read")
    spec = describe_tokenizer(fast)
    if fast is tokenizer:
        return spec
    # Tokenizers in Python clean up whatever their model is.
    return msgspec.structs.replace(spec, unknown_from=unknown_from, clean_up_on_decode=True)


def describe_tokenizer(tokenizer: PreTrainedTokenizerBase) -> TokenizerSpec:
    """The manifest's view of a tokenizer with a `tokenizers` backend: class attributes and config, resolved."""
    limit = tokenizer.model_max_length
    return TokenizerSpec(
        model_input_names=list(tokenizer.model_input_names),
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        model_max_length=None if limit is None or limit > _NO_LIMIT else int(limit),
        pad_token_id=tokenizer.pad_token_id,
        pad_token_type_id=tokenizer.pad_token_type_id,
        special_tokens=dict(tokenizer.special_tokens_map),
        extra_special_tokens=[str(token) for token in tokenizer.extra_special_tokens],
        split_special_tokens=bool(tokenizer.split_special_tokens),
        clean_up_tokenization_spaces=bool(tokenizer.clean_up_tokenization_spaces),
        clean_up_on_decode=_cleans_up(tokenizer),
        decode_word_suffix=_decode_word_suffix(tokenizer),
        chat_template=_template_files(tokenizer.chat_template),
        vocab_size=tokenizer.vocab_size,
    )


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    return getattr(tokenizer, "_tokenizer", None) if isinstance(tokenizer, TokenizersBackend) else None


def _converted(tokenizer: PreTrainedTokenizerBase) -> tuple[TokenizersBackend, int | None]:
    if piece_model(tokenizer) is not None:
        backend, unknown_from = convert_pieces(tokenizer)
        return TokenizersBackend(tokenizer_object=backend, **_call_settings(tokenizer)), unknown_from
    try:
        backend = convert_slow_tokenizer(tokenizer)
    except Exception as error:  # converters fail in their own ways: missing files, missing packages, unknown classes
        known = type(tokenizer).__name__ in SLOW_TO_FAST_CONVERTERS
        reason = " ".join(str(error).split()) if known else "transformers has no conversion for this class"
        raise ExportError(
            f"{type(tokenizer).__name__} exists only in Python and cannot become a {TOKENIZER_FILE}: {reason}"
        ) from error
    return TokenizersBackend(tokenizer_object=backend, **_call_settings(tokenizer)), None


def _call_settings(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What the converted tokenizer must take over besides the vocabulary."""
    names = ("padding_side", "truncation_side", "model_max_length", "model_input_names", "chat_template")
    return {
        **dict(tokenizer.special_tokens_map),
        "extra_special_tokens": list(tokenizer.extra_special_tokens),
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        **{name: getattr(tokenizer, name) for name in names},
    }


def _cleans_up(tokenizer: PreTrainedTokenizerBase) -> bool:
    # transformers 5 ignores the clean-up for BPE unless this flag insists (TokenizersBackend._decode).
    insists = tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
    return type(_backend(tokenizer).model).__name__ != "BPE" or bool(insists)


def _decode_word_suffix(tokenizer: PreTrainedTokenizerBase) -> str:
    # CLIPTokenizer replaces its backend's `decode` by a Python function that turns the suffix into spaces.
    backend = _backend(tokenizer)
    return str(backend.model.end_of_word_suffix or "") if inspect.isfunction(backend.decode) else ""


def _template_files(chat_template: str | dict[str, str] | None) -> dict[str, str]:
    """Template name -> file, as `save_chat_templates` writes them (tokenization_utils_base.py)."""
    if not chat_template:
        return {}
    names = ["default"] if isinstance(chat_template, str) else list(chat_template)
    return {
        name: "chat_template.jinja" if name == "default" else f"additional_chat_templates/{name}.jinja"
        for name in names
    }
