"""What the validation of tasks over one encoder graph shares: the source's outputs for single texts, compared with the
bundle's for batches of them, so that padding cannot leak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.validation.checks import Check, compare_logits, error_counts

BATCHES = ((0,), (1, 2), (0, 1, 2, 3, 4))

Outputs = dict[str, np.ndarray]
Compare = Callable[[str, np.ndarray, np.ndarray, Precision], Check]


@dataclass
class Reference:
    """What the source said. outputs: by name, for each of five texts; answers: (arguments, options, answer)."""

    outputs: list[Outputs] = field(default_factory=list)
    answers: list[tuple[Any, dict[str, Any], Any]] = field(default_factory=list)


def outputs_of(checkpoint: Checkpoint, *texts: str, **options: Any) -> Outputs:
    """The source's outputs of the task for one text or pair, without the batch dimension, float32."""
    import torch

    tokenizer, names = checkpoint.tokenizer, [name for name, _ in checkpoint.row.outputs]
    encoded = tokenizer(*texts, **{"truncation": True, **options}, return_tensors="pt").to(checkpoint.model.device)
    inputs = {name: encoded[name] for name in tokenizer.model_input_names if name in encoded}
    with torch.no_grad():
        output = checkpoint.model(**inputs)
    return {name: output[name][0].float().cpu().numpy() for name in names}


def compare_outputs(
    reference: Reference, pipe: Any, prepared: Sequence[dict[str, Any]], precision: Precision, compare: Compare
) -> list[Check]:
    """One check per output and batch. prepared: the model inputs of each text, made by the bundle's pipeline."""
    checks = []
    for batch in BATCHES:
        items = [prepared[index] for index in batch]
        found = pipe._forward_batch(items) if len(items) > 1 else [pipe.forward(items[0])]
        for name in reference.outputs[0]:
            pairs = [
                (reference.outputs[index][name], without_padding(output[name][0], items[row], pipe))
                for row, (index, output) in enumerate(zip(batch, found, strict=True))
            ]
            checks.append(compare_rows(f"{name}, batch of {len(batch)}", pairs, precision, compare))
    return checks


def without_padding(output: np.ndarray, item: dict[str, Any], pipe: Any) -> np.ndarray:
    """An item's output in a batch without its padding, which feature extraction leaves in."""
    length = item["input_ids"].shape[1]
    if not pipe.KEEPS_PADDING or output.shape[0] == length:
        return output
    return output[-length:] if pipe.tokenizer.spec.padding_side == "left" else output[:length]


def compare_rows(
    name: str, pairs: list[tuple[np.ndarray, np.ndarray]], precision: Precision, compare: Compare
) -> Check:
    """(expected, found) of several texts: `[tokens, classes]` each, or `[tokens]` where the tokens are the classes."""
    for expected, found in pairs:
        if expected.shape != found.shape:
            return Check("numerics", name, False, {}, f"shape {found.shape} instead of {expected.shape}")
    if pairs[0][0].ndim == 1:
        checks = [compare(name, expected[None], found[None], precision) for expected, found in pairs]
        worst = next((check for check in checks if not check.passed), max(checks, key=lambda c: c.figures["error"]))
        return replace(worst, errors=[sum(counts) for counts in zip(*(c.errors for c in checks), strict=True)])
    return compare(
        name,
        np.concatenate([expected for expected, _ in pairs]),
        np.concatenate([found for _, found in pairs]),
        precision,
    )


def compare_features(name: str, expected: np.ndarray, found: np.ndarray, precision: Precision) -> Check:
    """Hidden states or embeddings `[rows, size]`: largest error as a share of the largest value, smallest cosine."""
    difference = float(np.abs(found - expected).max())
    norms = np.linalg.norm(expected, axis=-1) * np.linalg.norm(found, axis=-1)
    cosine = float(((expected * found).sum(-1) / np.maximum(norms, 1e-12)).min())
    error = difference / max(float(np.abs(expected).max()), 1.0)
    passed = error <= precision.error
    detail = "" if passed else f"error {error:.1e} is over {precision.error:.0e}"
    figures = {"max_abs": difference, "error": error, "distance": 1 - cosine}
    return Check("numerics", name, passed, figures, detail, error_counts(expected, found))


__all__ = ["Reference", "compare_features", "compare_logits", "compare_outputs", "outputs_of"]
