"""HF's tokenizer semantics on `tokenizers` and `jinja2` alone."""

from runtime.tokenizer.detokenize import DecodeStream
from runtime.tokenizer.encoding import BatchEncoding
from runtime.tokenizer.tokenizer import Tokenizer

__all__ = ["BatchEncoding", "DecodeStream", "Tokenizer"]
