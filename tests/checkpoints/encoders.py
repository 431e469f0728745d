"""Random-weight encoders with other heads than `builders.tiny_classifier`, and a folder of sentence-transformers."""

import json
from pathlib import Path
from typing import Any

import transformers

from tests.checkpoints.builders import _save
from tests.checkpoints.classifier_tokenizers import classifier_tokenizer
from tests.checkpoints.rows import CLASSIFIER_ROWS, POSITIONS

NLI_LABELS = ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]


def tiny_encoder(auto_class: str, model_type: str, path: Path | str, **overrides: Any) -> Path:
    """A 2-layer encoder of ``model_type`` (a key of ``CLASSIFIER_ROWS``) with the head of ``auto_class``."""
    tokenizer = classifier_tokenizer(model_type, POSITIONS)
    row = {"vocab_size": len(tokenizer)} | CLASSIFIER_ROWS[model_type] | overrides
    return _save(getattr(transformers, auto_class), model_type, row, tokenizer, Path(path))


def labelled(labels: list[str]) -> dict[str, Any]:
    """The overrides that name a model's labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def sentence_model(path: Path | str, pooling: dict[str, bool], normalize: bool = True, **sentence: Any) -> Path:
    """A BERT with ``modules.json``; ``pooling`` is its pooling's config, ``sentence`` its sentence_bert_config.json."""
    folder = tiny_encoder("AutoModel", "bert", path)
    names = ["Transformer", "Pooling", "Normalize"] if normalize else ["Transformer", "Pooling"]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(names)
    ]
    (folder / "1_Pooling").mkdir()
    _write(folder / "modules.json", modules)
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 64, **pooling})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False, **sentence})
    return folder


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
