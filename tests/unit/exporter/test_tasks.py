"""The task table, its synonyms, and which task a checkpoint can do."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from optimum.exporters.tasks import TasksManager
from transformers.pipelines import REMOVED_TASKS, SUPPORTED_TASKS, TASK_ALIASES

from exporter.source import Source, resolve_source
from exporter.tasks import (
    FIELD_TASKS,
    PIPELINE_ALIASES,
    TASKS,
    canonical_task,
    class_names,
    resolve_task,
    tasks_of_model_type,
)
from tests.unit.exporter.refusal import refused
from tests.unit.exporter.test_source import adapter

SOURCE = Source("directory", "/x", "my/model", "model")


def config(model_type: str, *architectures: str, **more: Any) -> Any:
    return SimpleNamespace(model_type=model_type, architectures=list(architectures) or None, **more)


def test_every_row_is_consistent_with_transformers() -> None:
    for name, row in TASKS.items():
        assert name == row.name == row.pipeline
        if row.pipeline in SUPPORTED_TASKS and SUPPORTED_TASKS[row.pipeline]["pt"]:
            assert getattr(transformers, row.auto_class) in SUPPORTED_TASKS[row.pipeline]["pt"]
        # Tasks that borrow another task's head are not what a checkpoint was trained for.
        assert FIELD_TASKS[name] in ((), (row.auto_class,))


def test_the_field_is_complete() -> None:
    known = set(FIELD_TASKS) | set(PIPELINE_ALIASES)
    assert set(SUPPORTED_TASKS) <= known
    assert set(REMOVED_TASKS) <= known
    assert set(TasksManager.get_all_tasks()) <= known
    assert TASK_ALIASES.items() <= PIPELINE_ALIASES.items()
    for autos in FIELD_TASKS.values():
        assert all(hasattr(transformers, auto) for auto in autos)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("text-generation", "text-generation"),
        ("text-generation-with-past", "text-generation"),
        ("causal-lm", "text-generation"),
        ("causal-lm-with-past", "text-generation"),
        (" Text_Generation ", "text-generation"),
        ("sequence-classification", "text-classification"),
        ("sentiment-analysis", "text-classification"),
        ("ner", "token-classification"),
        ("masked-lm", "fill-mask"),
        ("seq2seq-lm-with-past", "text2text-generation"),
        ("default", "feature-extraction"),
        ("vqa", "visual-question-answering"),
        # optimum maps these to the task of their graph; as HF pipelines they are tasks of their own
        ("zero-shot-classification", "zero-shot-classification"),
        ("summarization", "summarization"),
    ],
)
def test_synonyms(given: str, name: str) -> None:
    assert canonical_task(given) == name


@pytest.mark.parametrize(
    ("checkpoint", "task"),
    [
        (config("gpt2", "GPT2LMHeadModel"), "text-generation"),
        (config("llama", "LlamaForCausalLM"), "text-generation"),
        (config("bert", "BertForSequenceClassification"), "text-classification"),
        (config("gpt2", "GPT2ForSequenceClassification"), "text-classification"),
        (config("bert", "BertForTokenClassification"), "token-classification"),
        (config("bert", "BertForMaskedLM"), "fill-mask"),
        (config("bert", "BertForQuestionAnswering"), "question-answering"),
        (config("bert", "BertModel", vocab_size=9), "feature-extraction"),
        (config("x", "XModel", auto_map={"AutoModelForCausalLM": "x.XModel"}), "text-generation"),
    ],
)
def test_task_is_inferred_from_the_architecture(checkpoint: Any, task: str) -> None:
    assert resolve_task(None, checkpoint, SOURCE) is TASKS[task]


def test_task_is_inferred_from_an_adapter(built: Path, tmp_path: Path) -> None:
    source = resolve_source(str(adapter(tmp_path / "lora", str(built / "bert-base"), task_type="SEQ_CLS")))
    assert resolve_task(None, config("bert", "BertModel"), source) is TASKS["text-classification"]
    source = resolve_source(str(adapter(tmp_path / "other", str(built / "gpt2"), task_type=None)))
    assert resolve_task(None, config("gpt2", "GPT2LMHeadModel"), source) is TASKS["text-generation"]


def test_task_that_cannot_be_inferred() -> None:
    with refused("BertForMultipleChoice", "does multiple-choice, which is not supported yet", "text-generation"):
        resolve_task(None, config("bert", "BertForMultipleChoice"), SOURCE)
    with refused("T5Model", "no head", "fine-tuned"):
        resolve_task(None, config("t5", "T5Model", vocab_size=9, is_encoder_decoder=True), SOURCE)
    with refused("names no architecture", "--task"):
        resolve_task(None, config("bert"), SOURCE)
    with refused("Unheard", "no head"):
        resolve_task(None, config("unheard", "UnheardForCausalLM"), SOURCE)


def test_task_that_nobody_knows() -> None:
    with refused("unknown task 'text-generatoin'", "did you mean text-generation?", "text-classification"):
        resolve_task("text-generatoin", config("gpt2", "GPT2LMHeadModel"), SOURCE)
    with refused("unknown task 'zzz'; supported: text-generation, text-classification"):
        resolve_task("zzz", config("gpt2", "GPT2LMHeadModel"), SOURCE)


@pytest.mark.parametrize("task", sorted(set(FIELD_TASKS) - set(TASKS)))
def test_task_of_the_field_that_is_not_supported_yet(task: str) -> None:
    with refused(f"task {task} is not supported yet", "supported: text-generation"):
        resolve_task(task, config("gpt2", "GPT2LMHeadModel"), SOURCE)


def test_task_that_the_architecture_cannot_do() -> None:
    with refused("my/model (vit) cannot do text-generation", "image-classification"):
        resolve_task("text-generation", config("vit", "ViTForImageClassification"), SOURCE)
    with refused("cannot do text-generation", "no task head"):
        resolve_task("text-generation", config("unheard", "UnheardModel"), SOURCE)
    custom = config("unheard", "X", auto_map={"AutoModelForCausalLM": "x.X"})
    assert resolve_task("text-generation", custom, SOURCE) is TASKS["text-generation"]


def test_encoders_do_not_generate() -> None:
    for head in ("BertForMaskedLM", "BertModel"):
        with refused("reads in both directions", "is_decoder"):
            resolve_task("text-generation", config("bert", head, is_decoder=False), SOURCE)
    decoder = config("bert", "BertLMHeadModel", is_decoder=True)
    assert resolve_task("text-generation", decoder, SOURCE).kind == "causal-lm"
    # decoders whose checkpoints were saved without their head, and is_decoder at its default
    assert resolve_task("text-generation", config("gpt2", "GPT2Model", is_decoder=False), SOURCE).kind == "causal-lm"


def test_architectures_tasks() -> None:
    assert {"text-classification", "fill-mask", "question-answering"} <= set(tasks_of_model_type("bert"))
    assert "image-classification" not in tasks_of_model_type("bert")
    assert tasks_of_model_type("unheard") == []
    assert class_names("AutoModelForCausalLM", "gpt2") == ("GPT2LMHeadModel",)


def test_real_config(built: Path) -> None:
    for name, task in (("gpt2", "text-generation"), ("bert", "text-classification")):
        raw = json.loads((built / name / "config.json").read_text())
        assert resolve_task(None, SimpleNamespace(**raw), SOURCE).name == task
