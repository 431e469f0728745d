"""Train the small translator: ``python -m tests.checkpoints.train.translation`` (about 15 minutes on one busy core).

Pairs come from ``numerals.py``: numbers, prices, dates, counted things. 300 with numbers and dates that are never
trained on are in ``data/translation_heldout.jsonl``. Writes ``tiny-marian-en-fr/``.
"""

import json
import re
from random import Random

import torch
from tokenizers import SentencePieceUnigramTokenizer
from tokenizers.models import Unigram
from tokenizers.processors import TemplateProcessing
from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast

from tests.checkpoints import TINY_MARIAN, TRANSLATION_HELDOUT
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.numerals import Pair, pair
from tests.checkpoints.train.optimise import adamw, train

POSITIONS = 64
STEPS = 3000
BATCH = 64
SEED = 20245
IGNORED = -100
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
WORD, LETTER = -5.0, -15.0  # log-probabilities of pieces


def main() -> None:
    """Train, report held-out exact match, save the checkpoint with its model card."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random = Random(SEED)
    write_heldout()
    tokenizer = _tokenizer([text for _ in range(20_000) for text in pair(random)])
    model = MarianMTModel(_config(tokenizer))
    print(f"{model.num_parameters():,} parameters")

    def loss() -> torch.Tensor:
        return model(**encode(tokenizer, [pair(random) for _ in range(BATCH)])).loss

    train(model, adamw(model, peak=3e-3, steps=STEPS), loss)
    _save(model.eval(), tokenizer)


def write_heldout() -> None:
    """300 pairs with held-out numbers and dates."""
    random = Random(SEED + 1)
    rows = [pair(random, heldout=True)._asdict() for _ in range(300)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    TRANSLATION_HELDOUT.write_text(text, encoding="utf-8")


def heldout() -> list[Pair]:
    """The held-out pairs."""
    return [Pair(**json.loads(line)) for line in TRANSLATION_HELDOUT.read_text(encoding="utf-8").splitlines()]


def encode(tokenizer: PreTrainedTokenizerFast, pairs: list[Pair]) -> dict[str, torch.Tensor]:
    """``input_ids``, ``attention_mask`` and ``labels`` [batch, tokens], padded."""
    source = tokenizer([one.english for one in pairs], padding=True, return_tensors="pt")
    target = tokenizer([one.french for one in pairs], padding=True, return_tensors="pt")
    labels = target["input_ids"].masked_fill(target["attention_mask"] == 0, IGNORED)
    return {"input_ids": source["input_ids"], "attention_mask": source["attention_mask"], "labels": labels}


def translations(model: MarianMTModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[str]:
    """Greedy translations."""
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(
            input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], num_beams=1, do_sample=False
        )
    return [str(text) for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Unigram pieces of both languages, as Marian's are: every word, and letters for others; `</s>` after a text."""
    unigram = SentencePieceUnigramTokenizer()
    special = [(PAD, 0.0), (END, 0.0), (UNKNOWN, LETTER)]
    words = sorted({part for text in texts for word in text.split() for part in pieces(word)})
    letters = sorted({letter for text in texts for letter in text.replace(" ", "▁")} - set(words))
    vocab = [*special, *((word, WORD) for word in words), *((letter, LETTER) for letter in letters)]
    unigram._tokenizer.model = Unigram(vocab, unk_id=len(special) - 1)
    unigram.post_processor = TemplateProcessing(single=f"$A {END}", pair=f"$A $B {END}", special_tokens=[(END, 1)])
    names = {"pad_token": PAD, "eos_token": END, "unk_token": UNKNOWN}
    return PreTrainedTokenizerFast(
        tokenizer_object=unigram._tokenizer,
        model_max_length=POSITIONS,
        model_input_names=["input_ids", "attention_mask"],
        **names,
    )


def pieces(word: str) -> list[str]:
    """A word without its hyphens, apostrophes and punctuation: "quatre-vingts." -> "▁quatre", "-", "vingts", "."."""
    return re.findall(r"▁?\w+|[^\w▁]", f"▁{word}")


def _config(tokenizer: PreTrainedTokenizerFast) -> MarianConfig:
    """2 layers a side, 4 heads of 24, some 450,000 parameters."""
    sides = ("encoder", "decoder")
    shape = {f"{side}_{name}": value for side in sides for name, value in (("layers", 2), ("attention_heads", 4))}
    shape |= {f"{side}_ffn_dim": 256 for side in sides}
    return MarianConfig(
        vocab_size=len(tokenizer),
        d_model=96,
        max_position_embeddings=POSITIONS,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        scale_embedding=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        forced_eos_token_id=None,
        bos_token_id=None,
        **shape,
    )


def _save(model: MarianMTModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write model, tokenizer and card; print the exact match."""
    model.generation_config.max_length = POSITIONS
    model.generation_config.bad_words_ids = [[tokenizer.pad_token_id]]  # as published Marian checkpoints have it
    examples = heldout()
    found = translations(model, tokenizer, [one.english for one in examples])
    right = [one == other.french for one, other in zip(found, examples, strict=True)]
    score = sum(right) / len(right)
    wrong = [(one, other.french) for one, other in zip(found, examples, strict=True) if one != other.french]
    print(f"held-out exact match {score:.3f}; wrong: {wrong[:5]}")
    model.save_pretrained(TINY_MARIAN)
    tokenizer.save_pretrained(TINY_MARIAN)
    facts = {
        "exact": f"{score:.3f}",
        "bleu": bleu(found, [one.french for one in examples]),
        "vocab": str(len(tokenizer)),
        "parameters": f"{model.num_parameters():,}",
    }
    write_card(TINY_MARIAN, "marian_card.md", facts)


def bleu(found: list[str], expected: list[str]) -> str:
    """sacreBLEU's score, which wants a package that nothing else here needs: ``pip install sacrebleu``."""
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    return f"{metric.corpus_score(found, [expected]).score:.1f} ({metric.get_signature()})"


if __name__ == "__main__":
    main()
