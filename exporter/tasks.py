"""The task table: which tasks can be exported, by which AutoClass a checkpoint is loaded for them, and their names."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runtime.errors import ExportError

if TYPE_CHECKING:
    from exporter.source import Source

Kind = Literal["causal-lm", "seq2seq", "captioning", "encoder", "vision"]


@dataclass(frozen=True)
class TaskRow:
    """One task. `kind` chooses the exporter's path, `modality` what its inputs are made of."""

    name: str  # as in transformers.pipelines.SUPPORTED_TASKS
    auto_class: str  # transformers class that loads a checkpoint with the task's head
    kind: Kind
    modality: Literal["text", "image", "image-text"]
    pipeline: str  # name of the HF pipeline whose answers the bundle reproduces
    peft_type: str = ""  # peft.TaskType of its adapters
    # Encoders and vision models: the model outputs that become graph outputs, with the names of their free dimensions.
    outputs: tuple[tuple[str, tuple[str | None, ...]], ...] = ()


_ROWS = [
    TaskRow("text-generation", "AutoModelForCausalLM", "causal-lm", "text", "text-generation", "CAUSAL_LM"),
    TaskRow(
        "text-classification",
        "AutoModelForSequenceClassification",
        "encoder",
        "text",
        "text-classification",
        "SEQ_CLS",
        outputs=(("logits", ("batch", None)),),
    ),
    TaskRow(
        "token-classification",
        "AutoModelForTokenClassification",
        "encoder",
        "text",
        "token-classification",
        "TOKEN_CLS",
        outputs=(("logits", ("batch", "sequence", None)),),
    ),
    TaskRow(
        "fill-mask",
        "AutoModelForMaskedLM",
        "encoder",
        "text",
        "fill-mask",
        outputs=(("logits", ("batch", "sequence", None)),),
    ),
    TaskRow(
        "question-answering",
        "AutoModelForQuestionAnswering",
        "encoder",
        "text",
        "question-answering",
        "QUESTION_ANS",
        outputs=(("start_logits", ("batch", "sequence")), ("end_logits", ("batch", "sequence"))),
    ),
    TaskRow(
        "zero-shot-classification",
        "AutoModelForSequenceClassification",
        "encoder",
        "text",
        "zero-shot-classification",
        outputs=(("logits", ("batch", None)),),
    ),
    TaskRow(
        "feature-extraction",
        "AutoModel",
        "encoder",
        "text",
        "feature-extraction",
        "FEATURE_EXTRACTION",
        outputs=(("last_hidden_state", ("batch", "sequence", None)),),
    ),
    TaskRow(
        "sentence-similarity",
        "AutoModel",
        "encoder",
        "text",
        "sentence-similarity",
        outputs=(("last_hidden_state", ("batch", "sequence", None)),),
    ),
    TaskRow("text2text-generation", "AutoModelForSeq2SeqLM", "seq2seq", "text", "text2text-generation", "SEQ_2_SEQ_LM"),
    TaskRow("image-to-text", "AutoModelForImageTextToText", "captioning", "image-text", "image-to-text"),
    TaskRow("summarization", "AutoModelForSeq2SeqLM", "seq2seq", "text", "summarization"),
    TaskRow("translation", "AutoModelForSeq2SeqLM", "seq2seq", "text", "translation"),
    TaskRow(
        "image-classification",
        "AutoModelForImageClassification",
        "vision",
        "image",
        "image-classification",
        outputs=(("logits", ("batch", None)),),
    ),
    TaskRow(
        "object-detection",
        "AutoModelForObjectDetection",
        "vision",
        "image",
        "object-detection",
        outputs=(("logits", ("batch", None, None)), ("pred_boxes", ("batch", None, None))),
    ),
]
TASKS: dict[str, TaskRow] = {row.name: row for row in _ROWS}

# Tasks of the field with the AutoClasses that serve them: to say "not yet", and what a checkpoint could do.
# Tasks served by the bare AutoModel have none here, except feature-extraction: any architecture would match.
FIELD_TASKS: dict[str, tuple[str, ...]] = {
    "text-generation": ("AutoModelForCausalLM",),
    "text-classification": ("AutoModelForSequenceClassification",),
    "token-classification": ("AutoModelForTokenClassification",),
    "question-answering": ("AutoModelForQuestionAnswering",),
    "fill-mask": ("AutoModelForMaskedLM",),
    "multiple-choice": ("AutoModelForMultipleChoice",),
    "text2text-generation": ("AutoModelForSeq2SeqLM",),
    "image-text-to-text": ("AutoModelForImageTextToText",),
    "image-classification": ("AutoModelForImageClassification",),
    "image-segmentation": (
        "AutoModelForImageSegmentation",
        "AutoModelForSemanticSegmentation",
        "AutoModelForInstanceSegmentation",
        "AutoModelForUniversalSegmentation",
    ),
    "object-detection": ("AutoModelForObjectDetection",),
    "depth-estimation": ("AutoModelForDepthEstimation",),
    "image-to-image": ("AutoModelForImageToImage",),
    "masked-im": ("AutoModelForMaskedImageModeling",),
    "mask-generation": ("AutoModelForMaskGeneration",),
    "keypoint-detection": ("AutoModelForKeypointDetection",),
    "keypoint-matching": ("AutoModelForKeypointMatching",),
    "video-classification": ("AutoModelForVideoClassification",),
    "zero-shot-image-classification": ("AutoModelForZeroShotImageClassification",),
    "zero-shot-object-detection": ("AutoModelForZeroShotObjectDetection",),
    "visual-question-answering": ("AutoModelForVisualQuestionAnswering",),
    "document-question-answering": ("AutoModelForDocumentQuestionAnswering",),
    "table-question-answering": ("AutoModelForTableQuestionAnswering",),
    "audio-classification": ("AutoModelForAudioClassification",),
    "audio-frame-classification": ("AutoModelForAudioFrameClassification",),
    "audio-xvector": ("AutoModelForAudioXVector",),
    "automatic-speech-recognition": ("AutoModelForSpeechSeq2Seq", "AutoModelForCTC", "AutoModelForTDT"),
    "text-to-audio": ("AutoModelForTextToSpectrogram", "AutoModelForTextToWaveform"),
    "time-series-forecasting": ("AutoModelForTimeSeriesPrediction",),
    "any-to-any": ("AutoModelForMultimodalLM",),
    "decision": ("AutoModelForDecision",),
    "feature-extraction": ("AutoModel",),
    "zero-shot-classification": (),
    "zero-shot-audio-classification": (),
    "image-feature-extraction": (),
    "summarization": ("AutoModelForSeq2SeqLM",),
    "translation": ("AutoModelForSeq2SeqLM",),
    "image-to-text": ("AutoModelForImageTextToText",),
    "text-to-image": (),
    "inpainting": (),
    "sentence-similarity": (),
    "reinforcement-learning": (),
    "semantic-segmentation": (),
}

# transformers.pipelines.TASK_ALIASES, and "vqa", which transformers 5 removed with its pipeline.
PIPELINE_ALIASES = {
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "text-to-speech": "text-to-audio",
    "vqa": "visual-question-answering",
}


def canonical_task(task: str) -> str:
    """The table's name of a task: HF pipeline aliases first, then optimum's synonyms; "-with-past" is dropped."""
    name = task.strip().lower().replace("_", "-").removesuffix("-with-past")
    name = PIPELINE_ALIASES.get(name, name)
    if name in FIELD_TASKS:
        return name
    from optimum.exporters.tasks import TasksManager  # imports torch

    return str(TasksManager.map_from_synonym(name))


def resolve_task(task: str | None, config: Any, source: Source) -> TaskRow:
    """The row for `task`, or the one that the checkpoint's architecture was trained for when `task` is None.

    `config` is the checkpoint's `PretrainedConfig`. Raises `ExportError` for a task that is unknown, not supported
    yet, or that this architecture cannot do.
    """
    if task is None:
        return _infer(config, source)
    row = _row(task)
    if not _auto_map(config).get(row.auto_class):
        _check_architecture(row, config, source)
    return row


def _row(task: str) -> TaskRow:
    name = canonical_task(task)
    if name in TASKS:
        return TASKS[name]
    supported = ", ".join(TASKS)
    if name in FIELD_TASKS:
        raise ExportError(f"task {task} is not supported yet; supported: {supported}")
    close = difflib.get_close_matches(name, [*TASKS, *FIELD_TASKS, *PIPELINE_ALIASES], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ExportError(f"unknown task {task!r}{hint}; supported: {supported}")


def _infer(config: Any, source: Source) -> TaskRow:
    row = _row_of_adapter(source) or _row_of_auto_map(config)
    architectures = list(getattr(config, "architectures", None) or [])
    for name in architectures:
        able = [r for r in TASKS.values() if name in class_names(r.auto_class, config.model_type)]
        row = row or _most_fitting(able, config)
    if row is not None and row.auto_class == "AutoModel":
        row = _row_without_head(config, source)
    if row is None:
        raise ExportError(_cannot_infer(architectures, config, source))
    return row


def _row_without_head(config: Any, source: Source) -> TaskRow | None:
    """A text encoder without a head gives features, one that sentence-transformers wrote sentence embeddings."""
    from pathlib import Path

    from exporter.sentences import is_sentence_model

    if getattr(config, "is_encoder_decoder", False) or not getattr(config, "vocab_size", 0):
        return None
    return TASKS["sentence-similarity" if is_sentence_model(Path(source.location)) else "feature-extraction"]


def _most_fitting(rows: list[TaskRow], config: Any) -> TaskRow | None:
    """transformers lists BART's one class for filling masks too: an encoder–decoder is there to write text.

    And GIT's among the causal language models: one with a vision part is there to caption.
    """
    writes = getattr(config, "is_encoder_decoder", False)
    sees = getattr(config, "vision_config", None) is not None
    kinds = (("seq2seq", "captioning") if writes else ()) + (("captioning",) if sees else ())
    return next((row for row in rows if row.kind in kinds), next(iter(rows), None))


def _cannot_infer(architectures: list[str], config: Any, source: Source) -> str:
    supported = ", ".join(TASKS)
    if not architectures:
        return f"{source.id}: config.json names no architecture, so its task is unknown: pass --task ({supported})"
    head = architectures[0]
    trained = [
        task
        for task, autos in FIELD_TASKS.items()
        if task != "feature-extraction" and any(head in class_names(auto, config.model_type) for auto in autos)
    ]
    if trained:
        return f"{source.id} ({head}) does {trained[0]}, which is not supported yet; supported: {supported}"
    return f"{source.id} ({head}) has no head of a supported task: give a checkpoint fine-tuned for one of {supported}"


def _row_of_adapter(source: Source) -> TaskRow | None:
    if source.kind != "peft":
        return None
    from pathlib import Path

    from exporter.shards import read_json

    peft_type = read_json(Path(source.location) / "adapter_config.json").get("task_type")
    return next((row for row in TASKS.values() if row.peft_type and row.peft_type == peft_type), None)


def _row_of_auto_map(config: Any) -> TaskRow | None:
    """Remote code names the AutoClasses it serves in config.json's auto_map."""
    return next((row for row in TASKS.values() if row.auto_class in _auto_map(config)), None)


def _auto_map(config: Any) -> dict[str, Any]:
    return dict(getattr(config, "auto_map", None) or {})


def _check_architecture(row: TaskRow, config: Any, source: Source) -> None:
    able = class_names(row.auto_class, config.model_type)
    if not able:
        tasks = tasks_of_model_type(config.model_type)
        can = f"it can do {', '.join(tasks)}" if tasks else "transformers has no task head for it"
        raise ExportError(f"{source.id} ({config.model_type}) cannot do {row.name}: {can}")
    if row.kind == "causal-lm" and _is_bidirectional(config, able):
        head = config.architectures[0]
        raise ExportError(
            f"{source.id} ({head}) is an encoder that reads in both directions, it cannot do {row.name}: give a "
            f"checkpoint of {able[0]} trained with is_decoder=true"
        )


def _is_bidirectional(config: Any, able: tuple[str, ...]) -> bool:
    # BERT and its kin are in transformers' causal-LM mapping; without is_decoder their mask is not causal.
    # Decoders such as GPT-2 carry is_decoder=False too, but their checkpoints name the causal-LM class.
    architectures = list(getattr(config, "architectures", None) or [])
    encoders = class_names("AutoModelForMaskedLM", config.model_type)
    own = bool(architectures) and architectures[0] not in able
    return own and bool(encoders) and not getattr(config, "is_decoder", False)


def class_names(auto_class: str, model_type: str) -> tuple[str, ...]:
    """Names of the model classes that `auto_class` (a name) has for `model_type`, from transformers' Auto mappings."""
    import transformers

    names = getattr(transformers, auto_class)._model_mapping._model_mapping.get(model_type, ())
    return (names,) if isinstance(names, str) else tuple(names)


def tasks_of_model_type(model_type: str) -> list[str]:
    """Names of the field's tasks that transformers has a head for in this architecture."""
    return [task for task, autos in FIELD_TASKS.items() if any(class_names(auto, model_type) for auto in autos)]
