"""Tokenizers whose languages are tokens (mBART, NLLB): what they put around a text, for every language.

transformers keeps this in Python (`set_src_lang_special_tokens`); the runtime gets a table.
"""

from __future__ import annotations

from typing import Any

from exporter.quiet import quiet


def language_table(tokenizer: Any) -> dict[str, dict[str, Any]]:
    """`{code: {"id", "prefix", "suffix"}}`: the language's token, and the ids before and after a text in it.

    Empty for tokenizers without languages. The tokenizer is left as it was.
    """
    if not hasattr(tokenizer, "set_src_lang_special_tokens"):
        return {}
    own = tokenizer.src_lang
    with quiet():
        table = {code: affixes(tokenizer, code) for code in codes(tokenizer)}
    tokenizer.src_lang = own
    return table


def codes(tokenizer: Any) -> list[str]:
    """Language codes: the tokenizer's own map where it has one, else the extra special tokens that look like codes."""
    known = getattr(tokenizer, "lang_code_to_id", None)
    if known:
        return list(known)
    return [token for token in tokenizer.all_special_tokens if "_" in token.strip("_") and not token.startswith("<")]


def affixes(tokenizer: Any, code: str) -> dict[str, Any]:
    """Ids before and after an empty text in a language."""
    tokenizer.src_lang = code
    tokenizer.set_src_lang_special_tokens(code)
    return {
        "id": int(getattr(tokenizer, "lang_code_to_id", {}).get(code, tokenizer.convert_tokens_to_ids(code))),
        "prefix": [int(token) for token in tokenizer.prefix_tokens],
        "suffix": [int(token) for token in tokenizer.suffix_tokens],
    }
