"""Branches on whether float16 has overflowed: tracing follows the one that clamps, which changes nothing else.

Encoders of BART's family say `if hidden_states.dtype == torch.float16 and not torch.isfinite(hidden_states).all():` and
clamp then (transformers/models/bart/modeling_bart.py; T5's wrote the same without a branch). A graph has no such
branch, and clamping what is finite changes only what lies within 1000 of the largest float16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

# What a test says of each number, and how such tests are summed up -> what the summary says of an overflow.
TESTS = {torch.isfinite: False, torch.isinf: True}
SUMMARIES = {torch.Tensor.all: False, torch.all: False, torch.Tensor.any: True, torch.any: True}


class OverflowBranches(TorchFunctionMode):  # type: ignore[misc]
    """Answers `if` on the summary of such a test with "it has overflowed", for float16; everything else as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.said: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """See `torch.overrides`."""
        if func is torch.Tensor.__bool__ and args[0] in self.said:
            return self.said[args[0]]
        result = func(*args, **(kwargs or {}))
        if func in TESTS and args and args[0].dtype == torch.float16:
            self.said[result] = TESTS[func]
        elif func in SUMMARIES and args and args[0] in self.said and self.said[args[0]] == SUMMARIES[func]:
            self.said[result] = SUMMARIES[func]
        return result
