"""text2text-generation, and what summarization and translation share with it.

transformers 5 dropped these pipelines; the contract is 4.57's (`pipelines/text2text_generation.py`).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from runtime.errors import InputError
from runtime.generation.config import GenerationConfig, resolve
from runtime.generation.model import DEFAULT_SLOTS, LanguageModel, as_ids, open_runner
from runtime.pipelines.base import Pipeline
from runtime.pipelines.raw_text import raw_decoder
from runtime.pipelines.token_logprobs import logprob_extras, logprobs_of
from runtime.tokenizer import Tokenizer

# Parameters of a language pair that the checkpoint does not name.
ANY_PAIR = "translation_xx_to_yy"
GLOBAL_MAX_LENGTH = 20  # transformers' default, which counts as not given
TOKENIZER_ARGUMENTS = ("truncation", "padding", "add_special_tokens")


class Text2TextGenerationPipeline(Pipeline):
    """Text in, text out, through an encoder–decoder.

    `pipe("text")` -> `[{"generated_text": ...}]`; a list of texts gives a flat list when each has one answer, else a
    list of lists. Defaults as in HF: 4 beams and 256 new tokens, or what the checkpoint says for the task, which may
    put a prefix ("summarize: ") before the text too. Texts are not truncated unless `truncation=True`.

    slots: sequences (beams) under way at the same time.
    """

    task = "text2text-generation"
    return_name = "generated"
    generation: dict[str, Any]  # of the task

    def __init__(self, *args: Any, slots: int = DEFAULT_SLOTS, **kwargs: Any) -> None:
        self._slots = slots
        super().__init__(*args, **kwargs)
        # HF's oddity: given to the constructor, but not to a call, max_length cancels the default of 256 new tokens.
        if kwargs.get("max_length") not in (None, GLOBAL_MAX_LENGTH) and kwargs.get("max_new_tokens") is None:
            self.generation = {name: value for name, value in self.generation.items() if name != "max_new_tokens"}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not args or isinstance(args[0], tuple):
            raise InputError(f"{self.task} takes a text or a list of texts")
        inputs = args[0]
        if len(args) > 1:  # as in HF, which logs it
            warnings.warn(f"{self.task} answers its first argument only: pass several texts as a list", stacklevel=2)
        answers = super().__call__(inputs, **kwargs)
        # HF's oddity: a list of texts with one answer each comes back flat.
        if (
            isinstance(inputs, list)
            and all(isinstance(text, str) for text in inputs)
            and all(len(answer) == 1 for answer in answers)
        ):
            return [answer[0] for answer in answers]
        return answers

    def preprocess(self, inputs: Any, truncation: Any = False, **kwargs: Any) -> dict[str, Any]:
        """Prefix and tokenise one text: int64 arrays `[1, tokens]`, without token types."""
        if not isinstance(inputs, str):
            raise InputError(f"{self.task} takes a text or a list of texts, not {type(inputs).__name__}")
        options = {name: kwargs[name] for name in (*TOKENIZER_ARGUMENTS, "max_length") if name in kwargs}
        encoding = self.tokenizer(self.prefix + inputs, truncation=truncation, **options)
        names = {spec.name for spec in self.manifest.graphs["encoder"].inputs}
        return {name: np.asarray(values, np.int64)[None] for name, values in encoding.items() if name in names}

    def forward(self, model_inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Generate: `output_ids` is a list of `num_return_sequences` lists of ids, the start token included."""
        return self._forward_batch([model_inputs], **kwargs)[0]

    def postprocess(
        self, model_outputs: dict[str, Any], return_type: str = "text", clean_up_tokenization_spaces: bool = False
    ) -> list[dict[str, Any]]:
        """Ids -> `[{"generated_text"}]`, or `[{"generated_token_ids"}]` with `return_tensors=True`."""
        sequences = model_outputs["output_ids"]
        pairs = list(zip(sequences, logprob_extras(self.tokenizer, model_outputs, len(sequences)), strict=True))
        if return_type == "tensors":
            return [{f"{self.return_name}_token_ids": ids, **extra} for ids, extra in pairs]
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": clean_up_tokenization_spaces}
        return [{f"{self.return_name}_text": self.tokenizer.decode(ids, **options), **extra} for ids, extra in pairs]

    def close(self) -> None:
        """Stop the engine's thread."""
        self.model.close()

    def _load(self) -> None:
        self.tokenizer = Tokenizer.from_bundle(self.bundle)
        self._decode_raw = raw_decoder(self.tokenizer)
        tasks = self.manifest.postprocess.get("tasks", {})
        chosen = tasks.get(self.task) or tasks.get(ANY_PAIR) or {}
        self.generation = chosen.get("generation", self.manifest.generation)
        self.prefix = chosen.get("prefix", "")
        self.model = LanguageModel(
            open_runner(self.bundle, self.provider, self.threads, self._slots, None, self.spinning)
        )

    def _sanitize_parameters(
        self,
        return_tensors: bool | None = None,
        return_text: bool | None = None,
        return_type: Any = None,
        clean_up_tokenization_spaces: bool | None = None,
        truncation: Any = None,
        stop_sequence: str | None = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        pre = {} if truncation is None else {"truncation": truncation}
        pre |= {name: generate_kwargs.pop(name) for name in TOKENIZER_ARGUMENTS if name in generate_kwargs}
        post: dict[str, Any] = {}
        if return_type is not None or return_tensors is not None:
            chosen = str(getattr(return_type, "name", return_type)).lower() if return_type is not None else None
            post["return_type"] = chosen or ("tensors" if return_tensors else "text")
        if clean_up_tokenization_spaces is not None:
            post["clean_up_tokenization_spaces"] = clean_up_tokenization_spaces
        if stop_sequence is not None:
            # As HF does here: the sequence's first token becomes the end token.
            ids = self.tokenizer(stop_sequence, add_special_tokens=False)["input_ids"]
            if not ids:
                raise InputError(f"stop_sequence {stop_sequence!r} has no tokens")
            generate_kwargs["eos_token_id"] = ids[0]
        return pre, generate_kwargs, post

    def _forward_batch(self, items: list[dict[str, Any]], **kwargs: Any) -> list[dict[str, Any]]:
        config = resolve(self.generation, **kwargs)
        start = as_ids([start_token(config)])
        groups = self.model.generate([start] * len(items), config, self._decode_raw, items)
        return [{"output_ids": [one.ids for one in group], **logprobs_of(group, config)} for group in groups]


def start_token(config: GenerationConfig) -> int:
    """What the decoder starts from."""
    if config.decoder_start_token_id is None:
        raise InputError("the checkpoint names no decoder_start_token_id: pass one")
    return config.decoder_start_token_id
