"""Loading: a sound checkpoint comes back ready to trace, an unsound one is refused by name."""

from __future__ import annotations

import json
import logging as std_logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from exporter.loading import Checkpoint, check_device, load_checkpoint, load_config, load_tokenizer
from exporter.quiet import quiet
from exporter.source import resolve_source
from exporter.tasks import TASKS
from runtime.errors import ProviderError
from tests.unit.exporter import models
from tests.unit.exporter.refusal import refused

Copy = Callable[..., Path]
CAUSAL, CLASSIFIER = TASKS["text-generation"], TASKS["text-classification"]


def load(path: Path, row: Any = CAUSAL, **options: Any) -> Checkpoint:
    return load_checkpoint(resolve_source(str(path)), row, **options)


def edit_config(path: Path, **values: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **values}))


def edit_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def test_causal_lm(built: Path) -> None:
    loaded = load(built / "gpt2")
    assert type(loaded.model).__name__ == "GPT2LMHeadModel"
    assert not loaded.model.training
    assert loaded.config._attn_implementation == "eager"
    assert loaded.tokenizer("the cat")["input_ids"] == [2, 3]
    reference = AutoModelForCausalLM.from_pretrained(built / "gpt2", attn_implementation="eager")
    ids = torch.tensor([[2, 3, 4]])
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, reference(ids).logits)


def test_classifier(built: Path) -> None:
    loaded = load(built / "bert", CLASSIFIER)
    assert type(loaded.model).__name__ == "BertForSequenceClassification"
    assert loaded.row is CLASSIFIER


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dtype(built: Path, dtype: str) -> None:
    assert load(built / "gpt2", dtype=dtype).model.dtype == getattr(torch, dtype)


def test_unknown_dtype(built: Path) -> None:
    with refused("unknown dtype 'int4'", "float16"):
        load(built / "gpt2", dtype="int4")


def test_tied_weights_are_not_missing(built: Path) -> None:
    assert "lm_head.weight" not in load_file(built / "gpt2" / "model.safetensors")
    loaded = load(built / "gpt2")
    assert loaded.model.lm_head.weight is loaded.model.transformer.wte.weight


def test_head_that_would_be_random(built: Path) -> None:
    with refused("no weights for classifier.bias, classifier.weight", "random", "fine-tuned"):
        load(built / "bert-base", CLASSIFIER)
    with refused("score.weight"):
        load(built / "gpt2", CLASSIFIER)


def test_missing_weights_are_counted(copy: Copy) -> None:
    path = copy("gpt2")
    edit_weights(path, lambda t: [t.pop(k) for k in list(t) if ".attn." in k or ".mlp." in k])
    with refused("transformer.h.0.attn.c_attn.bias", "and 4 more"):
        load(path)


def test_weights_of_another_size(copy: Copy) -> None:
    path = copy("gpt2")
    edit_config(path, n_positions=64)
    with refused("transformer.wpe.weight has shape [32, 16] where config.json implies [64, 16]"):
        load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(copy: Copy, value: float) -> None:
    path = copy("gpt2")
    edit_weights(path, lambda t: t["transformer.h.0.mlp.c_fc.weight"].view(-1).__setitem__(7, value))
    with refused("transformer.h.0.mlp.c_fc.weight holds NaN or infinite values", "broken"):
        load(path)


def test_weights_that_overflow_in_float16(copy: Copy) -> None:
    path = copy("gpt2")
    edit_weights(path, lambda t: t["transformer.ln_f.weight"].fill_(1e5))
    with refused("transformer.ln_f.weight", "float16 may be too narrow", "bfloat16"):
        load(path, dtype="float16")
    assert load(path, dtype="bfloat16").model.dtype == torch.bfloat16


def test_missing_tokenizer(copy: Copy) -> None:
    path = copy("gpt2")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).unlink()
    with refused("has no tokenizer", "tokenizer.json", "vocab.json with merges.txt"):
        load(path)
    (path / "vocab.json").write_text("{}")
    with refused("has no tokenizer"):
        load(path)


def test_damaged_tokenizer(copy: Copy) -> None:
    path = copy("gpt2")
    (path / "tokenizer.json").write_text("{")
    with refused("cannot be loaded (its tokenizer)"):
        load(path)


def test_tokenizer_larger_than_the_embedding(copy: Copy) -> None:
    path = copy("gpt2")
    models.tokenizer(33).save_pretrained(path)
    with refused("ids up to 32", "32 rows", "resize_token_embeddings"):
        load(path)
    models.tokenizer(32).save_pretrained(path)
    assert len(load(path).tokenizer) == 32


def test_unknown_architecture(copy: Copy) -> None:
    path = copy("gpt2")
    edit_config(path, model_type="gpt22")
    with refused("model_type 'gpt22' is not known to transformers"):
        load(path)
    edit_config(path, auto_map={"AutoConfig": "custom.Config"})
    with refused("its own model code", "--trust-remote-code"):
        load(path)


REMOTE_CODE = """
from transformers import GPT2Config, GPT2LMHeadModel

class OwnConfig(GPT2Config):
    model_type = "own"

class OwnModel(GPT2LMHeadModel):
    config_class = OwnConfig
"""


def test_remote_code_runs_only_when_trusted(copy: Copy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    path = copy("gpt2")
    (path / "own.py").write_text(REMOTE_CODE)
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    edit_config(path, model_type="own", architectures=["OwnModel"], auto_map=auto_map)
    with refused("--trust-remote-code"):
        load(path)
    assert type(load(path, trust_remote_code=True).model).__name__ == "OwnModel"


def test_quantised_checkpoint(copy: Copy) -> None:
    path = copy("gpt2")
    edit_config(path, quantization_config={"quant_method": "gptq", "bits": 4})
    with refused("quantised already"):
        load_config(resolve_source(str(path)))


def test_config_of_impossible_values(copy: Copy) -> None:
    path = copy("gpt2")
    edit_config(path, n_head=3)
    with refused("cannot be loaded"):
        load(path)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "", "mps"])
def test_unknown_device(device: str) -> None:
    with refused("unknown device", "cpu, cuda", kind=ProviderError):
        check_device(device)


def test_cuda_build_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    with refused("built without CUDA", "install a CUDA build", kind=ProviderError):
        check_device("cuda")


def test_gpu_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with refused("no NVIDIA GPU or driver for CUDA 13.0", kind=ProviderError):
        check_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with refused("no GPU 1", kind=ProviderError):
        check_device("cuda:1")
    check_device("cuda:0")


def test_loading_prints_nothing(built: Path) -> None:
    script = f"""
from exporter.source import resolve_source
from exporter.loading import load_checkpoint
from exporter.tasks import TASKS
load_checkpoint(resolve_source({str(built / "gpt2")!r}), TASKS["text-generation"])
try:
    load_checkpoint(resolve_source({str(built / "bert-base")!r}), TASKS["text-classification"])
except Exception:
    pass
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout + result.stderr == ""


@pytest.mark.parametrize("bars", [True, False])
def test_quiet_restores_everything(bars: bool) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled

    was = logging.get_verbosity(), logging.is_progress_bar_enabled(), list(warnings.filters)
    try:
        logging.set_verbosity(std_logging.INFO)
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
        with pytest.raises(KeyError), quiet():
            assert logging.get_verbosity() == std_logging.ERROR
            assert not logging.is_progress_bar_enabled()
            raise KeyError
        assert logging.get_verbosity() == std_logging.INFO
        assert logging.is_progress_bar_enabled() is bars
        assert are_progress_bars_disabled() is not bars
    finally:
        logging.set_verbosity(was[0])
        (logging.enable_progress_bar if was[1] else logging.disable_progress_bar)()
    assert warnings.filters == was[2]


def test_tokenizer_alone(built: Path) -> None:
    assert load_tokenizer(resolve_source(str(built / "bert"))).is_fast
