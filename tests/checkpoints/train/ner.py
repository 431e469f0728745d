"""Train the small NER model: ``python -m tests.checkpoints.train.ner`` (about 2 minutes on one core).

Sentences come from ``ner_sentences.py``, names from ``names.py``. Held out, and never trained on: every sixth last
name, company and place, and 14 sentence templates; 300 sentences made of both are in ``data/ner_heldout.jsonl``. Writes
``tiny-bert-ner/``.
"""

import json
from random import Random

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForTokenClassification, BertTokenizer

from tests.checkpoints import NER_HELDOUT, TINY_NER
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.ner_sentences import Tagged, tagged_sentence
from tests.checkpoints.train.optimise import adamw, train

LABELS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
VOCAB_SIZE = 1800
POSITIONS = 64
STEPS = 2600
BATCH = 48
UNKNOWN_SHARE = 0.06
SEED = 20242
IGNORED = -100


def main() -> None:
    """Train, report held-out F1 of whole entities, save the checkpoint with its model card."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random = Random(SEED)
    write_heldout()
    tokenizer = _tokenizer([" ".join(tagged_sentence(random)[0]) for _ in range(20_000)])
    model = BertForTokenClassification(_config(tokenizer))

    def loss() -> torch.Tensor:
        inputs, labels = encode(tokenizer, [tagged_sentence(random) for _ in range(BATCH)])
        _forget_words(inputs["input_ids"], labels, tokenizer)
        return model(**inputs, labels=labels).loss

    train(model, adamw(model, peak=3e-3, steps=STEPS), loss)
    _save(model.eval(), tokenizer)


def write_heldout() -> None:
    """300 sentences of held-out templates and names."""
    random = Random(SEED + 1)
    rows = [dict(zip(("words", "tags"), tagged_sentence(random, heldout=True), strict=True)) for _ in range(300)]
    NER_HELDOUT.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def heldout() -> list[Tagged]:
    """The held-out sentences."""
    rows = [json.loads(line) for line in NER_HELDOUT.read_text(encoding="utf-8").splitlines()]
    return [(row["words"], row["tags"]) for row in rows]


def encode(tokenizer: BertTokenizer, sentences: list[Tagged]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Padded inputs [batch, tokens] and label ids; only the first piece of a word has a label."""
    encoded = tokenizer(
        [words for words, _ in sentences], is_split_into_words=True, padding=True, truncation=True, return_tensors="pt"
    )
    labels = torch.full_like(encoded["input_ids"], IGNORED)
    for row, (_, tags) in enumerate(sentences):
        previous = None
        for column, word in enumerate(encoded.word_ids(row)):
            if word is not None and word != previous:
                labels[row, column] = LABELS.index(tags[word])
            previous = word
    return dict(encoded), labels


def entities(tags: list[str]) -> set[tuple[int, int, str]]:
    """(first word, word after the last, kind) of every entity in a row of tags."""
    found, start = set(), None
    for index, tag in enumerate([*tags, "O"]):
        if start is not None and tag != f"I-{tags[start][2:]}":
            found.add((start, index, tags[start][2:]))
            start = None
        if start is None and tag != "O":
            start = index
    return found


def f1(expected: list[list[str]], found: list[list[str]]) -> float:
    """Micro F1 over whole entities: boundaries and kind must be right."""
    pairs = [(entities(a), entities(b)) for a, b in zip(expected, found, strict=True)]
    right = sum(len(a & b) for a, b in pairs)
    return 2 * right / max(sum(len(a) + len(b) for a, b in pairs), 1)


def predictions(
    model: BertForTokenClassification, tokenizer: BertTokenizer, sentences: list[Tagged]
) -> list[list[str]]:
    """The tags that the model gives each word."""
    inputs, labels = encode(tokenizer, sentences)
    with torch.no_grad():
        best = model(**inputs).logits.argmax(-1)
    return [[LABELS[i] for i in row[mask].tolist()] for row, mask in zip(best, labels != IGNORED, strict=True)]


def _tokenizer(texts: list[str]) -> BertTokenizer:
    """Cased WordPiece of at most ``VOCAB_SIZE`` pieces."""
    pieces = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    pieces.train_from_iterator(texts, vocab_size=VOCAB_SIZE, min_frequency=2, show_progress=False)
    return BertTokenizer(pieces.get_vocab(), do_lower_case=False, strip_accents=False, model_max_length=POSITIONS)


def _config(tokenizer: BertTokenizer) -> BertConfig:
    """2 layers, 4 heads of 24, some 350,000 parameters."""
    shape = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}
    drop = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.1}
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": POSITIONS, "pad_token_id": tokenizer.pad_token_id}
    return BertConfig(**shape, **names, **drop, **size)


def _forget_words(ids: torch.Tensor, labels: torch.Tensor, tokenizer: BertTokenizer) -> None:
    """Replace some ids [batch, tokens] by random ones in place: most names will be unknown, their place must tell."""
    first = max(tokenizer.all_special_ids) + 1
    chosen = (ids >= first) & (torch.rand(ids.shape) < UNKNOWN_SHARE)
    chosen |= (ids >= first) & (labels > 0) & (torch.rand(ids.shape) < 2 * UNKNOWN_SHARE)
    ids[chosen] = torch.randint(first, len(tokenizer), ids.shape)[chosen]


def _save(model: BertForTokenClassification, tokenizer: BertTokenizer) -> None:
    """Write model, tokenizer and card; print the F1."""
    examples = heldout()
    score = f1([tags for _, tags in examples], predictions(model, tokenizer, examples))
    print(f"held-out F1 {score:.3f}")
    model.save_pretrained(TINY_NER)
    tokenizer.save_pretrained(TINY_NER)
    facts = {"f1": f"{score:.2f}", "vocab": str(len(tokenizer)), "parameters": f"{model.num_parameters():,}"}
    write_card(TINY_NER, "ner_card.md", facts)


if __name__ == "__main__":
    main()
