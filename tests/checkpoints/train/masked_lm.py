"""Train the small masked language model: ``python -m tests.checkpoints.train.masked_lm`` (a few minutes on one core).

The text is that of ``facts.py`` and ``ner_sentences.py``: on the Python documentation, which the causal model learns, a
masked model of this size needs hours before it knows more than which words are frequent. Held out are the texts of
``data/qa_heldout.jsonl``. Writes ``tiny-roberta-facts/``.
"""

import json
from random import Random

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import RobertaConfig, RobertaForMaskedLM, RobertaTokenizer

from tests.checkpoints import TINY_MLM
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.facts import example
from tests.checkpoints.train.ner_sentences import tagged_sentence, text_of
from tests.checkpoints.train.optimise import adamw
from tests.checkpoints.train.question_answering import heldout

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
VOCAB_SIZE = 1200
POSITIONS = 128
STEPS = 700
BATCH = 32
MASKED_SHARE = 0.2
SEED = 20244
IGNORED = -100


def main() -> None:
    """Train, report the held-out loss beside that of word frequencies, save the checkpoint with its model card."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random, generator = Random(SEED), torch.Generator().manual_seed(SEED)
    tokenizer = _tokenizer([text(random) for _ in range(8_000)])
    model = RobertaForMaskedLM(_config(tokenizer))
    optimizer = adamw(model.train(), peak=3e-3, steps=STEPS)
    for step in range(1, STEPS + 1):
        inputs, labels = masked(tokenizer, [text(random) for _ in range(BATCH)], generator)
        loss = model(**inputs, labels=labels).loss
        optimizer.step(loss, model)
        if step % 100 == 0:
            print(f"step {step}: train {loss.item():.3f}", flush=True)
    _save(model.eval(), tokenizer)


def text(random: Random) -> str:
    """A few sentences about somebody, or one about anything."""
    return example(random).context if random.random() < 0.5 else text_of(tagged_sentence(random)[0])


def heldout_texts() -> list[str]:
    """Texts about people who were never trained on."""
    return [sample.context for sample in heldout()]


def masked(
    tokenizer: RobertaTokenizer, texts: list[str], generator: torch.Generator
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Padded inputs [batch, tokens] with some tokens masked, and the labels of those."""
    encoded = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    ids = encoded["input_ids"]
    chosen = (torch.rand(ids.shape, generator=generator) < MASKED_SHARE) & (ids >= len(SPECIAL))
    labels = torch.where(chosen, ids, IGNORED)
    return {**encoded, "input_ids": torch.where(chosen, tokenizer.mask_token_id, ids)}, labels


def masked_loss(model: RobertaForMaskedLM, tokenizer: RobertaTokenizer) -> float:
    """Mean cross-entropy in nats of masked tokens of the held-out texts, masks drawn from a fixed seed."""
    inputs, labels = masked(tokenizer, heldout_texts(), torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        return float(model(**inputs, labels=labels).loss)


def unigram_loss(tokenizer: RobertaTokenizer) -> float:
    """The same for a model that knows how frequent every token is (with one added to each count), and nothing else."""
    _, labels = masked(tokenizer, heldout_texts(), torch.Generator().manual_seed(SEED))
    return float(-frequencies(tokenizer).log()[labels[labels != IGNORED]].mean())


def frequencies(tokenizer: RobertaTokenizer) -> torch.Tensor:
    """Share of every token in text as in training."""
    random = Random(SEED)
    rows = tokenizer([text(random) for _ in range(3_000)], add_special_tokens=False).input_ids
    counts = torch.bincount(torch.tensor([token for row in rows for token in row]), minlength=len(tokenizer)) + 1.0
    return counts / counts.sum()


def _tokenizer(texts: list[str]) -> RobertaTokenizer:
    """Byte-level BPE of at most ``VOCAB_SIZE`` pieces, special tokens as in the published models."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=VOCAB_SIZE, special_tokens=SPECIAL, show_progress=False)
    model = json.loads(bpe.to_str())["model"]
    return RobertaTokenizer(model["vocab"], [tuple(merge) for merge in model["merges"]], model_max_length=POSITIONS)


def _config(tokenizer: RobertaTokenizer) -> RobertaConfig:
    """2 layers, 4 heads of 24, some 300,000 parameters; positions are counted from the padding id + 1."""
    shape = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
    drop = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1}
    return RobertaConfig(**shape, **drop, **ids, **size)


def _save(model: RobertaForMaskedLM, tokenizer: RobertaTokenizer) -> None:
    """Write model, tokenizer and card; print the losses."""
    loss, unigram = masked_loss(model, tokenizer), unigram_loss(tokenizer)
    print(f"held-out loss {loss:.3f}, of frequencies alone {unigram:.3f}")
    model.save_pretrained(TINY_MLM)
    tokenizer.save_pretrained(TINY_MLM)
    facts = {"loss": f"{loss:.2f}", "unigram": f"{unigram:.2f}"}
    facts |= {"vocab": str(len(tokenizer)), "parameters": f"{model.num_parameters():,}"}
    write_card(TINY_MLM, "roberta_card.md", facts)


if __name__ == "__main__":
    main()
