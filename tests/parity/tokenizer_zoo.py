"""Small tokenizers of the main families, trained on the spot and wrapped in the HF class of the family."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlbertTokenizer,
    BertTokenizer,
    CLIPTokenizer,
    DistilBertTokenizer,
    GemmaTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    RobertaTokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
    XLNetTokenizer,
)

CORPUS = (
    "The quick brown fox jumps over the lazy dog, and the dog doesn't even look up.",
    "Who wrote it? It was written long ago by somebody whose name nobody remembers any more.",
    "def total(items: list[int]) -> int:\n    return sum(item for item in items if item >= 0)\n",
    "Hello world! Are you fine? I'm fine, thanks. They've been here; we're not. It's 12:30.",
    "café naïve résumé Ångström straße über müde größer İstanbul 1234567890 3.14 x² ½",
    "我喜欢机器学习 东京 中文 日本語 한국어 ภาษาไทย שלום עולם مرحبا 👍 🚀",
)
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]

CHATML = (
    "{% if tools %}<|im_start|>system\nTools:\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n"
    "{% endif %}{% for message in messages %}\n"
    "    {%- if message.content is not defined %}{% continue %}{% endif %}\n"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% set ns = namespace(system='') %}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{% set ns.system = message['content'] | trim + '\\n\\n' %}"
    "{% elif message['role'] == 'user' %}{{ '[INST] ' + ns.system + message['content'] | trim + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{% generation %}{{ ' ' + message['content'] | trim }}"
    "{{ eos_token }}{% endgeneration %}{% else %}{{ raise_exception('unknown role') }}{% endif %}{% endfor %}"
)
STRICT = (
    "{{ bos_token }}{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate, starting with user') }}{% endif %}"
    "<start_of_turn>{{ message.role }}\n{{ message.content | trim }}<end_of_turn>\n{% endfor %}"
)


def _trained_bpe(pre_tokenizer: Any, specials: list[str], alphabet: list[str], **options: Any) -> dict[str, Any]:
    """Vocabulary and merges of a BPE trained on the corpus."""
    import json

    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    suffix = {key: value for key, value in options.items() if key == "end_of_word_suffix"}
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=specials, initial_alphabet=alphabet, show_progress=False, **suffix
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(merge) for merge in model["merges"]]}


def _byte_level(*specials: str) -> dict[str, Any]:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), list(specials), alphabet)


def _sentencepiece_bpe(*specials: str) -> dict[str, Any]:
    """A SentencePiece-like BPE with byte fallback: pieces with U+2581, and one token for every byte."""
    trained = _trained_bpe(pre_tokenizers.Metaspace(), [*specials, *BYTE_TOKENS], [], byte_fallback=True)
    dropped = {"👍", "🚀", "ภ", "İ"}  # left to the byte tokens
    kept = {token: i for i, token in enumerate(t for t in trained["vocab"] if not any(c in t for c in dropped))}
    merges = [m for m in trained["merges"] if all(part in kept for part in (*m, "".join(m)))]
    return {"vocab": kept, "merges": merges}


def _word_piece(*, lowercase: bool) -> dict[str, int]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    return tokenizer.get_vocab()


def _unigram(*specials: str) -> list[tuple[str, float]]:
    import json

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=list(specials), unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    return [(token, score) for token, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


def gpt2() -> Any:
    return GPT2Tokenizer(**_byte_level("<|endoftext|>"), model_max_length=64)


def gpt2_padded() -> Any:
    """With a pad token, extra tokens, and both sides switched."""
    tokenizer = GPT2Tokenizer(
        **_byte_level("<|endoftext|>"), pad_token="<|pad|>", padding_side="left", truncation_side="left"
    )
    tokenizer.add_tokens(["<tool>", AddedToken("[lstrip]", lstrip=True), AddedToken("single", single_word=True)])
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|sep|>", "<|image|>"]})
    return tokenizer


def roberta() -> Any:
    return RobertaTokenizer(**_byte_level("<s>", "<pad>", "</s>", "<unk>", "<mask>"), model_max_length=48)


def qwen2() -> Any:
    return Qwen2Tokenizer(**_byte_level("<|endoftext|>", "<|im_start|>", "<|im_end|>"), chat_template=CHATML)


def llama3() -> Any:
    """Like Llama 3: a regular expression, byte-level BPE that prefers whole words, and a template for BOS."""
    trained = _byte_level("<|begin_of_text|>", "<|eot_id|>")
    tokenizer = Tokenizer(models.BPE(trained["vocab"], trained["merges"], ignore_merges=True))
    pattern = Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+")
    split = pre_tokenizers.Split(pattern, behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    template = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
        special_tokens=[("<|begin_of_text|>", 0)],
    )
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|eot_id|>",
        model_max_length=128,
        padding_side="left",
        chat_template={"default": INST, "tool_use": CHATML, "rag_strict": STRICT},
    )


def llama2() -> Any:
    return LlamaTokenizer(**_sentencepiece_bpe("<unk>", "<s>", "</s>"), pad_token="</s>", chat_template=INST)


def gemma() -> Any:
    tokens = _sentencepiece_bpe("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>")
    return GemmaTokenizer(**tokens, chat_template=STRICT)


def bert() -> Any:
    return BertTokenizer(vocab=_word_piece(lowercase=True), model_max_length=40)


def bert_cased() -> Any:
    """Keeps case and accents, and cleans up when it decodes, as checkpoints of transformers 4 ask for."""
    vocab = _word_piece(lowercase=False)
    return BertTokenizer(vocab=vocab, do_lower_case=False, clean_up_tokenization_spaces=True, truncation_side="left")


def distilbert() -> Any:
    return DistilBertTokenizer(vocab=_word_piece(lowercase=True), model_max_length=512)


def t5() -> Any:
    return T5Tokenizer(vocab=_unigram("<pad>", "</s>", "<unk>"), extra_ids=10, model_max_length=96)


def xlm_roberta() -> Any:
    return XLMRobertaTokenizer(vocab=_unigram("<s>", "<pad>", "</s>", "<unk>", "<mask>"))


def albert() -> Any:
    return AlbertTokenizer(vocab=_unigram("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"), model_max_length=32)


def xlnet() -> Any:
    return XLNetTokenizer(vocab=_unigram("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"))


def clip() -> Any:
    """BPE with an end-of-word suffix, whose HF class decodes in Python."""
    specials = ["<|startoftext|>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained = _trained_bpe(
        pre_tokenizers.ByteLevel(add_prefix_space=False), specials, alphabet, end_of_word_suffix="</w>"
    )
    vocab = trained["vocab"]
    for char in alphabet:
        vocab.setdefault(f"{char}</w>", len(vocab))
    return CLIPTokenizer(**trained, model_max_length=77)


def openai_gpt() -> Any:
    """`BPEDecoder`: a suffix marks the end of a word, the last token loses it without a space."""
    trained = _trained_bpe(pre_tokenizers.BertPreTokenizer(), ["<unk>"], [], end_of_word_suffix="</w>")
    tokenizer = Tokenizer(models.BPE(**trained, unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def word_level() -> Any:
    """No decoder and no post-processor at all."""
    words = sorted({word for line in CORPUS for word in line.split()})
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, **{w: i for i, w in enumerate(words, 1)}}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<unk>")


def ctc() -> Any:
    """A decoder that merges neighbours, so that no text is certain before the end."""
    letters = ["<pad>", "|", *"abcdefghijklmnopqrstuvwxyz'"]
    tokenizer = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="<pad>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "|")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.CTC(pad_token="<pad>", word_delimiter_token="|")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")


FAMILIES: dict[str, Callable[[], Any]] = {
    make.__name__: make
    for make in (
        gpt2,
        gpt2_padded,
        roberta,
        qwen2,
        llama3,
        llama2,
        gemma,
        bert,
        bert_cased,
        distilbert,
        t5,
        xlm_roberta,
        albert,
        xlnet,
        clip,
        openai_gpt,
        word_level,
        ctc,
    )
}


@lru_cache
def build(family: str) -> Any:
    """The HF tokenizer of a family. Shared between tests: do not change it."""
    return FAMILIES[family]()
