"""PEFT adapters: merged, they answer as peft's own model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from exporter.loading import load_checkpoint, load_config
from exporter.source import resolve_source
from exporter.tasks import resolve_task
from tests.unit.exporter import models
from tests.unit.exporter.refusal import refused

IDS = torch.tensor([[2, 3, 4, 5], [6, 7, 8, 9]])


def randomised(model: Any) -> Any:
    """LoRA's B matrices start at zero: give the adapter an effect."""
    torch.manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        return model(ids).logits  # type: ignore[no-any-return]


def loaded(path: Path) -> Any:
    source = resolve_source(str(path))
    return load_checkpoint(source, resolve_task(None, load_config(source), source))


@pytest.fixture
def lora(built: Path, tmp_path: Path) -> Path:
    base = AutoModelForCausalLM.from_pretrained(built / "gpt2")
    config = LoraConfig(r=4, target_modules=["c_attn"], task_type="CAUSAL_LM", fan_in_fan_out=True)
    randomised(get_peft_model(base, config)).save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


def test_merged_logits(built: Path, lora: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(built / "gpt2")
    plain = logits(base.eval())
    expected = logits(PeftModel.from_pretrained(base, lora).eval())
    found = loaded(lora)
    assert type(found.model).__name__ == "GPT2LMHeadModel"
    assert not [name for name, _ in found.model.named_parameters() if "lora" in name]
    assert not found.model.training
    torch.testing.assert_close(logits(found.model), expected, atol=1e-5, rtol=1e-5)
    assert (expected - plain).abs().max() > 0.01
    assert found.tokenizer("the")["input_ids"] == [2]  # the base's
    assert found.source.name == "lora"


def test_the_adapters_own_tokenizer_wins(lora: Path) -> None:
    models.tokenizer(20).save_pretrained(lora)
    assert len(loaded(lora).tokenizer) == 20


def classifier(built: Path, target: Path, labels: int) -> Any:
    base = AutoModelForSequenceClassification.from_pretrained(built / "bert-base", num_labels=labels)
    config = LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS")
    model = randomised(get_peft_model(base, config))
    model.save_pretrained(target)
    return model


@pytest.mark.parametrize("labels", [2, 3])
def test_head_that_the_adapter_brings(built: Path, tmp_path: Path, labels: int) -> None:
    """The base has no classifier, and adapter_config.json does not say how many labels there are."""
    model = classifier(built, tmp_path / "lora", labels)
    found = loaded(tmp_path / "lora")
    assert type(found.model).__name__ == "BertForSequenceClassification"
    assert len(found.config.id2label) == labels
    torch.testing.assert_close(logits(found.model), logits(model), atol=1e-5, rtol=1e-5)


def test_config_beside_the_adapter_names_the_labels(built: Path, tmp_path: Path) -> None:
    model = classifier(built, tmp_path / "lora", 3)
    model.config.id2label = {0: "bad", 1: "fair", 2: "good"}
    model.config.save_pretrained(tmp_path / "lora")
    found = loaded(tmp_path / "lora")
    assert found.config.id2label == {0: "bad", 1: "fair", 2: "good"}
    torch.testing.assert_close(logits(found.model), logits(model), atol=1e-5, rtol=1e-5)


def test_head_that_nobody_brings(built: Path, tmp_path: Path) -> None:
    base = AutoModelForSequenceClassification.from_pretrained(built / "bert-base")
    config = LoraConfig(r=2, target_modules=["query"])
    get_peft_model(base, config).save_pretrained(tmp_path / "lora")
    source = resolve_source(str(tmp_path / "lora"))
    row = resolve_task("text-classification", load_config(source), source)
    with refused("no weights for classifier.bias, classifier.weight"):
        load_checkpoint(source, row)


def test_embedding_grown_in_training(built: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(built / "gpt2")
    base.resize_token_embeddings(40)
    config = LoraConfig(
        r=2, target_modules=["c_attn"], modules_to_save=["wte"], task_type="CAUSAL_LM", fan_in_fan_out=True
    )
    model = randomised(get_peft_model(base, config))
    model.save_pretrained(tmp_path / "lora")
    models.tokenizer(40).save_pretrained(tmp_path / "lora")
    found = loaded(tmp_path / "lora")
    assert found.model.get_input_embeddings().weight.shape[0] == 40
    ids = torch.tensor([[2, 39, 33, 5]])
    torch.testing.assert_close(logits(found.model, ids), logits(model, ids), atol=1e-5, rtol=1e-5)


def test_adapter_that_cannot_be_merged(built: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(built / "gpt2")
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(base, config).save_pretrained(tmp_path / "prompt")
    with refused("PROMPT_TUNING", "cannot be merged"):
        loaded(tmp_path / "prompt")
