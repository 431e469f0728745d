"""Vision models: one graph from pixel values (and a mask of their padding) to the task's outputs.

As for text encoders, MultiHeadAttention is emitted where the probe says that it expresses the model's attention, and
the model is traced as it is where not (convolutions, windows with a bias, deformable attention).
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from exporter.tracing.adapter import TraceRequest, trace
from exporter.tracing.attention import attention_implementation
from exporter.tracing.causal_lm import Traced
from exporter.tracing.encoder import AUTO, EncoderStep, Outputs, typed
from exporter.tracing.probe import probe_encoder
from runtime.bundle import ImageSpec

BATCH, PADDED = 3, 32
# Where sizes are free: odd, so that every rounding of strides and patches ends up in the graph; large enough for five
# halvings, small enough to run in a moment.
SAMPLE_SIZE = (157, 211)


def trace_vision(model: Any, image: ImageSpec, outputs: Outputs, opset: int) -> Traced:
    """Trace a vision model whose inputs have the sizes that `image` says: fixed, or free height and width."""
    names = input_names(model, image)
    size = fixed_size(image)
    inputs = sample_inputs(model, names, size or free_sample_size(image))
    probe = probe_encoder(model, typed(model, inputs), outputs[0][0])
    if not probe.fits:
        graph = trace(vision_request(model, inputs, outputs, opset, size is None, emit=False))
        return Traced({"model": graph}, "plain", probe.reason if has_attention(model) else "it has no attention")
    with attention_implementation(model, probe.implementation):
        graph = trace(vision_request(model, inputs, outputs, opset, size is None, emit=True))
    return Traced({"model": graph}, "emission", "every layer's attention is MultiHeadAttention")


def has_attention(model: Any) -> bool:
    """Whether any part of the model is called attention: convolutional networks have none."""
    return any("attention" in type(module).__name__.lower() for module in model.modules())


def input_names(model: Any, image: ImageSpec) -> list[str]:
    """`pixel_values`, and `pixel_mask` where the processor gives one and the model has a use for it."""
    wanted = ["pixel_values", *(["pixel_mask"] if image.pixel_mask else [])]
    return [name for name in wanted if name in inspect.signature(model.forward).parameters]


def fixed_size(image: ImageSpec) -> tuple[int, int] | None:
    """(height, width) where every image ends up with the same, else None."""
    if image.pad_size or image.crop:
        return image.pad_size or image.crop
    height, width = image.size.get("height"), image.size.get("width")
    return (height, width) if height and width else None


def free_sample_size(image: ImageSpec) -> tuple[int, int]:
    """A size that the processor could give."""
    height, width = (side - side % image.size_multiple for side in SAMPLE_SIZE)
    return height, width


def sample_inputs(model: Any, names: list[str], size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """`pixel_values` float32 `[BATCH, 3, height, width]`, `pixel_mask` int64 with a padded image."""
    height, width = size
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones((BATCH, height, width), dtype=torch.int64)
    mask[1, height - min(PADDED, height // 4) :, :] = 0
    pixels = torch.randn((BATCH, 3, height, width), generator=generator) * mask[:, None]
    known = {"pixel_values": pixels, "pixel_mask": mask}
    return {name: known[name].to(model.device) for name in names}


def vision_request(
    model: Any, inputs: dict[str, torch.Tensor], outputs: Outputs, opset: int, free: bool, emit: bool
) -> TraceRequest:
    """The batch is free; height and width are where the processor leaves them so."""
    names, output_names = list(inputs), [name for name, _ in outputs]
    sides = ["height", "width"] if free else [None, None]
    dims = {"pixel_values": ["batch", None, *sides], "pixel_mask": ["batch", *sides]}
    return TraceRequest(
        module=EncoderStep(model, names, output_names, emit).eval(),
        kwargs={"tensors": list(inputs.values())},
        dims={"tensors": [{axis: AUTO for axis, dim in enumerate(dims[name]) if dim} for name in names]},
        input_names=names,
        input_dims=[dims[name] for name in names],
        output_names=output_names,
        output_dims=[dims for _, dims in outputs],
        opset=opset,
        caches_of=model,
    )
