"""Train the small question-answering model: ``python -m tests.checkpoints.train.question_answering`` (a few minutes on
one core).

Texts come from ``facts.py``; 300 about people whose last names are never trained on are in
``data/qa_heldout.jsonl``. As in SQuAD 2,
the answer to a question that the text does not answer is the first token. Writes ``tiny-bert-qa/``.
"""

import json
from dataclasses import asdict
from random import Random

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizer

from tests.checkpoints import QA_HELDOUT, TINY_QA
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.facts import Example, example
from tests.checkpoints.train.optimise import adamw, train

VOCAB_SIZE = 1500
POSITIONS = 128
ROUNDS = ((2800, 3e-3), (1300, 1.5e-3))  # steps and peak rate
BATCH = 32
SEED = 20243


def main() -> None:
    """Train, report held-out exact match, save the checkpoint with its model card."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random = Random(SEED)
    write_heldout()
    samples = [example(random) for _ in range(8_000)]
    tokenizer = _tokenizer([text for sample in samples for text in (sample.question, sample.context)])
    model = BertForQuestionAnswering(_config(tokenizer))
    for steps, peak in ROUNDS:
        _train(model, tokenizer, random, steps, peak)
    _save(model.eval(), tokenizer)


def _train(model: BertForQuestionAnswering, tokenizer: BertTokenizer, random: Random, steps: int, peak: float) -> None:
    """``steps`` updates on fresh batches, the rate falling from ``peak``."""

    def loss() -> torch.Tensor:
        inputs, starts, ends = encode(tokenizer, [example(random) for _ in range(BATCH)])
        return model(**inputs, start_positions=starts, end_positions=ends).loss

    train(model, adamw(model, peak=peak, steps=steps), loss)


def write_heldout() -> None:
    """300 examples about people whose last names are set aside."""
    random = Random(SEED + 1)
    rows = [asdict(example(random, heldout=True)) for _ in range(300)]
    QA_HELDOUT.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def heldout() -> list[Example]:
    """The held-out examples."""
    return [Example(**json.loads(line)) for line in QA_HELDOUT.read_text(encoding="utf-8").splitlines()]


def encode(
    tokenizer: BertTokenizer, examples: list[Example]
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Padded inputs [batch, tokens], and the first and last token of each answer (0 without one)."""
    questions, contexts = [e.question for e in examples], [e.context for e in examples]
    encoded = tokenizer(questions, contexts, padding=True, truncation="only_second", return_tensors="pt")
    starts, ends = torch.zeros(len(examples), dtype=torch.long), torch.zeros(len(examples), dtype=torch.long)
    for row, sample in enumerate(examples):
        if sample.answer:
            last = sample.start + len(sample.answer) - 1
            starts[row] = encoded.char_to_token(row, sample.start, sequence_index=1) or 0
            ends[row] = encoded.char_to_token(row, last, sequence_index=1) or 0
    return dict(encoded), starts, ends


def exact_match(model: BertForQuestionAnswering, tokenizer: BertTokenizer, examples: list[Example]) -> float:
    """Share of examples whose best start and best end are the answer's."""
    inputs, starts, ends = encode(tokenizer, examples)
    with torch.no_grad():
        output = model(**inputs)
    right = (output.start_logits.argmax(-1) == starts) & (output.end_logits.argmax(-1) == ends)
    return float(right.float().mean())


def _tokenizer(texts: list[str]) -> BertTokenizer:
    """Lower-case WordPiece of at most ``VOCAB_SIZE`` pieces."""
    pieces = BertWordPieceTokenizer(lowercase=True)
    pieces.train_from_iterator(texts, vocab_size=VOCAB_SIZE, min_frequency=2, show_progress=False)
    return BertTokenizer(pieces.get_vocab(), model_max_length=POSITIONS)


def _config(tokenizer: BertTokenizer) -> BertConfig:
    """3 layers, 4 heads of 24, some 400,000 parameters."""
    shape = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 256}
    drop = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": POSITIONS, "pad_token_id": tokenizer.pad_token_id}
    return BertConfig(**shape, **drop, **size)


def _save(model: BertForQuestionAnswering, tokenizer: BertTokenizer) -> None:
    """Write model, tokenizer and card; print the exact match."""
    score = exact_match(model, tokenizer, heldout())
    print(f"held-out exact match {score:.3f}")
    model.save_pretrained(TINY_QA)
    tokenizer.save_pretrained(TINY_QA)
    facts = {"em": f"{score:.2f}", "vocab": str(len(tokenizer)), "parameters": f"{model.num_parameters():,}"}
    write_card(TINY_QA, "qa_card.md", facts)


if __name__ == "__main__":
    main()
