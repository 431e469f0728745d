"""Both ends of Triton: the model that a server loads (`TritonPythonModel`) and the server that we start (`server`)."""

from runtime.triton.backend import TritonPythonModel

__all__ = ["TritonPythonModel"]
