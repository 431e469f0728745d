"""translation and translation_xx_to_yy: text2text-generation under its own name (transformers 4.57).

Languages: the checkpoint's own (Marian), a prefix that the checkpoint names for `translation_xx_to_yy` (T5), or
language tokens (mBART, NLLB, M2M100), resolved at export into `postprocess["languages"]`.
"""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.pipelines.text2text_generation import Text2TextGenerationPipeline


class TranslationPipeline(Text2TextGenerationPipeline):
    """`pipe("text")` -> `[{"translation_text": ...}]`; `src_lang` and `tgt_lang` where languages are tokens."""

    task = "translation"
    return_name = "translation"

    def preprocess(
        self, inputs: Any, truncation: Any = False, src_lang: str | None = None, tgt_lang: str | None = None, **kw: Any
    ) -> dict[str, Any]:
        """As text2text-generation, with the source language's tokens around the text."""
        languages = self.manifest.postprocess.get("languages")
        if not languages:
            return super().preprocess(inputs, truncation, **kw)
        affixes = language(languages, src_lang, "src_lang")
        language(languages, tgt_lang, "tgt_lang")
        room = self.tokenizer.model_max_length
        if truncation and room is not None:
            kw = {**kw, "max_length": room - len(affixes["prefix"]) - len(affixes["suffix"])}
        plain = super().preprocess(inputs, truncation, **{**kw, "add_special_tokens": False})
        ids = [*affixes["prefix"], *plain["input_ids"][0].tolist(), *affixes["suffix"]]
        return {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, len(ids)), np.int64)}

    def _sanitize_parameters(
        self, *args: Any, src_lang: str | None = None, tgt_lang: str | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        languages = self.manifest.postprocess.get("languages")
        if not languages and (src_lang or tgt_lang):
            raise InputError("this checkpoint has no language tokens: leave src_lang and tgt_lang out")
        if languages:
            named = self.task.split("_")
            src_lang, tgt_lang = (
                (src_lang or named[1], tgt_lang or named[3]) if len(named) == 4 else (src_lang, tgt_lang)
            )
            if tgt_lang is not None:
                kwargs.setdefault("forced_bos_token_id", language(languages, tgt_lang, "tgt_lang")["id"])
        pre, forward, post = super()._sanitize_parameters(*args, **kwargs)
        named_languages = {"src_lang": src_lang, "tgt_lang": tgt_lang}
        return pre | {name: code for name, code in named_languages.items() if code}, forward, post


def language(languages: dict[str, Any], code: str | None, name: str) -> dict[str, Any]:
    """The tokens of a language. Raises `InputError` that lists close codes."""
    if code is None:
        raise InputError(
            f"this checkpoint translates between many languages: pass {name}, such as {next(iter(languages))}"
        )
    if code not in languages:
        close = difflib.get_close_matches(code, languages, n=3) or list(languages)[:5]
        raise InputError(f"unknown language {code!r} for {name}: try {', '.join(close)}")
    found: dict[str, Any] = languages[code]
    return found
