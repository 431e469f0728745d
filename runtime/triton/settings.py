"""The `parameters` of a `config.pbtxt`. Triton ignores keys that it does not know, so we check them ourselves."""

from __future__ import annotations

from typing import Any

import msgspec

from runtime.errors import InputError


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a repository's owner can set for one model; the defaults are what `export` relies on."""

    provider: str = "cpu"  # "cpu" or "cuda"
    max_text_bytes: int = 1 << 20  # per text, in UTF-8
    max_pending_requests: int = 128  # text-generation: running and waiting; further ones are refused at once


def read_settings(config: dict[str, Any]) -> Settings:
    """Settings from a model config as Triton hands it to `initialize`. Raises `InputError` for what is unknown."""
    given = {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}
    try:
        # Triton's parameters are strings: numbers are read from their text.
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InputError(
            f"config.pbtxt, parameters: {error}; known are {', '.join(Settings.__struct_fields__)}"
        ) from error
