"""The exported checkpoints are as good as their cards say: names found, questions answered, words and texts right."""

from __future__ import annotations

from random import Random

import pytest

from tests.accuracy import metrics
from tests.checkpoints.train import masked_lm, numerals, translation, truths
from tests.text_bundles import TextBundles

NER_F1 = 0.85
QA_EXACT_MATCH = 0.7
MASKED_TOP_1 = 0.95
TRANSLATED = 0.98


def test_named_entities(text_bundles: TextBundles) -> None:
    """Names and templates were never trained on."""
    assert metrics.names(text_bundles("ner")) >= NER_F1


def test_answers(text_bundles: TextBundles) -> None:
    """A question without an answer must get none."""
    assert metrics.spans(text_bundles("qa")) >= QA_EXACT_MATCH


def test_masked_words(text_bundles: TextBundles) -> None:
    """In sentences that were never trained on."""
    gaps = masked_lm.heldout()
    assert all(truths.is_heldout(plain(gap)) for gap in gaps if gap.text.count(".") == 1)
    assert metrics.masked_words(text_bundles("truths")) >= MASKED_TOP_1


def plain(gap: truths.Gap) -> str:
    """The sentence of a gap as it was made: lower case, the word in its place, punctuation apart."""
    return gap.text.replace(truths.MASK, gap.answer).lower().replace(".", " .").replace(",", " ,")


@pytest.mark.parametrize("beams", [1, 4])
def test_translations(text_bundles: TextBundles, beams: int) -> None:
    """Numbers and dates were never trained on."""
    assert metrics.translations(text_bundles("translator"), beams) >= TRANSLATED


def test_heldout_numbers_are_not_trained_on() -> None:
    """The rule that sets numbers aside, on the file and on what training draws."""
    drawn = {numerals.pair(Random(seed)).english for seed in range(3000)}
    assert not drawn & {pair.english for pair in translation.heldout()}
