"""The task table of the runtime: one row a task. A new task is a file in this folder and a row here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from runtime.errors import InputError

if TYPE_CHECKING:
    from runtime.pipelines.base import Pipeline


@dataclass(frozen=True)
class TaskEntry:
    """A task's pipeline: `module:class`, loaded only when the task is used; what goes in and comes out, for people.

    bundles: other tasks whose bundles this pipeline runs on as well.
    """

    name: str
    pipeline: str
    aliases: tuple[str, ...]
    inputs: str
    outputs: str
    bundles: tuple[str, ...] = ()


# One encoder–decoder bundle serves all three.
SEQ2SEQ = ("text2text-generation", "summarization", "translation")
TASKS = {
    entry.name: entry
    for entry in (
        TaskEntry(
            "text-classification",
            "runtime.pipelines.text_classification:TextClassificationPipeline",
            ("sentiment-analysis",),
            "text, list of texts, {text, text_pair}",
            "[{label, score}]",
            ("zero-shot-classification",),
        ),
        TaskEntry(
            "token-classification",
            "runtime.pipelines.token_classification:TokenClassificationPipeline",
            ("ner",),
            "text, list of texts, words",
            "[{entity, score, index, word, start, end}], [{entity_group, score, word, start, end}]",
        ),
        TaskEntry(
            "fill-mask",
            "runtime.pipelines.fill_mask:FillMaskPipeline",
            (),
            "text with a mask token, list of texts",
            "[{score, token, token_str, sequence}]",
        ),
        TaskEntry(
            "question-answering",
            "runtime.pipelines.question_answering:QuestionAnsweringPipeline",
            (),
            "{question, context}, question=... context=..., lists of them",
            "{score, start, end, answer}",
        ),
        TaskEntry(
            "zero-shot-classification",
            "runtime.pipelines.zero_shot_classification:ZeroShotClassificationPipeline",
            (),
            "text, list of texts; candidate_labels",
            "{sequence, labels, scores}",
            ("text-classification",),
        ),
        TaskEntry(
            "feature-extraction",
            "runtime.pipelines.feature_extraction:FeatureExtractionPipeline",
            (),
            "text, list of texts",
            "[tokens][size] for each text",
            ("sentence-similarity",),
        ),
        TaskEntry(
            "sentence-similarity",
            "runtime.pipelines.sentence_similarity:SentenceSimilarityPipeline",
            (),
            "text, list of texts, {source_sentence, sentences}",
            "vectors, or similarities",
        ),
        TaskEntry(
            "text-generation",
            "runtime.pipelines.text_generation:TextGenerationPipeline",
            ("causal-lm",),
            "text, list of texts, chat messages",
            "[{generated_text}]",
        ),
        TaskEntry(
            "text2text-generation",
            "runtime.pipelines.text2text_generation:Text2TextGenerationPipeline",
            (),
            "text, list of texts",
            "[{generated_text}]",
            SEQ2SEQ,
        ),
        TaskEntry(
            "image-to-text",
            "runtime.pipelines.image_to_text:ImageToTextPipeline",
            (),
            "image (path, URL, base64, PIL), list of images",
            "[{generated_text}]",
        ),
        TaskEntry(
            "summarization",
            "runtime.pipelines.summarization:SummarizationPipeline",
            (),
            "text, list of texts",
            "[{summary_text}]",
            SEQ2SEQ,
        ),
        TaskEntry(
            "translation",
            "runtime.pipelines.translation:TranslationPipeline",
            (),
            "text, list of texts; also translation_xx_to_yy",
            "[{translation_text}]",
            SEQ2SEQ,
        ),
        TaskEntry(
            "image-classification",
            "runtime.pipelines.image_classification:ImageClassificationPipeline",
            (),
            "image (path, URL, base64, PIL, array), list of images",
            "[{label, score}]",
        ),
        TaskEntry(
            "object-detection",
            "runtime.pipelines.object_detection:ObjectDetectionPipeline",
            (),
            "image (path, URL, base64, PIL), list of images",
            "[{score, label, box: {xmin, ymin, xmax, ymax}}]",
        ),
    )
}
ALIASES = {alias: entry.name for entry in TASKS.values() for alias in entry.aliases}


def find_task(name: str) -> TaskEntry:
    """The row of a task, by its name or an alias. Raises `InputError` that lists the tasks."""
    task = "translation" if is_translation(name) else ALIASES.get(name, name)
    if task not in TASKS:
        raise InputError(f"unknown task {name!r}; available tasks: {', '.join([*TASKS, *ALIASES])}")
    return TASKS[task]


def is_translation(name: str) -> bool:
    """Whether a task is spelt `translation_xx_to_yy`. Raises `InputError` when it only begins like that."""
    if not name.startswith("translation_"):
        return False
    parts = name.split("_")
    if len(parts) != 4 or parts[2] != "to":
        raise InputError(f"task {name!r}: use the format translation_XX_to_YY, such as translation_en_to_fr")
    return True


def load_class(entry: TaskEntry) -> type[Pipeline]:
    """Import the pipeline class of a row."""
    module, name = entry.pipeline.split(":")
    loaded: type[Pipeline] = getattr(import_module(module), name)
    return loaded
