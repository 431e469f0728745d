"""Error by layer: keys and values of every layer of a decoder, hidden states of every layer of an encoder.

A decoder's keys and values lie in the runtime's memory anyway. The hidden states of an encoder are inner values of the
graph whose names say nothing: every value that could be one is made an output, and a layer's is the one closest to
what the source says (any other differs by the order of the values themselves).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import onnxruntime as ort

from exporter.loading import Checkpoint
from exporter.report.workloads import Workload
from exporter.validation.causal_lm import prompt_ids
from runtime.session import session_options

Arrays = Mapping[str, np.ndarray]

LAYERED_TOKENS = 64
UNMATCHED = 0.5  # an error above this is another value, not this layer's
TOGETHER = 16  # inner values fetched in one run, which bounds the memory
# What a layer can end with.
ENDS = ("Add", "Relu", "Clip", "Mul", "Concat", "Transpose")
FLOATS = (onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BFLOAT16)


@dataclass(frozen=True)
class LayerReference:
    """What the source's layers say to `feeds`. what: "keys and values" or "hidden states"; layers: by name, float32."""

    what: str
    feeds: Arrays
    layers: dict[str, np.ndarray]


def record_layers(checkpoint: Checkpoint, works: Sequence[Workload]) -> LayerReference | None:
    """Ask the source; None for a model that keeps no such values."""
    import torch

    if checkpoint.row.kind == "causal-lm":
        return record_cache(checkpoint)
    feeds = works[0].feeds
    tensors = {name: torch.tensor(array, device=checkpoint.model.device) for name, array in feeds.items()}
    model = checkpoint.model.get_encoder() if checkpoint.row.kind in ("seq2seq", "captioning") else checkpoint.model
    output = model(**tensors, output_hidden_states=True)
    names = ("hidden_states", "encoder_hidden_states", "decoder_hidden_states")
    found = {name: output[name] for name in names if output.get(name) is not None}
    layers = {
        f"{name.removesuffix('hidden_states').rstrip('_')} {index}".strip(): states.float().cpu().numpy()
        for name, group in found.items()
        for index, states in enumerate(group)
    }
    return LayerReference("hidden states", feeds, layers) if layers else None


def record_cache(checkpoint: Checkpoint) -> LayerReference | None:
    """Keys and values `[kv_heads, tokens, head_dim]` of every layer for one text."""
    import torch

    from exporter.tracing.causal_lm import context_length

    room = context_length(checkpoint.model)
    texts = prompt_ids(checkpoint.tokenizer, 2 * room)
    if not texts:
        return None
    ids = np.concatenate(texts)[: min(LAYERED_TOKENS, room)]
    output = checkpoint.model(torch.tensor(ids, device=checkpoint.model.device)[None], use_cache=True)
    layers = getattr(getattr(output, "past_key_values", None), "layers", None) or []
    found = {
        f"{index} {part}": tensor[0].float().cpu().numpy()
        for index, layer in enumerate(layers)
        for part in ("keys", "values")
        if isinstance(tensor := getattr(layer, part, None), torch.Tensor)
    }
    return LayerReference("keys and values", {"input_ids": ids[None]}, found) if found else None


def compare_layers(reference: LayerReference, pipe: Any, bundle: Path) -> list[dict[str, Any]]:
    """`[{"layer", "error"}]`: the largest difference as a share of the layer's largest value.

    error is None where the graph has no counterpart. Empty where nothing can be compared: states of the fallback path
    are the model's own.
    """
    if reference.what == "keys and values":
        return compare_cache(reference, pipe)
    name = "encoder" if "encoder" in pipe.manifest.graphs else "model"
    inputs = {spec.name for spec in pipe.manifest.graphs[name].inputs}
    feeds = {key: array for key, array in reference.feeds.items() if key in inputs}
    return compare_states(reference, feeds, bundle / pipe.manifest.graphs[name].file)


def compare_cache(reference: LayerReference, pipe: Any) -> list[dict[str, Any]]:
    """Against the slot memory after a prefill."""
    runner = pipe.model.runner
    if not hasattr(runner, "cache"):
        return []
    ids = reference.feeds["input_ids"][0]
    runner.reserve(1, len(ids))
    runner.prefill(0, ids)
    found = []
    for name, expected in reference.layers.items():
        index, part = name.split()
        kept = runner.cache.fetch(0, f"past_key_values.{index}.{part.removesuffix('s')}", len(ids))
        same = kept is not None and kept.shape == expected.shape
        found.append({"layer": name, "error": share(expected, kept.astype(np.float32)) if same else None})
    return found


def compare_states(reference: LayerReference, feeds: Arrays, graph: Path) -> list[dict[str, Any]]:
    """Against the closest inner value of as many elements, or of one row where the graph computes no others."""
    best: dict[str, float] = {}
    sizes = {size for array in reference.layers.values() for size in (array.size, array.size // rows_of(array))}
    for value in inner_values(graph, feeds, sizes):
        for name, expected in reference.layers.items():
            best[name] = min(best.get(name, UNMATCHED), distance(expected, value))
    errors = {name: best.get(name, UNMATCHED) for name in reference.layers}
    return [{"layer": name, "error": error if error < UNMATCHED else None} for name, error in errors.items()]


def rows_of(states: np.ndarray) -> int:
    """Positions of hidden states `[batch, positions, width]`; 1 for other arrays."""
    return states.shape[1] if states.ndim == 3 else 1


def distance(expected: np.ndarray, found: np.ndarray) -> float:
    """`share` of values with as many elements, or with those of one position: the closest one. Else infinite."""
    if found.size == expected.size:
        return share(expected.reshape(-1), found)
    if found.size * rows_of(expected) == expected.size:
        return min(share(expected[:, row].reshape(-1), found) for row in range(rows_of(expected)))
    return float("inf")


def share(expected: np.ndarray, found: np.ndarray) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))


def inner_values(graph: Path, feeds: Arrays, sizes: set[int]) -> Iterator[np.ndarray]:
    """Values of a graph that a layer could end with and that have one of `sizes` elements: float32 `[elements]`."""
    model = onnx_ir.load(str(graph))
    values = [
        value
        for node in model.graph
        if node.op_type in ENDS or "Norm" in node.op_type
        for value in node.outputs
        if value.dtype in FLOATS and value.name
    ]
    known = {value.name for value in model.graph.outputs}
    model.graph.outputs.extend([value for value in values if value.name not in known])
    session = in_memory_session(model, graph.parent)
    names = [value.name for value in values]
    for cut in range(0, len(names), TOGETHER):
        for array in session.run(names[cut : cut + TOGETHER], dict(feeds)):
            if array.size in sizes:
                yield array.astype(np.float32).reshape(-1)


def in_memory_session(model: onnx_ir.Model, folder: Path) -> ort.InferenceSession:
    """A session of a graph that is on no disk, with weights from `folder`."""
    options = session_options(None, spinning=True, between_runs=False)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    content = onnx_ir.to_proto(model).SerializeToString()
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
