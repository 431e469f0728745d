"""Errors for people: one line that says what was wrong and what to do."""

from __future__ import annotations


class OnwardError(Exception):
    """A mistake the user can mend. The CLI prints its message alone, without a traceback, and exits with 1."""


class BundleError(OnwardError):
    """A bundle that is missing, damaged, altered, or written by a newer version."""


class ProviderError(OnwardError):
    """An execution provider that was asked for and is not active."""


class ExportError(OnwardError):
    """A checkpoint that cannot be exported as asked."""


class ValidationError(ExportError):
    """An export that does not reproduce its source model."""


class InputError(OnwardError, ValueError):
    """An input that the pipeline cannot take. Also a `ValueError`, as in HF's pipelines."""


class CapacityError(OnwardError):
    """A request refused because it does not fit in memory that was reserved up front (slots x max_length)."""


class CancelledError(OnwardError):
    """A call that ended because its `Cancellation` was told to."""


class PipelineException(OnwardError):
    """HF's `PipelineException(task, model, reason)` (transformers/pipelines/base.py)."""

    def __init__(self, task: str, model: str, reason: str) -> None:
        super().__init__(reason)
        self.task = task
        self.model = model
