"""Reads request tensors into Python values. What a client got wrong becomes an `InputError` that names the tensor.

Triton has compared names, dtypes and shapes with config.pbtxt before; here is only what it does not look into.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from runtime.errors import InputError


def array(request: Any, name: str) -> NDArray[Any] | None:
    """The tensor of that name, `[batch, ...]`; `None` when the request does not have it."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def texts(request: Any, name: str, max_bytes: int) -> list[str] | None:
    """All strings of a tensor, flat. Raises `InputError` for one that is too long or not UTF-8."""
    values = array(request, name)
    if values is None:
        return None
    return [_decode(value, f"{name}[{row}]", max_bytes) for row, value in enumerate(values.reshape(-1))]


def text(request: Any, name: str, max_bytes: int) -> str:
    """The one string of a required tensor."""
    values = texts(request, name, max_bytes)
    if not values:
        raise InputError(f"{name} is missing or empty")
    return values[0]


def scalar(request: Any, name: str) -> Any:
    """The one number or truth value of a tensor as a Python object; `None` when the request does not have it.

    Raises `InputError` when it has several values that differ, or a number that is not finite.
    """
    values = array(request, name)
    if values is None or values.size == 0:
        return None
    flat = values.reshape(-1)
    if not np.isfinite(flat).all():
        raise InputError(f"{name} must be a finite number")
    if (flat != flat[0]).any():
        raise InputError(f"{name} must be the same for all rows of a request; send the rows as separate requests")
    return _exact(flat[0])


def strings(name: str, values: list[str], shape: tuple[int, ...]) -> Any:
    """An output tensor of strings."""
    encoded = np.array([value.encode() for value in values], dtype=np.object_)
    return pb_utils.Tensor(name, encoded.reshape(shape))


def _exact(value: Any) -> Any:
    # 0.7 sent as FP32 is 0.699999988: its shortest text is what the client wrote.
    return float(str(value)) if isinstance(value, np.floating) else value.item()


def _decode(value: bytes, where: str, max_bytes: int) -> str:
    if len(value) > max_bytes:
        raise InputError(f"{where} has {len(value)} bytes; this server takes at most {max_bytes} bytes of text")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not valid UTF-8: {error.reason} at byte {error.start}") from error
