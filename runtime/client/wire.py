"""Tensors as the KServe v2 protocol writes them: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.triton.errors import ServerError

DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


def dtype_name(array: NDArray[Any]) -> str:
    """The protocol's name of an array's dtype; arrays of bytes objects are "BYTES"."""
    return "BYTES" if array.dtype == np.object_ else _NAMES[array.dtype]


def encode(array: NDArray[Any]) -> bytes:
    """Little-endian values in C order; strings behind their lengths."""
    if array.dtype != np.object_:
        return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return b"".join(struct.pack("<I", len(value)) + value for value in array.reshape(-1))


def decode(content: bytes, dtype: str, shape: list[int]) -> NDArray[Any]:
    """The array of a tensor. Raises `ServerError` for content that does not fit its shape."""
    if dtype != "BYTES":
        if dtype not in DTYPES:
            raise ServerError(f"the server answered with a tensor of {dtype}, which this client does not read")
        return np.frombuffer(content, np.dtype(DTYPES[dtype]).newbyteorder("<")).astype(DTYPES[dtype]).reshape(shape)
    values, place = [], 0
    while place < len(content):
        (length,) = struct.unpack_from("<I", content, place)
        values.append(content[place + 4 : place + 4 + length])
        place += 4 + length
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array.reshape(shape)
