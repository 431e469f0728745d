"""What the pipelines over one graph share: tokenizer and session, one forward pass, batches with padding.

Batches are padded on the tokenizer's side, and each item's outputs are cut back to its own tokens: an answer never
depends on the texts that shared its batch (HF leaves the padding in; `KEEPS_PADDING` does the same).
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import InputError
from runtime.pipelines.base import Pipeline
from runtime.tokenizer import Tokenizer

Arrays = dict[str, npt.NDArray[Any]]


class EncoderPipeline(Pipeline):
    """A pipeline whose model reads whole texts in one pass. Items are dicts of arrays `[1, ...]` and other values."""

    KEEPS_PADDING = False

    def forward(self, model_inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Run the graph: its inputs among `model_inputs`; everything is handed on, the graph's outputs are added."""
        return {**model_inputs, **self._run_graph({name: model_inputs[name] for name in self._input_names})}

    def _load(self) -> None:
        self.tokenizer = Tokenizer.from_bundle(self.bundle)
        self.graph = self.manifest.graphs["model"]
        self.session = self._open_session()
        self._input_names = [spec.name for spec in self.graph.inputs]

    def _parameters(self, kwargs: dict[str, Any]) -> list[dict[str, Any]]:
        """As the base's; an argument that the task does not have is an `InputError` (HF: a `TypeError`)."""
        if not kwargs:
            return super()._parameters(kwargs)
        known = signature(self._sanitize_parameters).parameters
        unknown = sorted(set(kwargs) - set(known))
        if unknown and not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values()):
            close = get_close_matches(unknown[0], list(known), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
            raise InputError(f"{self.task} has no argument {unknown[0]!r}: {hint}")
        return super()._parameters(kwargs)

    def _run_graph(self, feeds: Arrays) -> Arrays:
        names = [spec.name for spec in self.graph.outputs]
        outputs = self.session.run(names, feeds)
        return {name: output.astype(np.float32, copy=False) for name, output in zip(names, outputs, strict=True)}

    def _forward_batch(self, items: list[dict[str, Any]], **kwargs: Any) -> list[dict[str, Any]]:
        rows = [{name: item[name][0] for name in self._input_names} for item in items]
        outputs = self._run_graph(self.tokenizer.pad(rows))
        lengths = [item["input_ids"].shape[1] for item in items]
        return [
            {**item, **self._own_part(outputs, row, length)}
            for row, (item, length) in enumerate(zip(items, lengths, strict=True))
        ]

    def _own_part(self, outputs: Arrays, row: int, length: int) -> Arrays:
        """The outputs of one row of a batch, without those of its padding."""
        kept = slice(-length, None) if self.tokenizer.spec.padding_side == "left" else slice(length)
        parts = {}
        for spec in self.graph.outputs:
            part = outputs[spec.name][row : row + 1]
            has_tokens = len(spec.shape) > 1 and spec.shape[1] == "sequence"
            parts[spec.name] = part[:, kept] if has_tokens and not self.KEEPS_PADDING else part
        return parts

    def _check_length(self, ids: Sequence[int], advice: str) -> None:
        """Raise `InputError` when a text has more tokens than the model has positions."""
        limit = self.manifest.postprocess.get("max_positions")
        if limit and len(ids) > limit:
            raise InputError(f"the text has {len(ids)} tokens, the model takes {limit}: {advice}")
