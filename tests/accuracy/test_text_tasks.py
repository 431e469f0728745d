"""The exported checkpoints are as good as their cards say: names found, questions answered, words and texts right."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from runtime import pipeline
from tests.checkpoints.train import masked_lm, ner, numerals, question_answering, translation, truths
from tests.text_bundles import TextBundles

NER_F1 = 0.85
QA_EXACT_MATCH = 0.7
MASKED_TOP_1 = 0.95
TRANSLATED = 0.98


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


def test_masked_words(text_bundles: TextBundles) -> None:
    """The likeliest word for the mask, in sentences that were never trained on."""
    gaps = masked_lm.heldout()
    assert all(truths.is_heldout(plain(gap)) for gap in gaps if gap.text.count(".") == 1)
    answers = pipeline("fill-mask", text_bundles("truths"))([gap.text for gap in gaps], top_k=1, batch_size=16)
    right = [answer[0]["token_str"] == gap.answer for answer, gap in zip(answers, gaps, strict=True)]
    assert sum(right) / len(right) >= MASKED_TOP_1


def plain(gap: truths.Gap) -> str:
    """The sentence of a gap as it was made: lower case, the word in its place, punctuation apart."""
    return gap.text.replace(truths.MASK, gap.answer).lower().replace(".", " .").replace(",", " ,")


@pytest.mark.parametrize("beams", [1, 4])
def test_translations(text_bundles: TextBundles, beams: int) -> None:
    """Exact match on numbers and dates that were never trained on."""
    pairs = translation.heldout()[: 300 // beams]
    pipe = pipeline("translation_en_to_fr", text_bundles("translator"), num_beams=beams)
    answers = pipe([pair.english for pair in pairs], batch_size=8)
    right = [answer["translation_text"] == pair.french for answer, pair in zip(answers, pairs, strict=True)]
    assert sum(right) / len(right) >= TRANSLATED


def test_heldout_numbers_are_not_trained_on() -> None:
    """The rule that sets numbers aside, on the file and on what training draws."""
    drawn = {numerals.pair(Random(seed)).english for seed in range(3000)}
    assert not drawn & {pair.english for pair in translation.heldout()}
