"""The `parameters` of a `config.pbtxt`. Triton ignores keys that it does not know, so we check them ourselves."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from runtime.errors import InputError


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a repository's owner can set for one model; the defaults are what `export` relies on."""

    task: str = ""  # the bundle's, for clients to read; "" in exports that do not say it
    provider: str = "cpu"  # "cpu" or "cuda"
    threads: int | None = None  # intra-op threads; all cores of the server by default
    max_text_bytes: int = 1 << 20  # per text, in UTF-8

    def pipeline_options(self) -> dict[str, Any]:
        """Those that the pipeline's constructor takes."""
        # Polling threads take the cores from the server: measured on text-generation, 20 to 360 ms to a first event,
        # not 17 to 30.
        return {"provider": self.provider, "threads": self.threads, "spinning": False}


class GenerationSettings(Settings, frozen=True, forbid_unknown_fields=True):
    """Settings of text-generation."""

    slots: int | None = None  # sequences under way at the same time; with the next one this bounds the memory
    max_length_limit: int | None = None  # tokens that a sequence may hold; the model's context by default
    max_pending_requests: int = 128  # running and waiting; further ones are refused at once

    def pipeline_options(self) -> dict[str, Any]:
        """Those that the pipeline's constructor takes; it has its own defaults for what is not set."""
        limits = {"slots": self.slots, "max_length_limit": self.max_length_limit}
        return super().pipeline_options() | {name: value for name, value in limits.items() if value is not None}


class SentenceSettings(Settings, frozen=True, forbid_unknown_fields=True):
    """Settings of sentence-similarity."""

    similarity: str = "cosine"  # the bundle's, for clients that compare vectors themselves


class ImageSettings(Settings, frozen=True, forbid_unknown_fields=True):
    """Settings of the tasks that read images."""

    max_image_bytes: int = 32 << 20  # of a file
    max_image_pixels: int = 50_000_000  # decoded: three bytes each, and four times as much while it is processed


Kind = TypeVar("Kind", bound=Settings)


def read_settings(config: dict[str, Any], kind: type[Kind]) -> Kind:
    """Settings from a model config as Triton hands it to `initialize`. Raises `InputError` for what is unknown."""
    given = {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}
    try:
        # Triton's parameters are strings: numbers are read from their text.
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(kind.__struct_fields__)
        raise InputError(f"config.pbtxt, parameters: {error}; known are {known}") from error
