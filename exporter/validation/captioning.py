"""Validation of captioning models: as encoder–decoders, over images."""

from __future__ import annotations

import numpy as np

from exporter.loading import Checkpoint
from exporter.quiet import quiet
from exporter.validation.images import drawing
from exporter.validation.seq2seq import Reference, record_sources

SIZES = ((64, 48), (200, 300), (90, 90))


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32, about drawn images."""
    images = [drawing(width, height, seed) for seed, (width, height) in enumerate(SIZES)]
    with quiet():
        pixels = [checkpoint.processor(image, return_tensors="np")["pixel_values"] for image in images]
    return record_sources(checkpoint, [{"pixel_values": np.asarray(one, np.float32)} for one in pixels])
