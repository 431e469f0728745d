"""The runtime's table of architectures, which is written from transformers' mappings."""

from __future__ import annotations

import pytest

from exporter.architectures import TABLE, source
from exporter.tasks import TASKS
from runtime.pipelines.architectures import ARCHITECTURES
from runtime.pipelines.registry import TASKS as RUNTIME_TASKS


def test_the_table_is_what_the_installed_transformers_says() -> None:
    assert TABLE.read_text(encoding="utf-8") == source(), "run `python -m exporter.architectures`"


def test_every_task_has_a_row() -> None:
    assert ARCHITECTURES.keys() == TASKS.keys() == RUNTIME_TASKS.keys()


@pytest.mark.parametrize(
    ("task", "names"),
    [
        (
            "text-generation",
            {"gpt2", "llama", "qwen3", "gemma3_text", "mistral", "mixtral", "gpt_oss", "bloom", "mamba"},
        ),
        (
            "fill-mask",
            {"bert", "roberta", "distilbert", "deberta-v2", "modernbert", "albert", "electra", "xlm-roberta"},
        ),
        ("translation", {"t5", "bart", "mbart", "marian", "pegasus", "m2m_100"}),
        ("image-classification", {"vit", "deit", "swin", "convnext", "resnet"}),
        ("object-detection", {"detr", "conditional_detr", "yolos", "rt_detr"}),
        ("image-to-text", {"vision-encoder-decoder", "blip", "git"}),
    ],
)
def test_architectures_that_are_tested_here_are_known(task: str, names: set[str]) -> None:
    assert names <= set(ARCHITECTURES[task])
