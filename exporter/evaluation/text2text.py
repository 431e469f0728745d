"""ROUGE-L, BLEU and exact match of what encoder–decoders write, from texts or images.

transformers 5 has no pipelines for these tasks: the source's texts come from `generate()` with the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from exporter.evaluation.base import BATCH, IMAGE, Evaluator, Example, Sheet, images_of
from exporter.evaluation.columns import Role
from exporter.evaluation.metrics.bleu import bleu
from exporter.evaluation.metrics.rouge import f_measure
from exporter.generation_config import resolve_generation
from exporter.loading import Checkpoint
from exporter.seq2seq_tasks import resolve_tasks
from runtime.generation.config import TASK_DEFAULTS
from runtime.images import load_image

if TYPE_CHECKING:
    import torch

SOURCE = Role("source", ("text", "document", "article", "dialogue", "input", "question", "en", "english"))
TARGET = Role("target", ("summary", "highlights", "reference", "translation", "abstract", "output", "answer", "label"))
CAPTION = Role("caption", ("captions", "text", "label", "sentences"))
NEW_TOKENS = 256  # of a caption, as the pipeline's default
Metric = Callable[[Sequence[str], Sequence[list[str]]], float]


def examples(sheet: Sheet) -> list[Example]:
    """A text with the texts that would be right."""
    return [Example(sheet.text(i, "source"), references(sheet.get(i, "target"))) for i in range(len(sheet))]


def image_examples(sheet: Sheet) -> list[Example]:
    """An image with the captions that would be right."""
    return [Example(images_of(sheet, i), references(sheet.get(i, "caption"))) for i in range(len(sheet))]


def references(value: Any) -> list[str]:
    """One or several."""
    return [str(text) for text in (value if isinstance(value, list) else [value])]


def ask(pipe: Any, items: Sequence[Example]) -> list[str]:
    """The bundle's texts."""
    answers = pipe([example.inputs for example in items], truncation=True, batch_size=BATCH)
    return [text_of(answer) for answer in answers]


def ask_captions(pipe: Any, items: Sequence[Example]) -> list[str]:
    """The bundle's captions."""
    return [text_of(pipe(example.inputs)) for example in items]


def text_of(answer: Any) -> str:
    """The text of `{"summary_text": ...}`, or of a list with one such."""
    record = answer[0] if isinstance(answer, list) else answer
    return str(next(iter(record.values())))


def ask_source(task: str, checkpoint: Checkpoint, items: Sequence[Example]) -> list[str]:
    """`generate()` on batches, with the task's parameters and prefix."""
    facts = resolve_tasks(checkpoint.model, checkpoint.tokenizer)[task]
    found: list[str] = []
    for cut in range(0, len(items), BATCH):
        texts = [facts["prefix"] + example.inputs for example in items[cut : cut + BATCH]]
        encoded = checkpoint.tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
        names = [name for name in ("input_ids", "attention_mask") if name in encoded]
        tensors = {name: encoded[name].to(checkpoint.model.device) for name in names}
        found += generated(checkpoint, tensors, facts["generation"])
    return found


def ask_caption_source(checkpoint: Checkpoint, items: Sequence[Example]) -> list[str]:
    """`generate()`, image by image."""
    resolved = resolve_generation(checkpoint.model, checkpoint.tokenizer, "image-to-text")
    # The source knows its tokens; some models hand them on by themselves and refuse to be told (BLIP).
    parameters = {name: value for name, value in resolved.items() if not name.endswith("_token_id")}
    found: list[str] = []
    for example in items:
        image = example.inputs if isinstance(example.inputs, Image.Image) else load_image(example.inputs)
        pixels = checkpoint.processor(image.convert("RGB"), return_tensors="pt")["pixel_values"]
        found += generated(checkpoint, {"pixel_values": pixels.to(checkpoint.model.device)}, parameters)
    return found


def generated(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor], parameters: dict[str, Any]) -> list[str]:
    """Texts of one batch, without special tokens. Of the parameters those that HF has: the bundle keeps facts there."""
    import torch
    from transformers import GenerationConfig

    given = {**(parameters.get(TASK_DEFAULTS) or {}), **parameters}
    known = {name: given[name] for name in GenerationConfig().to_dict() if given.get(name) is not None}
    with torch.no_grad():
        ids = checkpoint.model.generate(**tensors, **known)
    texts: list[str] = checkpoint.tokenizer.batch_decode(ids, skip_special_tokens=True)
    return texts


def rouge(found: Sequence[str], golds: Sequence[list[str]]) -> float:
    """ROUGE-L against the reference that suits best, times 100."""
    scores = [max(f_measure(text, gold) for gold in texts) for text, texts in zip(found, golds, strict=True)]
    return 100 * float(np.mean(scores))


def equal(found: Sequence[str], golds: Sequence[list[str]]) -> float:
    """Share of texts that are one of the references, blanks at the ends apart, in per cent."""
    hits = [text.strip() in [g.strip() for g in texts] for text, texts in zip(found, golds, strict=True)]
    return 100 * float(np.mean(hits))


def score(
    metrics: dict[str, Metric], answers: Sequence[Any], items: Sequence[Example], _: Sequence[Any]
) -> dict[str, float]:
    """All of a task's metrics."""
    golds = [example.gold for example in items]
    return {name: metric(answers, golds) for name, metric in metrics.items()}


def text_evaluator(task: str, metrics: dict[str, Metric]) -> Evaluator:
    """For one of the tasks from text to text."""
    return Evaluator((SOURCE, TARGET), examples, partial(ask_source, task), ask, partial(score, metrics))


SUMMARIZATION = text_evaluator("summarization", {"ROUGE-L": rouge})
TRANSLATION = text_evaluator("translation", {"BLEU": bleu})
TEXT2TEXT = text_evaluator("text2text-generation", {"ROUGE-L": rouge, "exact match": equal})
IMAGE_TO_TEXT = Evaluator(
    (IMAGE, CAPTION), image_examples, ask_caption_source, ask_captions, partial(score, {"ROUGE-L": rouge, "BLEU": bleu})
)
