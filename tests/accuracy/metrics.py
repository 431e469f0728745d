"""What trained checkpoints are measured by: the metric of each task, on examples that were never trained on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from runtime import pipeline
from runtime.generation.logits import log_softmax
from tests.checkpoints import LM_HELDOUT, SENTIMENT_HELDOUT
from tests.checkpoints.train import captioning, masked_lm, ner, question_answering, translation
from tests.checkpoints.train.shape_classifier import HELDOUT_SEED
from tests.checkpoints.train.shape_detector import heldout
from tests.checkpoints.train.shapes import LABELS, Box, Shape, portrait


@dataclass(frozen=True)
class Metric:
    """`ask(bundle)` measures, `of(bundle)` does so once; `loss(reference, found)` is what was lost."""

    ask: Callable[[Path], float]
    loss: Callable[[float, float], float] = lambda reference, found: reference - found

    def of(self, bundle: Path) -> float:
        """What was measured when this bundle was first asked."""
        return measured(self.ask, bundle)


@cache
def measured(ask: Callable[[Path], float], bundle: Path) -> float:
    """A bundle does not change, and language models take seconds."""
    return ask(bundle)


def perplexity(checkpoint: Path) -> Metric:
    """On text that was never trained on; the loss is relative."""

    def ask(bundle: Path) -> float:
        pipe: Any = pipeline("text-generation", bundle, verify=False)
        losses = [token_losses(pipe.model.runner.score(window), window) for window in windows(checkpoint)]
        return math.exp(float(np.concatenate(losses).mean()))

    return Metric(ask, lambda reference, found: found / reference - 1)


def sentiment(bundle: Path) -> float:
    """Accuracy on held-out sentences."""
    rows = [json.loads(line) for line in SENTIMENT_HELDOUT.read_text(encoding="utf-8").splitlines()]
    answers = pipeline("text-classification", bundle, verify=False)([row["text"] for row in rows], batch_size=8)
    return accuracy([answer["label"] for answer in answers], [row["label"] for row in rows])


def names(bundle: Path) -> float:
    """F1 of whole entities in held-out sentences."""
    examples = ner.heldout()
    pipe = pipeline("ner", bundle, verify=False)
    answers = pipe([words for words, _ in examples], is_split_into_words=True, batch_size=16)
    found = [tags_of(words, answer) for (words, _), answer in zip(examples, answers, strict=True)]
    return float(ner.f1([tags for _, tags in examples], found))


def spans(bundle: Path) -> float:
    """Exact match on held-out questions."""
    examples = question_answering.heldout()
    pipe = pipeline("question-answering", bundle, handle_impossible_answer=True, verify=False)
    questions = [{"question": example.question, "context": example.context} for example in examples]
    answers = pipe(questions, batch_size=16)
    return share(answer["answer"] == e.answer for answer, e in zip(answers, examples, strict=True))


def shapes(bundle: Path) -> float:
    """Accuracy on drawings that were never seen."""
    random = np.random.default_rng(HELDOUT_SEED)
    drawings = [portrait(random, (48, 48)) for _ in range(200)]
    pipe = pipeline("image-classification", bundle, verify=False)
    answers = pipe([image for image, _ in drawings], top_k=1, batch_size=16)
    return share(answer[0]["label"] == LABELS[label] for answer, (_, label) in zip(answers, drawings, strict=True))


def masked_words(bundle: Path) -> float:
    """How often the likeliest word for the mask is right."""
    gaps = masked_lm.heldout()
    answers = pipeline("fill-mask", bundle, verify=False)([gap.text for gap in gaps], top_k=1, batch_size=16)
    return share(answer[0]["token_str"] == gap.answer for answer, gap in zip(answers, gaps, strict=True))


def translations(bundle: Path, beams: int = 1) -> float:
    """Exact match on numbers and dates."""
    pairs = translation.heldout()[: 300 // beams]
    pipe = pipeline("translation_en_to_fr", bundle, num_beams=beams, verify=False)
    answers = pipe([pair.english for pair in pairs], batch_size=8)
    return share(answer["translation_text"] == pair.french for answer, pair in zip(answers, pairs, strict=True))


def captions(bundle: Path) -> float:
    """Captions right to the letter: two shapes, their colours and how they lie."""
    pictures = captioning.heldout(100)
    answers = pipeline("image-to-text", bundle, verify=False)([one.image for one in pictures], batch_size=8)
    return share(answer[0]["generated_text"] == one.caption for answer, one in zip(answers, pictures, strict=True))


@dataclass(frozen=True)
class Detections:
    """Of shapes with the right label and an intersection over union above 0.5."""

    found: int
    wanted: int
    false: int


def detections(bundle: Path) -> Detections:
    """On a hundred scenes."""
    scenes = heldout(100)
    answers = pipeline("object-detection", bundle, verify=False)([image for image, _ in scenes], batch_size=16)
    found = wanted = false = 0
    for answer, (_, drawn) in zip(answers, scenes, strict=True):
        left = list(drawn)
        for record in answer:
            box = tuple(float(record["box"][side]) for side in ("xmin", "ymin", "xmax", "ymax"))
            hit = next((s for s in left if LABELS[s.label] == record["label"] and overlap(s, box) > 0.5), None)
            if hit is None:
                false += 1
            else:
                left.remove(hit)
        wanted += len(drawn)
        found += len(drawn) - len(left)
    return Detections(found, wanted, false)


def detection_f1(bundle: Path) -> float:
    """The harmonic mean of the share of shapes that were found and the share of answers that are right."""
    seen = detections(bundle)
    return 2 * seen.found / (seen.found + seen.false + seen.wanted)


def overlap(shape: Shape, box: tuple[float, ...]) -> float:
    """Intersection over union."""
    first: Box = shape.box
    width = min(first[2], box[2]) - max(first[0], box[0])
    height = min(first[3], box[3]) - max(first[1], box[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / (area(first) + area(box) - common)


def area(box: tuple[float, ...]) -> float:
    """In square pixels."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def accuracy(found: list[str], labels: list[str]) -> float:
    """The share of labels that are right."""
    return share(one == other for one, other in zip(found, labels, strict=True))


def share(right: Iterable[bool]) -> float:
    """Of those that are."""
    return float(np.mean(list(right)))


def tags_of(words: list[str], entities: list[dict[str, Any]]) -> list[str]:
    """The tag of every word: that of the entity at its first character, for words joined by spaces."""
    starts = [sum(len(word) + 1 for word in words[:index]) for index in range(len(words))]
    by_start = {entity["start"]: entity["entity"] for entity in entities}
    return [by_start.get(start, "O") for start in starts]


@cache
def windows(checkpoint: Path) -> list[np.ndarray]:
    """The held-out text's ids in windows of the context's length, the rest at the end."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    ids = np.array(tokenizer(LM_HELDOUT.read_text(encoding="utf-8"), verbose=False)["input_ids"])
    size = tokenizer.model_max_length
    return [ids[start : start + size] for start in range(0, len(ids) - 1, size)]


def token_losses(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Negative log-likelihood `[tokens - 1]` of every token after the first."""
    losses: np.ndarray = -log_softmax(logits[:-1])[np.arange(len(ids) - 1), ids[1:]]
    return losses
