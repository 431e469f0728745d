"""Weights that several graphs of a bundle use are kept alike in all of them: stored once, and the same numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir

from exporter.memory import drop_pages
from exporter.quantization.plan import Candidates
from exporter.quantization.rewrite import Recipe
from exporter.quantization.sites import sizes
from exporter.quantization.storage import Storage
from exporter.save import bytes_of

Key = bytes | str


@dataclass
class Shared:
    """What was decided for the weights of the graphs so far. several: whether more than one graph has any."""

    several: bool
    storage: dict[Key, Storage] = field(default_factory=dict)
    recipes: dict[Key, Recipe] = field(default_factory=dict)
    keys: dict[onnx_ir.Value, Key] = field(default_factory=dict)

    @classmethod
    def between(cls, found: Mapping[str, Candidates]) -> Shared:
        """For the graphs of a bundle."""
        return cls(sum(bool(graph.sites or graph.tables) for graph in found.values()) > 1)

    def agree(self, weights: Mapping[str, onnx_ir.Value], storage: Mapping[str, Storage]) -> dict[str, Storage]:
        """Weight -> how it is kept: as in the first graph that has it, else as in `storage`."""
        keys = {name: self._key(weights[name]) for name in storage}
        for name, kept in storage.items():
            self.storage.setdefault(keys[name], kept)
        return {name: self.storage[key] for name, key in keys.items()}

    def recipe(self, weight: onnx_ir.Value, make: Callable[[], Recipe]) -> Recipe:
        """That of the first graph: another one has other inputs to learn from, or none."""
        key = self._key(weight)
        if key not in self.recipes:
            self.recipes[key] = make()
        return self.recipes[key]

    def _key(self, weight: onnx_ir.Value) -> Key:
        """Equal for equal numbers in graphs of their own."""
        if weight not in self.keys:
            self.keys[weight] = digest(weight) if self.several else str(weight.name)
        return self.keys[weight]


def digest(weight: onnx_ir.Value) -> bytes:
    """Of the numbers of an initializer and its shape."""
    found = hashlib.sha256(str(sizes(weight)).encode())
    assert weight.const_value is not None
    found.update(bytes_of(weight.const_value))
    drop_pages()
    return found.digest()
