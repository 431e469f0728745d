"""Tiny random-weight encoder–decoders, one row per architecture, each with a tokenizer of its kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartTokenizer,
    GPT2Config,
    MBartTokenizer,
    NllbTokenizer,
    PegasusTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Tokenizer,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessorPil,
)

from tests.checkpoints import TINY_GPT2
from tests.checkpoints.classifier_tokenizers import ROBERTA_SPECIAL, _bpe, _unigrams, _vocab_and_merges
from tests.checkpoints.weights import seeded_model

POSITIONS = 128
_BART: dict[str, Any] = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": POSITIONS,
    "init_std": 0.3,
}
_T5: dict[str, Any] = {
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "initializer_factor": 1.0,
    "task_specific_params": {
        "summarization": {"num_beams": 2, "max_length": 40, "prefix": "summarize: ", "no_repeat_ngram_size": 3},
        "translation_en_to_fr": {"num_beams": 4, "max_length": 50, "prefix": "translate English to French: "},
    },
}
ROWS: dict[str, dict[str, Any]] = {
    "bart": _BART,
    "mbart": _BART,
    "marian": _BART,
    "pegasus": _BART,
    "m2m_100": _BART,
    "t5": _T5,
}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def _bart() -> PreTrainedTokenizerBase:
    return BartTokenizer(*_vocab_and_merges(_bpe(ROBERTA_SPECIAL).to_str()))


def _mbart() -> PreTrainedTokenizerBase:
    return MBartTokenizer(vocab=_unigrams([*SPECIAL, "<mask>"], "<unk>"), src_lang="en_XX", tgt_lang="ro_RO")


def _nllb() -> PreTrainedTokenizerBase:
    vocab, merges = _vocab_and_merges(_bpe([*SPECIAL, "<mask>"]).to_str())
    return NllbTokenizer(vocab=vocab, merges=merges, src_lang="eng_Latn", tgt_lang="fra_Latn")


def _t5() -> PreTrainedTokenizerBase:
    return T5Tokenizer(vocab=_unigrams(["<pad>", "</s>", "<unk>"], "<unk>"))


def _pegasus() -> PreTrainedTokenizerBase:
    return PegasusTokenizer(vocab=_unigrams(["<pad>", "</s>", "<unk>"], "<unk>"))


def _marian() -> PreTrainedTokenizerBase:
    """Published Marian tokenizers exist in Python only; a fast one stands in."""
    base = _t5()
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=base.backend_tokenizer, **names)


_TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "bart": _bart,
    "mbart": _mbart,
    "marian": _marian,
    "pegasus": _pegasus,
    "m2m_100": _nllb,
    "t5": _t5,
}


def tiny_seq2seq(model_type: str, path: Path | str, **overrides: Any) -> Path:
    """A 2-layer encoder–decoder of `model_type` (a key of `ROWS`) with its tokenizer, saved to `path`."""
    folder = Path(path)
    tokenizer = _TOKENIZERS[model_type]()
    tokenizer.model_max_length = POSITIONS
    eos = tokenizer.eos_token_id
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": eos, "bos_token_id": tokenizer.bos_token_id}
    start = tokenizer.pad_token_id if model_type in ("t5", "pegasus", "marian") else eos
    row = {"vocab_size": len(tokenizer), **ids, "decoder_start_token_id": start, **ROWS[model_type], **overrides}
    config = AutoConfig.for_model(model_type, **row)
    model = seeded_model(lambda: AutoModelForSeq2SeqLM.from_config(config, attn_implementation="eager"), seed=7)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder


def tiny_captioner(path: Path | str, max_position_embeddings: int = POSITIONS) -> Path:
    """A ViT and a GPT-2 with cross-attention (VisionEncoderDecoder), tokenizer and image processor."""
    folder = Path(path)
    tokenizer = AutoTokenizer.from_pretrained(TINY_GPT2, model_max_length=POSITIONS)
    eos = tokenizer.eos_token_id
    encoder = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        initializer_range=0.3,
    )
    decoder = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_positions=max_position_embeddings,
        initializer_range=0.3,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=eos,
        eos_token_id=eos,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = eos, eos, eos
    model = seeded_model(lambda: VisionEncoderDecoderModel(config=config), seed=7)
    model.generation_config.decoder_start_token_id = eos
    model.generation_config.pad_token_id = model.generation_config.eos_token_id = eos
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
