"""Accuracy and macro F1 of texts and images, correlation for regression, top-1 for zero-shot labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporter.evaluation import multi_label
from exporter.evaluation.base import (
    BATCH,
    IMAGE,
    LABEL,
    TEXT,
    Evaluator,
    Example,
    Sheet,
    images_of,
    source_pipeline,
)
from exporter.evaluation.columns import Role
from exporter.evaluation.metrics.classification import accuracy, macro_f1, pearson, spearman
from exporter.loading import Checkpoint
from runtime.errors import InputError

PAIR = Role("text_pair", ("hypothesis", "sentence2"), optional=True)


def text_examples(sheet: Sheet) -> list[Example]:
    """Texts or pairs with a label; with a set of them, or a number, for a model that gives those."""
    if sheet.config.problem_type == "multi_label_classification":
        return [Example(text_of(sheet, index), multi_label.labels_of(sheet, index)) for index in range(len(sheet))]
    if sheet.config.num_labels == 1:
        return [Example(text_of(sheet, index), sheet.number(index, "label")) for index in range(len(sheet))]
    return [Example(text_of(sheet, index), label_of(sheet, index)) for index in range(len(sheet))]


def text_of(sheet: Sheet, index: int) -> Any:
    """A text, or a pair of them as pipelines take it."""
    text = sheet.text(index, "text")
    return {"text": text, "text_pair": sheet.text(index, "text_pair")} if "text_pair" in sheet.columns else text


def label_of(sheet: Sheet, index: int) -> str:
    """The gold label by the model's name."""
    return sheet.label(index, sheet.get(index, "label"), "label")


def ask(pipe: Any, examples: Sequence[Example]) -> list[Any]:
    """(best label, its score) of each text; scores as the model gives them where it has one output.

    The probabilities of all labels where a text may have several.
    """
    if isinstance(examples[0].gold, frozenset):
        return multi_label.ask(pipe, examples)
    options = {"function_to_apply": "none"} if isinstance(examples[0].gold, float) else {}
    answers = pipe([example.inputs for example in examples], truncation=True, batch_size=BATCH, **options)
    return [(answer["label"], answer["score"]) for answer in answers]


def ask_source(checkpoint: Checkpoint, examples: Sequence[Example]) -> list[Any]:
    """Through HF's pipeline."""
    return ask(source_pipeline("text-classification", checkpoint), examples)


def score(answers: Sequence[Any], examples: Sequence[Example], _: Sequence[Any]) -> dict[str, float]:
    """Accuracy and macro F1; F1s where a text may have several labels; or correlations."""
    if isinstance(examples[0].gold, frozenset):
        return multi_label.score(answers, examples)
    gold = [example.gold for example in examples]
    if isinstance(gold[0], float):
        found = [value for _, value in answers]
        return {"Pearson": pearson(found, gold), "Spearman": spearman(found, gold)}
    labels = [label for label, _ in answers]
    return {"accuracy": accuracy(labels, gold), "macro F1": macro_f1(labels, gold)}


def image_examples(sheet: Sheet) -> list[Example]:
    """Images with a label."""
    return [Example(images_of(sheet, index), label_of(sheet, index)) for index in range(len(sheet))]


def ask_images(pipe: Any, examples: Sequence[Example]) -> list[Any]:
    """(best label, its score) of each image, one by one: their sizes differ."""
    answers = [pipe(example.inputs, top_k=1)[0] for example in examples]
    return [(answer["label"], answer["score"]) for answer in answers]


def ask_image_source(checkpoint: Checkpoint, examples: Sequence[Example]) -> list[Any]:
    """Through HF's pipeline."""
    return ask_images(source_pipeline("image-classification", checkpoint), examples)


def score_images(answers: Sequence[Any], examples: Sequence[Example], _: Sequence[Any]) -> dict[str, float]:
    """Share of images whose best label is right."""
    return {"top-1 accuracy": accuracy([label for label, _ in answers], [example.gold for example in examples])}


def zero_shot_examples(sheet: Sheet) -> list[Example]:
    """Texts with one of the labels that occur in the data; the model itself has none of them."""
    golds = [sheet.get(index, "label") for index in range(len(sheet))]
    own = sheet.table.class_names.get(sheet.columns["label"], [])
    names = [own[gold] if own and isinstance(gold, int) else str(gold) for gold in golds]
    candidates = own or sorted(set(names))
    if len(candidates) < 2:
        raise InputError(f"{sheet.table.path} has one label only: zero-shot classification chooses between several")
    return [Example((sheet.text(index, "text"), candidates), name) for index, name in enumerate(names)]


def ask_zero_shot(pipe: Any, examples: Sequence[Example]) -> list[Any]:
    """The best of the candidates for each text."""
    return [pipe(text, candidate_labels=labels)["labels"][0] for text, labels in (one.inputs for one in examples)]


def ask_zero_shot_source(checkpoint: Checkpoint, examples: Sequence[Example]) -> list[Any]:
    """Through HF's pipeline."""
    return ask_zero_shot(source_pipeline("zero-shot-classification", checkpoint), examples)


def score_zero_shot(answers: Sequence[Any], examples: Sequence[Example], _: Sequence[Any]) -> dict[str, float]:
    """Share of texts with the right label."""
    return {"accuracy": accuracy(list(answers), [example.gold for example in examples])}


TEXT_CLASSIFICATION = Evaluator((TEXT, LABEL, PAIR), text_examples, ask_source, ask, score)
IMAGE_CLASSIFICATION = Evaluator((IMAGE, LABEL), image_examples, ask_image_source, ask_images, score_images)
ZERO_SHOT = Evaluator((TEXT, LABEL), zero_shot_examples, ask_zero_shot_source, ask_zero_shot, score_zero_shot)
