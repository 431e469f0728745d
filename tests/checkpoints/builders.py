"""Random-weight checkpoints: real sizes for measurements, tiny ones of many architectures for export tests.

``python -m tests.checkpoints.builders gpt2_124m DIR`` writes one of the real-size checkpoints to DIR.
Each function writes config.json, generation_config.json (generators), model.safetensors (float32) and a tokenizer,
and returns the folder. The same arguments give the same weights.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from tests.checkpoints import TINY_BERT, TINY_GPT2
from tests.checkpoints.classifier_tokenizers import classifier_tokenizer
from tests.checkpoints.rows import CAUSAL_ROWS, CLASSIFIER_ROWS, POSITIONS, REAL_ROWS, Row
from tests.checkpoints.weights import seeded_model

SEED = 7


def tiny(model_type: str, path: Path | str, **overrides: Any) -> Path:
    """A 2-layer causal LM of ``model_type`` (a key of ``CAUSAL_ROWS``); ``overrides`` change its config."""
    tokenizer = _tokenizer(TINY_GPT2, POSITIONS)
    row = {"vocab_size": len(tokenizer)} | CAUSAL_ROWS[model_type] | overrides
    return _save(AutoModelForCausalLM, model_type, row, tokenizer, Path(path))


def tiny_classifier(model_type: str, path: Path | str, num_labels: int = 3, **overrides: Any) -> Path:
    """A 2-layer sequence classifier of ``model_type`` (a key of ``CLASSIFIER_ROWS``) with ``num_labels`` labels."""
    tokenizer = classifier_tokenizer(model_type, POSITIONS)
    row = {"vocab_size": len(tokenizer), "num_labels": num_labels} | CLASSIFIER_ROWS[model_type] | overrides
    return _save(AutoModelForSequenceClassification, model_type, row, tokenizer, Path(path))


def gpt2_124m(path: Path | str) -> Path:
    """GPT-2 small: 124 million parameters, vocabulary 50257 of which the tokenizer uses the first 2048."""
    return _real_lm("gpt2", "gpt2_124m", path)


def llama_160m(path: Path | str) -> Path:
    """A 123-million Llama: 12 layers, width 768, 12 heads over 3 key/value heads, vocabulary 32000, untied."""
    return _real_lm("llama", "llama_160m", path)


def llama_160m_8k(path: Path | str) -> Path:
    """`llama_160m` with 8192 positions."""
    return _real_lm("llama", "llama_160m_8k", path)


def qwen2_05b(path: Path | str) -> Path:
    """The shape of Qwen2.5-0.5B: 24 layers, width 896, 14 heads over 2 key/value heads, vocabulary 151936, tied."""
    return _real_lm("qwen2", "qwen2_05b", path)


def bert_base(path: Path | str) -> Path:
    """BERT base for two labels: 12 layers, width 768, vocabulary 30522, with the sentiment model's tokenizer."""
    row = REAL_ROWS["bert_base"] | {"id2label": {0: "NEGATIVE", 1: "POSITIVE"}}
    tokenizer = _tokenizer(TINY_BERT, row["max_position_embeddings"])
    return _save(AutoModelForSequenceClassification, "bert", row, tokenizer, Path(path))


REAL: dict[str, Callable[[Path | str], Path]] = {
    "gpt2_124m": gpt2_124m,
    "llama_160m": llama_160m,
    "llama_160m_8k": llama_160m_8k,
    "qwen2_05b": qwen2_05b,
    "bert_base": bert_base,
}


def _real_lm(model_type: str, name: str, path: Path | str) -> Path:
    """A real-size causal LM with the trained GPT-2's tokenizer; ids beyond its vocabulary decode to nothing."""
    row = REAL_ROWS[name]
    tokenizer = _tokenizer(TINY_GPT2, row.get("n_positions") or row["max_position_embeddings"])
    return _save(AutoModelForCausalLM, model_type, row, tokenizer, Path(path))


def _save(auto_class: Any, model_type: str, row: Row, tokenizer: PreTrainedTokenizerBase, path: Path) -> Path:
    """Build the model of ``row``, its special ids taken from ``tokenizer``, and write both to ``path``."""
    config = AutoConfig.for_model(model_type, **_special_ids(tokenizer) | row)
    model = seeded_model(lambda: auto_class.from_config(config), SEED)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    # AutoTokenizer chooses its class by model type, and some classes split text their own way (Qwen2's does).
    # What it chooses is saved, so that tokenizer.json and AutoTokenizer agree, as in published checkpoints.
    AutoTokenizer.from_pretrained(path).save_pretrained(path)
    return path


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> Row:
    """The tokenizer's bos, eos and pad ids where it has them, under their names in a config."""
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return {name: value for name, value in ids.items() if value is not None}


def _tokenizer(folder: Path, max_length: int) -> PreTrainedTokenizerBase:
    """The tokenizer of a trained checkpoint, to truncate at ``max_length`` tokens."""
    return AutoTokenizer.from_pretrained(folder, model_max_length=max_length)


def main() -> None:
    """Write the checkpoint named on the command line."""
    parser = argparse.ArgumentParser(description="Write a random-weight checkpoint of a real size.")
    parser.add_argument("name", choices=sorted(REAL))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(REAL[arguments.name](arguments.folder))


if __name__ == "__main__":
    main()
