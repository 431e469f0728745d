"""Train the small masked language model: ``python -m tests.checkpoints.train.masked_lm`` (15 minutes, one busy core).

Sentences come from ``truths.py``; 300 that are never trained on are in ``data/mlm_heldout.jsonl``. Writes
``tiny-bert-truths/``.
"""

import json
from dataclasses import asdict
from random import Random
from string import ascii_lowercase, digits

import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from tests.checkpoints import MLM_HELDOUT, TINY_MLM
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.optimise import adamw, train
from tests.checkpoints.train.truths import Gap, gap, vocabulary

POSITIONS = 64
STEPS = 3500
BATCH = 64
SEED = 20247
IGNORED = -100
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def main() -> None:
    """Train, report held-out top-1, save the checkpoint with its model card."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random = Random(SEED)
    write_heldout()
    tokenizer = _tokenizer()
    model = BertForMaskedLM(_config(tokenizer))
    print(f"{model.num_parameters():,} parameters", flush=True)

    def loss() -> torch.Tensor:
        inputs, labels = encode(tokenizer, [gap(random) for _ in range(BATCH)])
        return model(**inputs, labels=labels).loss

    train(model, adamw(model, peak=2.5e-3, steps=STEPS), loss)
    _save(model.eval(), tokenizer)


def write_heldout() -> None:
    """300 texts with a gap in a sentence that is never trained on."""
    random = Random(SEED + 1)
    rows = [asdict(gap(random, heldout=True)) for _ in range(300)]
    MLM_HELDOUT.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def heldout() -> list[Gap]:
    """The held-out texts."""
    return [Gap(**json.loads(line)) for line in MLM_HELDOUT.read_text(encoding="utf-8").splitlines()]


def encode(tokenizer: BertTokenizer, gaps: list[Gap]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Padded inputs [batch, tokens], and labels that are the answer at the mask and nothing elsewhere."""
    encoded = tokenizer([one.text for one in gaps], padding=True, return_tensors="pt")
    answers = torch.tensor(tokenizer.convert_tokens_to_ids([one.answer for one in gaps]))
    at_mask = encoded["input_ids"] == tokenizer.mask_token_id
    return dict(encoded), torch.where(at_mask, answers[:, None], IGNORED)


def top_1(model: BertForMaskedLM, tokenizer: BertTokenizer, gaps: list[Gap]) -> float:
    """Share of gaps whose likeliest word is the answer."""
    inputs, labels = encode(tokenizer, gaps)
    with torch.no_grad():
        best = model(**inputs).logits.argmax(-1)
    asked = labels != IGNORED
    return float((best[asked] == labels[asked]).float().mean())


def _tokenizer() -> BertTokenizer:
    """Lower-case WordPiece: every word of the sentences, and letters for all others."""
    pieces = [*ascii_lowercase, *digits, *(f"##{letter}" for letter in ascii_lowercase + digits), *".,!?'"]
    words = [word for word in vocabulary() if word not in pieces]
    vocab = {piece: index for index, piece in enumerate([*SPECIAL, *pieces, *words])}
    return BertTokenizer(vocab, model_max_length=POSITIONS)


def _config(tokenizer: BertTokenizer) -> BertConfig:
    """2 layers, 4 heads of 24, some 250,000 parameters."""
    shape = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
    drop = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": POSITIONS, "pad_token_id": tokenizer.pad_token_id}
    return BertConfig(**shape, **drop, **size)


def _save(model: BertForMaskedLM, tokenizer: BertTokenizer) -> None:
    """Write model, tokenizer and card; print the share of right words."""
    score = top_1(model, tokenizer, heldout())
    print(f"held-out top-1 {score:.3f}")
    model.save_pretrained(TINY_MLM)
    tokenizer.save_pretrained(TINY_MLM)
    facts = {"top1": f"{score:.3f}", "vocab": str(len(tokenizer)), "parameters": f"{model.num_parameters():,}"}
    write_card(TINY_MLM, "mlm_card.md", facts)


if __name__ == "__main__":
    main()
