"""The exported encoders are as good as their checkpoints say: names found, questions answered."""

from __future__ import annotations

from typing import Any

from runtime import pipeline
from tests.checkpoints.train import ner, question_answering
from tests.text_bundles import TextBundles

NER_F1 = 0.85
QA_EXACT_MATCH = 0.7


def tags_of(words: list[str], entities: list[dict[str, Any]]) -> list[str]:
    """The tag of every word: that of the entity at its first character, for words joined by spaces."""
    starts = [sum(len(word) + 1 for word in words[:index]) for index in range(len(words))]
    by_start = {entity["start"]: entity["entity"] for entity in entities}
    return [by_start.get(start, "O") for start in starts]


def test_named_entities(text_bundles: TextBundles) -> None:
    """F1 over whole entities of held-out sentences, whose names and templates were never trained on."""
    pipe = pipeline("ner", text_bundles("ner"))
    examples = ner.heldout()
    answers = pipe([words for words, _ in examples], is_split_into_words=True, batch_size=16)
    found = [tags_of(words, answer) for (words, _), answer in zip(examples, answers, strict=True)]
    assert ner.f1([tags for _, tags in examples], found) >= NER_F1


def test_answers(text_bundles: TextBundles) -> None:
    """Exact match on held-out questions; a question without an answer must get none."""
    pipe = pipeline("question-answering", text_bundles("qa"), handle_impossible_answer=True)
    examples = question_answering.heldout()
    questions = [{"question": example.question, "context": example.context} for example in examples]
    answers = pipe(questions, batch_size=16)
    right = [answer["answer"] == example.answer for answer, example in zip(answers, examples, strict=True)]
    assert sum(right) / len(right) >= QA_EXACT_MATCH
