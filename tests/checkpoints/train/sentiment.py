"""Train the small sentiment classifier: ``python -m tests.checkpoints.train.sentiment`` (about 5 minutes of one core).

Text: sentences composed by ``grammar.py`` and hand-written ones (``data/sentiment_{negative,positive}.txt``), all
written for this project. Two sets are never trained on:
- ``data/sentiment_heldout.jsonl``: 92 short reviews that say what they feel in plain words. Written before the
  grammar took its present form, and not used to choose anything.
- every fourth hand-written sentence: 98 for development, many of which only hint ("my cat won't go near it").
Writes ``tiny-bert-sentiment/``.
"""

import json
from random import Random

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from tests.checkpoints import HERE, SENTIMENT_HELDOUT, TINY_BERT
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.grammar import Labelled, sentence
from tests.checkpoints.train.optimise import adamw, train

LABELS = {0: "NEGATIVE", 1: "POSITIVE"}
VOCAB_SIZE = 3500
POSITIONS = 128
STEPS = 2200
BATCH = 64
HANDWRITTEN_SHARE = 0.06
UNKNOWN_SHARE = 0.05
SEED = 20241


def main() -> None:
    """Train, report held-out accuracy, save the checkpoint with its model card."""
    torch.manual_seed(SEED)
    random = Random(SEED)
    training, development = handwritten()
    tokenizer = _tokenizer([text for text, _ in training] + [sentence(random)[0] for _ in range(30_000)])
    model = BertForSequenceClassification(_config(tokenizer))
    print(
        f"{model.num_parameters():,} parameters, {len(training)} hand-written sentences, {len(development)} set aside"
    )
    _train(model, tokenizer, training, random)
    _save(model.eval(), tokenizer, development)


def handwritten() -> tuple[list[Labelled], list[Labelled]]:
    """Hand-written sentences for training and for development.

    Line n of both files often says opposite things about one subject; set aside together, they give nothing away.
    """
    training: list[Labelled] = []
    development: list[Labelled] = []
    for label, name in LABELS.items():
        lines = (HERE / "data" / f"sentiment_{name.lower()}.txt").read_text(encoding="utf-8").splitlines()
        for index, line in enumerate(lines):
            (development if index % 4 == 1 else training).append((line, label))
    return training, development


def heldout() -> list[Labelled]:
    """The held-out sentences with their label ids."""
    rows = [json.loads(line) for line in SENTIMENT_HELDOUT.read_text(encoding="utf-8").splitlines()]
    ids = {name: label for label, name in LABELS.items()}
    return [(row["text"], ids[row["label"]]) for row in rows]


def predictions(model: BertForSequenceClassification, tokenizer: BertTokenizer, texts: list[str]) -> list[int]:
    """The label ids the model gives ``texts``."""
    with torch.no_grad():
        return model(**_encode(tokenizer, texts)).logits.argmax(-1).tolist()


def accuracy(model: BertForSequenceClassification, tokenizer: BertTokenizer, examples: list[Labelled]) -> float:
    """Share of ``examples`` the model labels right."""
    found = predictions(model, tokenizer, [text for text, _ in examples])
    return sum(guess == label for guess, (_, label) in zip(found, examples, strict=True)) / len(examples)


def _tokenizer(texts: list[str]) -> BertTokenizer:
    """Lower-case WordPiece of at most ``VOCAB_SIZE`` pieces."""
    pieces = BertWordPieceTokenizer(lowercase=True)
    pieces.train_from_iterator(texts, vocab_size=VOCAB_SIZE, min_frequency=2, show_progress=False)
    return BertTokenizer(pieces.get_vocab(), model_max_length=POSITIONS)


def _config(tokenizer: BertTokenizer) -> BertConfig:
    """2 layers, 4 heads of 24, about half a million parameters."""
    shape = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
    names = {"id2label": LABELS, "label2id": {name: label for label, name in LABELS.items()}}
    # No attention dropout: it would force PyTorch's slow attention path on a CPU.
    drop = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.15}
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": POSITIONS, "pad_token_id": tokenizer.pad_token_id}
    return BertConfig(**shape, **names, **drop, **size)


def _train(
    model: BertForSequenceClassification, tokenizer: BertTokenizer, training: list[Labelled], random: Random
) -> None:
    """``STEPS`` updates on fresh batches, mostly composed, partly hand-written sentences."""

    def loss() -> torch.Tensor:
        batch = [_draw(training, random) for _ in range(BATCH)]
        inputs = _encode(tokenizer, [text for text, _ in batch])
        _forget_words(inputs["input_ids"], tokenizer)
        logits = model(**inputs).logits
        labels = torch.tensor([label for _, label in batch])
        return torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.05)

    train(model, adamw(model, peak=2e-3, steps=STEPS), loss, every=500)


def _draw(training: list[Labelled], random: Random) -> Labelled:
    """A hand-written sentence now and then, otherwise a composed one."""
    return random.choice(training) if random.random() < HANDWRITTEN_SHARE else sentence(random)


def _forget_words(ids: torch.Tensor, tokenizer: BertTokenizer) -> None:
    """Replace some ordinary ids [batch, tokens] by random ones in place: real sentences will hold unknown words."""
    first = max(tokenizer.all_special_ids) + 1
    chosen = (ids >= first) & (torch.rand(ids.shape) < UNKNOWN_SHARE)
    ids[chosen] = torch.randint(first, len(tokenizer), ids.shape)[chosen]


def _encode(tokenizer: BertTokenizer, texts: list[str]) -> dict[str, torch.Tensor]:
    """Padded ids and masks [batch, tokens]."""
    return dict(tokenizer(texts, padding=True, truncation=True, return_tensors="pt"))


def _save(model: BertForSequenceClassification, tokenizer: BertTokenizer, development: list[Labelled]) -> None:
    """Write model, tokenizer and card; print accuracies."""
    composed = [sentence(Random(seed)) for seed in range(1000)]
    sets = {"heldout": heldout(), "development": development, "composed": composed}
    scores = {name: f"{accuracy(model, tokenizer, examples):.2f}" for name, examples in sets.items()}
    print(f"accuracy: {scores}")
    model.save_pretrained(TINY_BERT)
    tokenizer.save_pretrained(TINY_BERT)
    write_card(
        TINY_BERT, "bert_card.md", scores | {"vocab": str(len(tokenizer)), "parameters": f"{model.num_parameters():,}"}
    )


if __name__ == "__main__":
    main()
