"""Downloads from the Hugging Face Hub: only what an export needs, into the shared cache, errors that say what to do."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from exporter.shards import ADAPTER_WEIGHTS, INDEX, WEIGHTS, weight_map
from runtime.errors import ExportError

# Configuration, tokenizer and remote-code files. Patterns are fnmatch's, where `*` also matches "/".
SMALL_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py"]
# Sub-folders hold duplicates (onnx/, original/, ...); `additional_chat_templates/` is the one that transformers reads.
SUBFOLDERS = ["[!a]*/*", "a[!d]*/*"]


def download(repo_id: str, revision: str | None, token: str | None) -> Path:
    """Fetch a checkpoint (or adapter) into the hub cache: `<cache>/models--*/snapshots/<commit>`.

    `HF_TOKEN`, `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` act as everywhere in huggingface_hub.
    Raises `ExportError` when it is not there, not allowed, or not reachable and not cached.
    """
    with hub_errors(repo_id, revision), _quiet_unless_terminal():
        directory = _snapshot(repo_id, revision, token, SMALL_FILES)
        _snapshot(repo_id, directory.name, token, _weight_patterns(directory))
        if (directory / "modules.json").is_file():  # sentence-transformers: what follows the model
            _snapshot(repo_id, directory.name, token, ["[0-9]*_*/*.json"], ignored=[])
    return directory


def listing(repo_id: str, revision: str, token: str | None) -> list[str]:
    """Names of all files of a hub repository; empty when the hub cannot be asked."""
    from huggingface_hub import HfApi

    with suppress(Exception):  # only makes another error's message more precise
        return list(HfApi(token=token).list_repo_files(repo_id, revision=revision))
    return []


def _snapshot(
    repo_id: str, revision: str | None, token: str | None, patterns: list[str], ignored: list[str] = SUBFOLDERS
) -> Path:
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(
            repo_id, revision=revision, token=token, allow_patterns=patterns, ignore_patterns=ignored, max_workers=4
        )
    )


def _weight_patterns(directory: Path) -> list[str]:
    if (directory / "adapter_config.json").is_file():
        return [ADAPTER_WEIGHTS]
    if (directory / INDEX).is_file():
        return sorted(set(weight_map(directory).values()))
    return [WEIGHTS]


@contextmanager
def _quiet_unless_terminal() -> Iterator[None]:
    """Progress bars only where a person looks at them; no log lines of huggingface_hub."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    verbosity, hide = logging.get_verbosity(), not sys.stderr.isatty() and not are_progress_bars_disabled()
    logging.set_verbosity_error()
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if hide:
            enable_progress_bars()


@contextmanager
def hub_errors(repo_id: str, revision: str | None) -> Iterator[None]:
    """Turn the exceptions of huggingface_hub into `ExportError`s of one line."""
    try:
        yield
    except ExportError:
        raise
    except Exception as error:
        message = _explain(error, repo_id, revision)
        if message is None:
            raise
        raise ExportError(message) from error


def _explain(error: Exception, repo_id: str, revision: str | None) -> str | None:
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return f"no directory {repo_id!r}, and it is no Hugging Face Hub id (owner/name): check the path"
    if isinstance(error, errors.GatedRepoError):  # before RepositoryNotFoundError, its base class
        page = f"https://huggingface.co/{repo_id}"
        return f"{repo_id} is gated: accept its licence at {page} and set HF_TOKEN to a token of that account"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"no directory {repo_id!r} and no such model on the Hugging Face Hub: check the spelling, or set HF_TOKEN "
            "if the model is private"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo_id} has no revision {revision!r} on the Hugging Face Hub: give a branch, tag or commit of it"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return _unreachable(repo_id, error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full while downloading {repo_id}: free space, or point HF_HOME to another disk"
    if isinstance(error, errors.HfHubHTTPError):
        return f"the Hugging Face Hub refused {repo_id} ({_first_line(error)}): try again, or give a local directory"
    return _unreachable(repo_id, error) if _is_transport_error(error) else None


def _unreachable(repo_id: str, error: Exception) -> str:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return (
            f"{repo_id} is not (wholly) in the cache {os.fspath(constants.HF_HUB_CACHE)} and HF_HUB_OFFLINE is set: "
            "unset it, or give a local directory"
        )
    cause = _first_line(error.__cause__ or error)
    return (
        f"the Hugging Face Hub cannot be reached ({cause}) and {repo_id} is not in the cache: check the network, or "
        "give a local directory (HF_HUB_OFFLINE=1 skips the network for cached models)"
    )


def _is_transport_error(error: Exception) -> bool:
    # huggingface_hub moved from requests to httpx to httpx2 and lets their connection errors through.
    roots = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return bool(roots & {"requests", "httpx", "httpx2"})


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
