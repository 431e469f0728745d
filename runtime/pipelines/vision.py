"""What the pipelines over one image share: loading, the image steps, one forward pass, batches of equal sizes."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import BundleError, InputError
from runtime.images import ImageProcessor, load_image
from runtime.pipelines.base import Pipeline

Arrays = dict[str, npt.NDArray[Any]]


class VisionPipeline(Pipeline):
    """A pipeline whose model reads one image in one pass.

    In a batch, images that have different sizes after the image steps run in groups of one size each, never padded to
    fit together: an answer does not depend on its neighbours. (HF stops with a `RuntimeError` there.)
    """

    def __call__(self, inputs: Any = None, **kwargs: Any) -> Any:
        # HF's older name of the argument, which it still takes.
        inputs = kwargs.pop("images", inputs)
        if inputs is None:
            raise InputError(f"{self.task} needs an image: pipe(image)")
        return super().__call__(inputs, **kwargs)

    def preprocess(self, inputs: Any, timeout: float | None = None) -> dict[str, Any]:
        """Load an image and run the image steps: `pixel_values` float32 `[1, 3, height, width]`, and the mask."""
        return dict(self.processor(load_image(inputs, timeout)))

    def forward(self, model_inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Run the graph; what is no input of it is handed on, the graph's outputs are added as float32."""
        feeds = {name: model_inputs[name] for name in self._input_names}
        rest = {name: value for name, value in model_inputs.items() if name not in ("pixel_values", "pixel_mask")}
        return {**rest, **self._run_graph(feeds)}

    def _load(self) -> None:
        if self.manifest.image is None:
            raise BundleError(f"{self.bundle.directory} has no image steps in its manifest: export it again")
        self.processor = ImageProcessor(self.manifest.image)
        self.graph = self.manifest.graphs["model"]
        self.session = self._open_session()
        self._input_names = [spec.name for spec in self.graph.inputs]

    def _run_graph(self, feeds: Arrays) -> Arrays:
        names = [spec.name for spec in self.graph.outputs]
        outputs = self.session.run(names, feeds)
        return {name: output.astype(np.float32, copy=False) for name, output in zip(names, outputs, strict=True)}

    def _forward_batch(self, items: list[dict[str, Any]], **kwargs: Any) -> list[dict[str, Any]]:
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, item in enumerate(items):
            groups.setdefault(item["pixel_values"].shape, []).append(index)
        answers: dict[int, dict[str, Any]] = {}
        for members in groups.values():
            joined = {name: np.concatenate([items[index][name] for index in members]) for name in items[0]}
            outputs = self.forward(joined, **kwargs)
            for row, index in enumerate(members):
                answers[index] = {name: values[row : row + 1] for name, values in outputs.items()}
        return [answers[index] for index in range(len(items))]


def refuse_unknown(task: str, unknown: dict[str, Any], known: tuple[str, ...]) -> None:
    """Raise `InputError` for arguments that a task does not have: HF ignores a misspelt threshold."""
    for name in unknown:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
        raise InputError(f"{task} has no argument {name!r}: {hint}")
