"""What `benchmarks.gpu` does and measures, each in a process of its own: `benchmarks.worker` calls these by name."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.encoder_protocol import typical
from benchmarks.protocol import Generate, prompts, seconds

Figures = dict[str, float]
TEXT_LENGTH = 128
REPEATS = 3


def build(name: str, folder: str, tiny: bool) -> Figures:
    """Write a checkpoint; one that is there already stays."""
    from benchmarks.gpu_models import REAL_SIZES, TINY

    if not (Path(folder) / "config.json").is_file():
        (TINY if tiny else REAL_SIZES)[name].build(Path(folder))
    return {}


def export(checkpoint: str, output: str, name: str, precision: str, device: str) -> Figures:
    """Export without validation, which has a part of its own."""
    from exporter import export as run_export

    made = run_export(
        checkpoint, output=Path(output), name=name, precision=precision, device=device, validate=False, force=True
    )
    return {"export_mb": sum(file.stat().st_size for file in made.rglob("*") if file.is_file()) / 2**20}


def validate(bundle: str, checkpoint: str, provider: str) -> dict[str, Any]:
    """Every check of the validation on this provider, the source on the same device in float32."""
    from exporter.validation.revalidate import revalidate

    checks = revalidate(Path(bundle), checkpoint, provider=provider, device=provider)
    failed = [f"{check.point}, {check.name}: {check.detail or check.figures}" for check in checks if not check.passed]
    return {
        "checks": len(checks),
        "failed": failed,
        "figures": {f"{check.point}, {check.name}": check.figures for check in checks},
    }


def decode(bundle: str, provider: str, prompt: int, new: int, batch: int) -> Figures:
    """Our engine: milliseconds to the first token and a step."""
    from runtime import pipeline
    from runtime.generation.config import resolve

    options: dict[str, Any] = {"slots": batch, "max_length_limit": prompt + new, "verify": False}
    pipe: Any = pipeline("text-generation", bundle, provider=provider, **options)

    pipe.model.engine.chunk = max(pipe.model.engine.chunk, prompt * batch)  # all prompts in one run, as torch does

    def generate(tokens: np.ndarray, count: int) -> None:
        config = resolve(pipe.manifest.generation, do_sample=False, max_new_tokens=count, eos_token_id=None)
        pipe.model.generate(list(tokens), config)

    figures = timed(generate, prompt, new, batch)
    statistics, memory = pipe.model.engine.statistics(), pipe.model.engine.memory()
    return {**figures, "cache_mb": memory.allocated / 2**20, "prefill_runs": statistics.prefill_runs}


def decode_torch(
    checkpoint: str, provider: str, dtype: str, prompt: int, new: int, batch: int, compiled: bool = False
) -> Figures:
    """HF `generate()`: torch eager, or with a static cache, for which transformers compiles the step on a GPU."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=getattr(torch, dtype)).eval().to(provider)
    model.generation_config.eos_token_id = None
    options: dict[str, Any] = {"do_sample": False, **({"cache_implementation": "static"} if compiled else {})}

    def generate(tokens: np.ndarray, count: int) -> None:
        inputs = torch.tensor(tokens, device=provider)
        mask = torch.ones_like(inputs)
        with torch.no_grad():
            model.generate(inputs, attention_mask=mask, max_new_tokens=count, **options)
        synchronize(provider)

    return timed(generate, prompt, new, batch)


def timed(generate: Generate, prompt: int, new: int, batch: int) -> Figures:
    """Milliseconds to the first token, and of a step: medians, after a run of the same shapes that does not count."""
    generate(prompts(prompt, batch, 0), new)
    first = median(seconds(generate, prompts(prompt, batch, 1 + turn), 1) for turn in range(REPEATS))
    total = median(seconds(generate, prompts(prompt, batch, 1 + REPEATS + turn), new) for turn in range(REPEATS))
    return {"first_ms": 1000 * first, "step_ms": 1000 * (total - first) / (new - 1)}


def encode(bundle: str, provider: str, batch: int) -> Figures:
    """Our graph's forward pass, without tokenizing or image steps."""
    from runtime import pipeline

    pipe: Any = pipeline(None, bundle, provider=provider, verify=False)
    names = [spec.name for spec in pipe.graph.inputs]
    inputs = feeds(names, batch, getattr(pipe, "processor", None))
    return {"ms": 1000 * typical(pipe.forward, inputs)}


def encode_torch(checkpoint: str, provider: str, dtype: str, batch: int, task: str, compiled: bool = False) -> Figures:
    """HF's forward pass, torch eager or compiled; inputs and logits cross the bus as ours do."""
    import torch
    import transformers

    classes = {
        "text-classification": transformers.AutoModelForSequenceClassification,
        "image-classification": transformers.AutoModelForImageClassification,
    }
    model = classes[task].from_pretrained(checkpoint, dtype=getattr(torch, dtype)).eval().to(provider)
    is_image = task == "image-classification"
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoint) if is_image else None
    names = ["pixel_values"] if is_image else ["input_ids", "attention_mask", "token_type_ids"]
    run = torch.compile(model) if compiled else model

    def forward(inputs: dict[str, np.ndarray]) -> None:
        tensors = {name: torch.from_numpy(array).to(provider) for name, array in inputs.items()}
        cast = {name: t.to(model.dtype) if t.is_floating_point() else t for name, t in tensors.items()}
        with torch.no_grad():
            run(**cast).logits.cpu()

    return {"ms": 1000 * typical(forward, feeds(names, batch, processor))}


def feeds(names: list[str], batch: int, processor: Any) -> dict[str, np.ndarray]:
    """Random ids of 128 tokens without padding, or random pictures as large as the image steps make them."""
    random = np.random.default_rng(0)
    if "pixel_values" in names:
        size = processor.size if hasattr(processor, "size") else image_size(processor)
        shape = (batch, 3, size["height"], size["width"])
        return {"pixel_values": random.normal(size=shape).astype(np.float32)}
    shape = (batch, TEXT_LENGTH)
    ids = random.integers(100, 1000, shape)
    known = {"input_ids": ids, "attention_mask": np.ones(shape, np.int64), "token_type_ids": np.zeros(shape, np.int64)}
    return {name: known[name] for name in names}


def image_size(processor: Any) -> dict[str, int]:
    """What the runtime's image steps make of any picture."""
    from PIL import Image

    height, width = processor(Image.new("RGB", (50, 40)))["pixel_values"].shape[2:]
    return {"height": height, "width": width}


def synchronize(provider: str) -> None:
    """Wait for a GPU, which works on after its last call has returned."""
    if provider == "cuda":
        import torch

        torch.cuda.synchronize()
