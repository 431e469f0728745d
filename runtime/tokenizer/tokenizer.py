"""The tokenizer of a bundle: `tokenizer.json` plus what the manifest knows of the HF class behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers.models import WordLevel

from runtime.bundle import Bundle, TokenizerSpec
from runtime.bundle.manifest import HIDDEN
from runtime.errors import BundleError, InputError
from runtime.tokenizer.cleanup import clean_up_tokenization
from runtime.tokenizer.detokenize import StreamFactory
from runtime.tokenizer.encoding import BatchEncoding, Columns, PieceIds, assemble
from runtime.tokenizer.inputs import Pair, TextBatch, as_batch
from runtime.tokenizer.padding import Padding, pad_encodings, pad_rows
from runtime.tokenizer.strategies import LengthPlan, check_side, resolve_lengths
from runtime.tokenizer.truncation import Truncation, truncate
from runtime.tokenizer.vocabulary import Vocabulary

TOKENIZER_FILE = "tokenizer.json"
# Characters of a text that the calling thread encodes, holding Python's lock; all else goes to the library's threads.
SHORT = 2000


class Tokenizer(Vocabulary):
    """HF's fast tokenizer (transformers 5, `TokenizersBackend`) without transformers.

    Nothing in it changes after construction, so any number of threads may use one object: the library's tokenizer
    never gets truncation or padding set (both are state there); texts are encoded bare, then truncated, then given
    their special tokens by a second, empty tokenizer that holds the post-processor, then padded.
    """

    def __init__(self, directory: Path, spec: TokenizerSpec) -> None:
        """Read `directory/tokenizer.json`. Raises `BundleError` when it is missing or damaged."""
        backend = _load(directory / TOKENIZER_FILE)
        backend.encode_special_tokens = spec.split_special_tokens
        super().__init__(backend, spec)
        self._directory = directory
        self._finisher = _take_post_processor(backend)
        self._pieces = None if spec.unknown_from is None else _piece_ids(self, spec.unknown_from)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Tokenizer:
        """The tokenizer of an opened bundle. Raises `BundleError` when the bundle has none."""
        if bundle.manifest.tokenizer is None:
            raise BundleError(f"{bundle.directory}: this bundle has no tokenizer")
        for name in (TOKENIZER_FILE, *bundle.manifest.tokenizer.chat_template.values()):
            bundle.file(name)
        return cls(bundle.directory, bundle.manifest.tokenizer)

    @property
    def model_max_length(self) -> int | None:
        """The longest input in tokens, special tokens included; None without a limit (HF: a number above 1e20)."""
        return self.spec.model_max_length

    # ---- text to ids

    def __call__(
        self,
        text: str | Sequence[Any],
        text_pair: str | Sequence[Any] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        truncation_side: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
    ) -> BatchEncoding:
        """Tokenise one text, a list of texts, or a list of (text, text) pairs; names and defaults are HF's.

        Returns lists of ints: `[length]` for one text, `[batch][length]` for a list, `[pieces][length]` with
        `return_overflowing_tokens`. Differences from HF: an empty list gives empty columns (IndexError there), and
        `max_length` below the number of special tokens is an error (there it silently turns truncation off).
        Raises `InputError` for what cannot be tokenised, padded or truncated as asked.
        """
        names = self.spec.model_input_names
        columns = Columns(
            "token_type_ids" in names if return_token_type_ids is None else return_token_type_ids,
            "attention_mask" in names if return_attention_mask is None else return_attention_mask,
            return_special_tokens_mask,
            return_offsets_mapping,
            return_overflowing_tokens,
            self._pieces,
        )
        batch = as_batch(text, text_pair, is_split_into_words)
        plan = resolve_lengths(self.spec, padding, truncation, max_length, pad_to_multiple_of)
        side = check_side("truncation_side", truncation_side or self.spec.truncation_side)
        encodings = self._encode(batch, plan, add_special_tokens, stride, side)
        if plan.padding:
            length = plan.max_length if plan.padding == "max_length" else None
            pad_encodings(encodings, length, pad_to_multiple_of, self._padding(padding_side))
        return assemble(encodings, columns, batch.is_batched)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens a text, or a pair, gets."""
        return self._finisher.num_special_tokens_to_add(pair)

    def pad(
        self, rows: Sequence[Mapping[str, Any]], padding_side: str | None = None
    ) -> dict[str, npt.NDArray[np.int64]]:
        """Stack inputs that were tokenised one by one into int64 arrays `[batch, longest]`.

        Ids are filled with the pad token, types with its type id, `special_tokens_mask` with 1, the rest with 0 (HF's
        `pad_collate_fn`). Raises `InputError` when ids need padding and there is no pad token.
        """
        side = check_side("padding_side", padding_side or self.spec.padding_side)
        return pad_rows(rows, side, self.spec.pad_token_id, self.spec.pad_token_type_id)

    def _encode(
        self, batch: TextBatch, plan: LengthPlan, add_special_tokens: bool, stride: int, side: str
    ) -> list[tokenizers.Encoding]:
        bare = self._encode_bare(batch.pairs)
        if plan.truncation and plan.max_length is not None:
            self._check_stride(plan.max_length, stride)
            for first, second in bare:
                room = self._room(plan.max_length, second is not None, add_special_tokens)
                truncate(first, second, Truncation(room, plan.truncation, stride, side))
        return [self._finisher.post_process(first, second, add_special_tokens) for first, second in bare]

    def _encode_bare(self, pairs: list[Pair]) -> list[tuple[tokenizers.Encoding, tokenizers.Encoding | None]]:
        text, second = pairs[0] if len(pairs) == 1 else (None, None)
        if isinstance(text, str) and second is None and len(text) <= SHORT:
            return [(self._backend.encode(text, add_special_tokens=False), None)]
        texts = [text for pair in pairs for text in pair if text is not None]
        is_split = bool(texts) and not isinstance(texts[0], str)
        encoded = iter(self._backend.encode_batch(texts, add_special_tokens=False, is_pretokenized=is_split))
        return [(next(encoded), None if second is None else _as_second(next(encoded))) for _, second in pairs]

    def _room(self, max_length: int, is_pair: bool, add_special_tokens: bool) -> int:
        added = self.num_special_tokens_to_add(is_pair) if add_special_tokens else 0
        if max_length < added:
            raise InputError(f"max_length {max_length} is less than the {added} special tokens that are added")
        return max_length - added

    def _check_stride(self, max_length: int, stride: int) -> None:
        # As the library's `enable_truncation`: against the room of a single text, whatever the texts are.
        room = max_length - self.num_special_tokens_to_add()
        if stride < 0 or 0 <= room < stride:
            raise InputError(f"stride {stride} must be at least 0 and below {room}, the tokens that max_length leaves")

    def _padding(self, padding_side: str | None) -> Padding:
        side = check_side("padding_side", padding_side or self.spec.padding_side)
        assert self.spec.pad_token_id is not None  # resolve_lengths has checked it
        token = self.pad_token or self.id_to_token(self.spec.pad_token_id) or ""
        return Padding(side, self.spec.pad_token_id, token, self.spec.pad_token_type_id)

    # ---- ids to text

    def decode(
        self, ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """The text of one sequence of ids (list, numpy array, or a single int); ids beyond the vocabulary are dropped.

        Raises `InputError` for negative ids.
        """
        try:
            text = self._backend.decode(_id_list(ids), skip_special_tokens=skip_special_tokens)
        except OverflowError:
            raise InputError("token ids to decode must lie between 0 and 2**32 - 1") from None
        if self.spec.decode_word_suffix:
            text = text.replace(self.spec.decode_word_suffix, " ").strip()
        asked = self.spec.clean_up_tokenization_spaces
        asked = asked if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        return clean_up_tokenization(text) if asked and self.spec.clean_up_on_decode else text

    def batch_decode(
        self,
        sequences: Iterable[Any],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """The text of every sequence."""
        return [self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) for ids in sequences]

    @property
    def cleans_up_on_decode(self) -> bool:
        """Whether `decode` applies the clean-up by default."""
        return self.spec.clean_up_tokenization_spaces and self.spec.clean_up_on_decode

    @cached_property
    def streams(self) -> StreamFactory:
        """For `DecodeStream`: makes the text streams of this decoder."""
        return StreamFactory(self._backend, self.spec.decode_word_suffix)

    # ---- chat

    @cached_property
    def chat_templates(self) -> dict[str, str]:
        """Name ("default", "tool_use", ...) -> template."""
        return {
            name: (self._directory / file).read_text(encoding="utf-8") for name, file in self.spec.chat_template.items()
        }

    def get_chat_template(self, chat_template: str | None = None, tools: Sequence[Any] | None = None) -> str:
        """The template to use: one by name, the given template itself, `tool_use` when there are tools, or the default.

        Raises `InputError` when the tokenizer has none.
        """
        known = self.chat_templates
        if chat_template is not None:
            return known.get(chat_template, chat_template)
        name = "tool_use" if tools is not None and "tool_use" in known else "default"
        if name not in known:
            names = f"it has {', '.join(sorted(known))}, but no default" if known else "this tokenizer has none"
            raise InputError(f"no chat template: {names}; pass chat_template=...")
        return known[name]

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_dict: bool = True,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **template_kwargs: Any,
    ) -> Any:
        """Render a conversation (or a list of them) and tokenise it without adding special tokens, as HF does.

        `conversation`: dicts with `role` and `content`. `tools`: JSON schemas. Other keywords become variables of the
        template. Returns a `BatchEncoding`, the ids alone with `return_dict=False`, or with `tokenize=False` the text.
        Raises `InputError` for an empty conversation and whatever the template refuses.
        """
        from runtime.tokenizer.chat import ChatRequest, render_chat  # jinja2 costs 30 ms that most tasks never need

        if not conversation:
            raise InputError("the conversation is empty: give at least one message")
        template = self.get_chat_template(chat_template, tools)
        variables = {**self.special_tokens_map, **template_kwargs}
        request = ChatRequest(
            template, tools, documents, add_generation_prompt, continue_final_message, _supported(variables)
        )
        is_batched = isinstance(conversation[0], list | tuple)
        prompts = [render_chat(chat, request) for chat in (conversation if is_batched else [conversation])]
        text = prompts if is_batched else prompts[0]
        if not tokenize:
            return text
        lengths: dict[str, Any] = {"padding": padding, "truncation": truncation, "max_length": max_length}
        encoding = self(text, add_special_tokens=False, **lengths, **(tokenizer_kwargs or {}))
        return encoding if return_dict else encoding["input_ids"]


def _supported(variables: dict[str, Any]) -> dict[str, Any]:
    for name in ("return_tensors", "return_assistant_tokens_mask", "sanitize_control_tokens"):
        if variables.pop(name, None):
            raise InputError(f"apply_chat_template: {name} is not supported here")
    return variables


def _load(path: Path) -> tokenizers.Tokenizer:
    if not path.is_file():
        raise BundleError(f"{path} is missing; export the checkpoint again")
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise BundleError(f"{path} cannot be read by tokenizers {tokenizers.__version__}: {error}") from error
    # Checkpoints may carry the truncation and padding of their training; HF ignores them per call as well.
    backend.no_truncation()
    backend.no_padding()
    return backend


def _take_post_processor(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Move the post-processor into a tokenizer of its own, so that texts can be truncated before it runs."""
    finisher = tokenizers.Tokenizer(WordLevel({}, unk_token=""))
    if backend.post_processor is not None:
        finisher.post_processor = backend.post_processor
        backend.post_processor = None  # type: ignore[assignment]
    return finisher


def _as_second(encoding: tokenizers.Encoding) -> tokenizers.Encoding:
    """The encoding with type ids 1, which the library gives a second text before post-processing.

    Some post-processors keep them (ByteLevel, BERT; templates in overflowing pieces). They can only be set through the
    pickle state, a JSON text in which `type_ids` comes before anything that could contain a bracket.
    """
    state = encoding.__getstate__()  # type: ignore[attr-defined]
    start = state.index(b'"type_ids":[')
    end = state.index(b"]", start)
    second = tokenizers.Encoding()
    second.__setstate__(state[:start] + state[start:end].replace(b"0", b"1") + state[end:])  # type: ignore[attr-defined]
    return second


def _id_list(ids: Any) -> list[int]:
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    if isinstance(ids, int):
        return [ids]
    return [int(i) for i in ids]


def _piece_ids(tokenizer: Tokenizer, limit: int) -> PieceIds:
    """Where ids and the pieces of the model part."""
    assert tokenizer.unk_token_id is not None  # no sentencepiece model is without one
    hidden = {token[1:]: index for token, index in tokenizer.get_vocab().items() if token.startswith(HIDDEN)}
    return PieceIds(tokenizer.unk_token_id, limit, hidden)
