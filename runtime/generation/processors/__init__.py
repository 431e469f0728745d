"""HF's logits processors and warpers in numpy, for rows of different lengths."""

from runtime.generation.processors.base import Processor, Rows, apply_processors
from runtime.generation.processors.build import build_processors

__all__ = ["Processor", "Rows", "apply_processors", "build_processors"]
