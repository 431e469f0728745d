"""Initializers that are computed when they are written, so that an export never holds a second copy of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir

KEPT = 2**16  # bytes: parts below are kept, in case they are asked for twice


class Parts:
    """Arrays that come out of one computation (codes, scales), made at the first request, let go once handed out."""

    def __init__(self, compute: Callable[[], Mapping[str, np.ndarray]]) -> None:
        self.compute = compute
        self.made: dict[str, np.ndarray] = {}

    def take(self, name: str) -> np.ndarray:
        """One of the arrays."""
        if name not in self.made:
            self.made = dict(self.compute())
        array = self.made[name]
        if array.nbytes > KEPT:
            del self.made[name]
        return array

    def value(self, name: str, label: str, dtype: onnx_ir.DataType, shape: tuple[int, ...]) -> onnx_ir.Value:
        """An initializer of that name, dtype and shape, `label` being the array's name here."""
        tensor = onnx_ir.LazyTensor(
            lambda: onnx_ir.Tensor(np.ascontiguousarray(self.take(label)).reshape(shape), dtype=dtype, name=name),
            dtype=dtype,
            shape=onnx_ir.Shape(shape),
            name=name,
        )
        return onnx_ir.Value(name=name, shape=onnx_ir.Shape(shape), type=onnx_ir.TensorType(dtype), const_value=tensor)
