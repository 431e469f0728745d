"""Byte-level BPE tokenizers in the GPT-2 manner, trained on given text."""

import json

from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Tokenizer

END_OF_TEXT = "<|endoftext|>"


def gpt2_tokenizer(texts: list[str], vocab_size: int, max_length: int) -> GPT2Tokenizer:
    """A GPT-2 tokenizer of at most ``vocab_size`` ids; ``<|endoftext|>`` is id 0 and serves as bos, eos and pad."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=vocab_size, special_tokens=[END_OF_TEXT], show_progress=False)
    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    return GPT2Tokenizer(model["vocab"], merges, pad_token=END_OF_TEXT, model_max_length=max_length)
