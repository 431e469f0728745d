"""The source model in a process of its own, for `onward bench --against`: tokenizer or image processor, then torch.

What pipelines do after the model is left out, in the source's favour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from exporter.loading import Checkpoint, load_checkpoint, load_config
from exporter.quiet import quiet
from exporter.source import resolve_source
from exporter.tasks import resolve_task
from runtime.bench import worker
from runtime.bench.inputs import LABELS, ask
from runtime.bench.measure import Answer

Tensors = dict[str, torch.Tensor]


def open_source_answer(request: dict[str, Any]) -> Answer:
    """Loads the checkpoint in float32 and answers copies of one question."""
    if request["threads"]:
        torch.set_num_threads(request["threads"])
    source = resolve_source(request["path"])
    row = resolve_task(request["task"], load_config(source), source)
    checkpoint = load_checkpoint(source, row, dtype="float32", device=request["provider"])
    question, _ = ask(request["task"], checkpoint.tokenizer, request["tokens"])
    tokenizer = checkpoint.tokenizer
    if tokenizer is not None and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token

    def answer(size: int, count: int) -> Any:
        with quiet(), torch.no_grad():
            return forward(checkpoint, encode(checkpoint, [question] * size), count)

    return answer


def encode(checkpoint: Checkpoint, questions: list[Any]) -> Tensors:
    """What the model reads, on its device."""
    if checkpoint.row.modality != "text":
        encoded = checkpoint.processor(images=questions, return_tensors="pt")
        return {name: encoded[name].to(checkpoint.model.device) for name in encoded}
    texts = [text for question in questions for text in texts_of(checkpoint.row.name, question)]
    columns = [list(column) for column in zip(*texts, strict=True)]
    encoded = checkpoint.tokenizer(*columns, padding=True, truncation=True, return_tensors="pt")
    names = [name for name in checkpoint.tokenizer.model_input_names if name in encoded]
    return {name: encoded[name].to(checkpoint.model.device) for name in names}


def texts_of(task: str, question: Any) -> list[tuple[str, ...]]:
    """The texts or pairs of one question."""
    if task == "zero-shot-classification":
        return [(question, f"This example is {label}.") for label in LABELS]
    return [(question["question"], question["context"])] if isinstance(question, dict) else [(question,)]


def forward(checkpoint: Checkpoint, tensors: Tensors, count: int) -> Any:
    """One pass, or `count` tokens greedily; waits for a GPU."""
    model = checkpoint.model
    if count:
        names = ("input_ids", "attention_mask", "pixel_values")
        kept = {name: tensor for name, tensor in tensors.items() if name in names}
        output = model.generate(**kept, do_sample=False, num_beams=1, max_new_tokens=count, min_new_tokens=count)
    else:
        output = model(**tensors)
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return output


def size_of(path: str) -> int | None:
    """Bytes of the checkpoint's weights, where they lie in a directory."""
    files = list(Path(resolve_source(path).location).glob("*.safetensors"))
    return sum(file.stat().st_size for file in files) or None


if __name__ == "__main__":
    worker.main(open_source_answer, lambda request: {"size": size_of(request["path"])})
