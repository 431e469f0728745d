"""Turns what went wrong with a request into that request's answer."""

from __future__ import annotations

import traceback
from typing import Any

import triton_python_backend_utils as pb_utils

from runtime.errors import CancelledError, CapacityError, InputError, PipelineException

# Their messages are about the request. Any other may hold paths or source lines: those stay in the server's log.
_ABOUT_THE_REQUEST = (InputError, CapacityError, PipelineException)


def failure(error: BaseException) -> Any:
    """The `InferenceResponse` that tells a client about `error`: INVALID_ARG, or INTERNAL without details.

    A client that is gone gets CANCELLED, which nobody reads.
    """
    if isinstance(error, CancelledError):
        pb_utils.Logger.log_info("a search was cancelled")
        return _response("the request was cancelled", pb_utils.TritonError.CANCELLED)
    if isinstance(error, _ABOUT_THE_REQUEST):
        return _response(str(error), pb_utils.TritonError.INVALID_ARG)
    pb_utils.Logger.log_error("".join(traceback.format_exception(error)))
    return _response("internal error; the server's log has the details", pb_utils.TritonError.INTERNAL)


def busy(limit: int) -> Any:
    """The answer when too many requests wait already: UNAVAILABLE, the code after which clients try again."""
    message = f"the server is busy: {limit} requests are running or waiting; try again later"
    return _response(message, pb_utils.TritonError.UNAVAILABLE)


def _response(message: str, code: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
