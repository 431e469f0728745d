"""`pipeline()`: HF's facade over a bundle. One file a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.bundle import open_bundle
from runtime.client.address import is_address
from runtime.errors import InputError
from runtime.pipelines.base import Pipeline
from runtime.pipelines.registry import find_task, is_translation, load_class

__all__ = ["Pipeline", "pipeline"]


def pipeline(
    task: str | None = None,
    model: str | Path | None = None,
    *,
    provider: str | None = None,
    device: str | int | None = None,
    threads: int | None = None,
    version: int | None = None,
    verify: bool = True,
    **kwargs: Any,
) -> Pipeline:
    """Open a bundle and wrap it in the pipeline of its task: the contract of `transformers.pipeline`.

    task: a task name or alias; None takes the bundle's own. model: path of a bundle (`model_repository/gpt2`).
    provider: "cpu" or "cuda"; `device` is HF's spelling of the same ("cpu", "cuda", "cuda:0", -1, 0).
    threads: intra-op threads. version: of the bundle, the newest by default. verify: check every file's sha256.
    spinning (a keyword as well, True): threads poll for work while the model runs, which is fastest on cores of its own
    and wrong where others need them; a server (`onward serve`) leaves it out.
    kwargs: call arguments that hold for every call, as in HF; `batch_size` too.

    model may also be the address of a served bundle: triton://host:8001/name[/version] (gRPC, needs tritonclient) or
    triton+http://host:8000/name[/version]; with TLS tritons:// and tritons+http://. The answers are those of the local
    pipeline. kwargs then take headers, token, request_timeout, retries, ssl_ca, ssl_cert and ssl_key as well.

    Raises `InputError` (a `ValueError`) for a task that the bundle does not do, `BundleError`, `ProviderError`.

    >>> pipe = pipeline("sentiment-analysis", "model_repository/tiny-bert-sentiment")
    >>> pipe("I love this!")
    [{'label': 'POSITIVE', 'score': 0.99}]
    """
    if model is None:
        raise InputError("pipeline() needs `model`: the path of a bundle, such as model_repository/gpt2")
    if is_address(model):
        settings = {"provider": provider, "device": device, "threads": threads, "version": version}
        refuse_settings({name for name, value in settings.items() if value is not None})
        return open_remote(task, str(model), **kwargs)
    bundle = open_bundle(model, version, verify)
    entry = find_task(task or bundle.manifest.task)
    if find_task(bundle.manifest.task).name not in (entry.name, *entry.bundles):
        raise InputError(
            f"{model} was exported for {bundle.manifest.task}, not for {task}: export the checkpoint for {entry.name}"
        )
    name = task if task and is_translation(task) else entry.name
    return load_class(entry)(bundle, provider=provider_name(provider, device), threads=threads, task=name, **kwargs)


def open_remote(task: str | None, address: str, **kwargs: Any) -> Pipeline:
    """The pipeline of a served model; what talks to servers is imported only now."""
    from runtime.client.open import open_remote as opened

    return opened(task, address, **kwargs)


def refuse_settings(names: set[str]) -> None:
    """Raise `InputError` for settings of a local session that a served model cannot follow."""
    if names:
        listed = ", ".join(sorted(names))
        raise InputError(
            f"{listed}: the server decides that; leave it out (a version stands in the address: .../name/2)"
        )


def provider_name(provider: str | None, device: str | int | None) -> str:
    """Onward's provider for HF's `device`: -1 and "cpu" mean "cpu", numbers and "cuda[:n]" mean "cuda"."""
    if provider is not None:
        return provider
    if device is None or device == -1 or str(device) == "cpu":
        return "cpu"
    if isinstance(device, int) or str(device).partition(":")[0] == "cuda":
        return "cuda"
    raise InputError(f"unknown device {device!r}: use 'cpu' or 'cuda'")
