"""One export for each text task, made when a test first asks for it and shared by all tests of the session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkpoints import TINY_CAPTIONER, TINY_MARIAN, TINY_MLM, TINY_NER, TINY_QA

Maker = Callable[[Path], Path]


def _nli(folder: Path) -> Path:
    from tests.checkpoints.encoders import NLI_LABELS, labelled, tiny_encoder

    return tiny_encoder("AutoModelForSequenceClassification", "bert", folder, **labelled(NLI_LABELS))


def _masked(folder: Path) -> Path:
    from tests.checkpoints.encoders import tiny_encoder

    return tiny_encoder("AutoModelForMaskedLM", "roberta", folder)


def _features(folder: Path) -> Path:
    from tests.checkpoints.encoders import tiny_encoder

    return tiny_encoder("AutoModel", "distilbert", folder)


def _sentences(folder: Path) -> Path:
    from tests.checkpoints.encoders import sentence_model

    return sentence_model(folder, {"pooling_mode_mean_tokens": True})


# Name of the bundle -> its task, and the checkpoint: a folder of the repository, or one that is built.
TEXT_CHECKPOINTS: dict[str, tuple[str, Path | Maker]] = {
    "ner": ("token-classification", TINY_NER),
    "fill-mask": ("fill-mask", _masked),
    "qa": ("question-answering", TINY_QA),
    "truths": ("fill-mask", TINY_MLM),
    "translator": ("translation", TINY_MARIAN),
    "captioner": ("image-to-text", TINY_CAPTIONER),
    "nli": ("zero-shot-classification", _nli),
    "features": ("feature-extraction", _features),
    "sentences": ("sentence-similarity", _sentences),
}


class TextBundles:
    """`bundles("ner")` is the exported bundle, `bundles.checkpoint("ner")` what it was made from."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "model_repository"
        self._checkpoints = folder / "checkpoints"

    def checkpoint(self, name: str) -> Path:
        _, made = TEXT_CHECKPOINTS[name]
        if isinstance(made, Path):
            return made
        folder = self._checkpoints / name
        return folder if folder.exists() else made(folder)

    def __call__(self, name: str) -> Path:
        from exporter import export

        bundle = self.repository / name
        if not bundle.exists():
            export(self.checkpoint(name), task=TEXT_CHECKPOINTS[name][0], output=self.repository, name=name)
        return bundle


@pytest.fixture(scope="session")
def text_bundles(tmp_path_factory: pytest.TempPathFactory) -> TextBundles:
    """The text tasks' bundles. Tests must not change them."""
    return TextBundles(tmp_path_factory.mktemp("text_bundles"))
