"""Pipelines that make several model inputs of one item: windows of a long text, one hypothesis per label.

Source of the behaviour: transformers 5.23 `pipelines/base.py` (`ChunkPipeline`) and `pt_utils.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from runtime.pipelines.base import batches, name_item
from runtime.pipelines.encoder import EncoderPipeline


class ChunkPipeline(EncoderPipeline):
    """`preprocess` yields model inputs, `forward` takes one of them, `postprocess` the list of an item's outputs.

    The last input of an item has `is_last` True. `batch_size` counts model inputs, so a batch may hold parts of
    several items, or a part of one.
    """

    def preprocess(self, inputs: Any, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """One item -> model inputs, one after the other."""
        raise NotImplementedError

    def postprocess(self, model_outputs: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """All outputs of an item -> the answer."""
        raise NotImplementedError

    def _run(self, items: Iterable[Any], batch_size: int, parameters: list[dict[str, Any]]) -> Iterator[Any]:
        pre, forward, post = parameters
        outputs: list[dict[str, Any]] = []
        for _, batch in batches(self._all_inputs(items, pre), batch_size):
            run = self._forward_batch(batch, **forward) if len(batch) > 1 else [self.forward(batch[0], **forward)]
            for output in run:
                outputs.append(output)
                if output["is_last"]:
                    yield self.postprocess(outputs, **post)
                    outputs = []

    def _all_inputs(self, items: Iterable[Any], kwargs: dict[str, Any]) -> Iterator[dict[str, Any]]:
        def prepare(item: Any, **options: Any) -> dict[str, Any]:
            return {"inputs": list(self.preprocess(item, **options))}

        for index, item in enumerate(items):
            yield from name_item(index, items, prepare, item, kwargs)["inputs"]
