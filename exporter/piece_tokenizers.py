"""Tokenizers that transformers has in Python only and that cut with sentencepiece, but count ids by a vocab.json of
their own (Marian, M2M100): as a `tokenizers` backend.

Three things differ from other sentencepiece tokenizers. Ids follow vocab.json, not the pieces' order. The vocabulary
holds pieces that no text is cut into, those of the other language: they stand in the backend behind a character that no
text has, which its decoder takes away again. And the sentencepiece model knows pieces that the vocabulary lacks: they
take ids behind it, and the runtime puts the unknown token's in their place. It also looks up what the model does not
know among the hidden pieces, as transformers does (`TokenizerSpec.unknown_from`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram

from runtime.bundle.manifest import HIDDEN
from runtime.errors import ExportError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NORMAL, USER_DEFINED = 1, 4  # types of pieces that texts are cut into
UNIGRAM, BPE_TYPE = 1, 2


def piece_model(tokenizer: PreTrainedTokenizerBase) -> Any:
    """The sentencepiece model that cuts texts, None for a tokenizer that is not of this kind."""
    model = getattr(tokenizer, "spm_source", None) or getattr(tokenizer, "sp_model", None)
    return model if isinstance(getattr(tokenizer, "encoder", None), dict) else None


def convert_pieces(tokenizer: PreTrainedTokenizerBase) -> tuple[Tokenizer, int]:
    """The backend, and the id from which on ids mean the unknown token. Raises `ExportError` with the reason."""
    from transformers.convert_slow_tokenizer import SpmConverter
    from transformers.utils import sentencepiece_model_pb2_new

    if getattr(tokenizer, "separate_vocabs", False):
        raise ExportError(f"{type(tokenizer).__name__} has one vocabulary for each language: not supported yet")
    proto = sentencepiece_model_pb2_new.ModelProto()
    proto.ParseFromString(piece_model(tokenizer).serialized_model_proto())
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type in (NORMAL, USER_DEFINED)}
    known = strings(tokenizer, scores)
    missing = [piece for piece in scores if piece not in set(known)]
    backend = Tokenizer(model_of(proto, [*known, *missing], scores, tokenizer))
    converter = SpmConverter.__new__(SpmConverter)  # its steps read nothing but the model's description
    backend.normalizer = converter.normalizer(proto)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    spaces = [decoders.Replace(HIDDEN, ""), decoders.Metaspace(prepend_scheme="always")]
    backend.decoder = decoders.Sequence([*spaces, decoders.Fuse(), decoders.Replace(Regex(r"^ +| +$"), "")])
    backend.add_tokens([AddedToken(code, normalized=False) for code in known if is_language(code)])
    backend.add_special_tokens([AddedToken(str(token), normalized=False) for token in tokenizer.all_special_tokens])
    backend.post_processor = around(tokenizer)
    return backend, len(known)


def strings(tokenizer: Any, scores: Iterable[str]) -> list[str]:
    """The token of every id; hidden where texts are not cut into it, a hidden number where an id has none."""
    shown = {*scores, *(str(token) for token in tokenizer.all_special_tokens)}
    by_id = {index: token for token, index in tokenizer.encoder.items()}
    by_id |= {int(index): str(token) for index, token in tokenizer.added_tokens_decoder.items()}
    by_id |= {index: token for token, index in getattr(tokenizer, "lang_token_to_id", {}).items()}
    tokens = [by_id.get(index, f"{HIDDEN}{index}") for index in range(max(by_id) + 1)]
    return [token if token in shown or is_language(token) else f"{HIDDEN}{token.strip(HIDDEN)}" for token in tokens]


def is_language(token: str) -> bool:
    """Marian's `>>fra<<`, which stands before a text and is no piece."""
    return token.startswith(">>") and token.endswith("<<")


def model_of(proto: Any, tokens: list[str], scores: dict[str, float], tokenizer: Any) -> Any:
    """The model of `tokenizers`: ids are places in `tokens`."""
    kind, unknown = proto.trainer_spec.model_type, str(tokenizer.unk_token)
    if kind == UNIGRAM:
        least = min(scores.values())  # the unknown token's own score hangs on the least of all
        return Unigram([(token, scores.get(token, least)) for token in tokens], unk_id=tokens.index(unknown))
    if kind == BPE_TYPE:
        from transformers.convert_slow_tokenizer import generate_merges

        vocab = {token: index for index, token in enumerate(tokens)}
        merges = generate_merges({piece: rank for rank, piece in enumerate(scores)}, scores)
        return BPE(vocab, merges, unk_token=unknown, fuse_unk=True)
    raise ExportError(f"{type(tokenizer).__name__} cuts texts by an algorithm that is neither unigram nor BPE")


def around(tokenizer: Any) -> Any:
    """What the tokenizer puts before and behind one text, and behind two that follow each other."""
    mark = -1
    before, after = split(tokenizer.build_inputs_with_special_tokens([mark]), mark)
    tokens = {index: tokenizer.convert_ids_to_tokens(index) for index in (*before, *after)}
    left, right = (" ".join(tokens[index] for index in ids) for ids in (before, after))
    named = [(token, index) for index, token in tokens.items()]
    return processors.TemplateProcessing(
        single=f"{left} $A {right}".strip(), pair=f"{left} $A $B {right}".strip(), special_tokens=named
    )


def split(ids: list[int], mark: int) -> tuple[list[int], list[int]]:
    """Ids before and behind a mark."""
    place = ids.index(mark)
    return ids[:place], ids[place + 1 :]
