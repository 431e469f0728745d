"""Tiny random checkpoints, built by transformers itself: what `save_pretrained` writes is what users have."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

WORDS = ["[UNK]", "[PAD]", "the", "cat", "sat", "on", "a", "mat", "and", "saw", "dogs", "run", "far"]


def tokenizer(size: int = len(WORDS)) -> PreTrainedTokenizerFast:
    """A word-level tokenizer with `size` ids."""
    words = [*WORDS, *(f"w{i}" for i in range(size - len(WORDS)))]
    built = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=built, unk_token="[UNK]", pad_token="[PAD]")


def gpt2(directory: Path, seed: int = 0, **config: object) -> Path:
    """A GPT-2 of one layer with tied embeddings, and its tokenizer."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": 32, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
    model = GPT2LMHeadModel(GPT2Config(**{**sizes, "bos_token_id": 0, "eos_token_id": 0, **config}))
    model.save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    return directory


def bert(directory: Path, head: str = "classifier", **config: object) -> Path:
    """A BERT of one layer: with a "classifier", a "masked-lm" head, or "none"."""
    torch.manual_seed(1)
    sizes = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    made = BertConfig(**{**sizes, "intermediate_size": 16, "max_position_embeddings": 32, **config})
    kinds = {"classifier": BertForSequenceClassification, "masked-lm": BertForMaskedLM, "none": BertModel}
    kinds[head](made).save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    return directory
