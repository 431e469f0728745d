"""What a server says when it refuses, as the errors that the local pipeline raises."""

from __future__ import annotations

import re

from runtime.errors import CapacityError, InputError, OnwardError, PipelineException
from runtime.triton.errors import ServerError

# Messages of refusals that another try may not meet: our own, and Triton's for a full queue or a model that reloads.
_BUSY = re.compile(r"the server is busy|[Ee]xceeds maximum queue size|no available versions|is not ready")
_BROKEN = "internal error"
_PIPELINE = re.compile(r"no mask token in the text")


class ServerTimeoutError(ServerError, TimeoutError):
    """A request that took longer than `request_timeout`."""


class TryAgainError(Exception):
    """A failure that may pass: the server is busy, restarting, or not reachable. No model has run for this request."""

    def __init__(self, error: OnwardError) -> None:
        super().__init__(str(error))
        self.error = error

    def final(self) -> OnwardError:
        """The error once all tries are spent."""
        return self.error


def refusal(message: str, server: str, where: str = "") -> OnwardError | TryAgainError:
    """The error for a model's own refusal. where: the architecture's place in HF's PipelineException."""
    if _BUSY.search(message):
        return TryAgainError(CapacityError(f"{server}: {message}"))
    if message.startswith(_BROKEN):
        return ServerError(f"{server}: {message}")
    if _PIPELINE.search(message):
        return PipelineException("fill-mask", where, message)
    return InputError(message)


def unreachable(server: str, reason: str) -> TryAgainError:
    """Nobody answers."""
    why = " ".join(reason.split())[:200]
    return TryAgainError(
        ServerError(f"no Triton server answers at {server} ({why}): is it running, and is the port right?")
    )


def timed_out(server: str, seconds: float | None) -> ServerTimeoutError:
    """It took too long."""
    return ServerTimeoutError(f"{server} did not answer within {seconds:g} seconds: pass a larger request_timeout")


def denied(server: str, message: str) -> ServerError:
    """Authentication failed."""
    return ServerError(f"{server} denies access ({message or 'no reason given'}): pass token=... or headers={{...}}")


def not_found(server: str, model: str, message: str) -> ServerError:
    """No such model or version."""
    return ServerError(f"{server} serves no model {model!r}: {message}")
