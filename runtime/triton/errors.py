"""Errors of the serving side."""

from __future__ import annotations

from runtime.errors import OnwardError


class ServerError(OnwardError):
    """A server that is not installed, did not start, or could not load its models."""
