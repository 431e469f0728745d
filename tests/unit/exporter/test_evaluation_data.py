"""Evaluation data: what is read, which column is what, and what is refused before a model is loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from exporter.evaluation.columns import Role, parse_columns, resolve_columns
from exporter.evaluation.data import Table, read_table
from exporter.evaluation.run import Evaluation, prepare
from exporter.evaluation.settings import EvaluationSettings
from runtime.errors import InputError

ROWS = [{"text": "fine", "label": "POSITIVE"}, {"text": "bad", "label": "NEGATIVE"}]
CONFIG = SimpleNamespace(id2label={0: "NEGATIVE", 1: "POSITIVE"}, num_labels=2, problem_type=None)
TAGGER = SimpleNamespace(id2label=dict(enumerate(["O", "B-PER", "I-PER"])), num_labels=3, problem_type=None)


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def prepared(path: Path, task: str = "text-classification", config: Any = CONFIG, **options: Any) -> Evaluation:
    found = prepare(EvaluationSettings(path, **options), task, config)
    assert found is not None
    return found


def asked(path: Path, task: str = "text-classification", config: Any = CONFIG, **options: Any) -> list[Any]:
    return [(example.inputs, example.gold) for example in prepared(path, task, config, **options).examples]


EXPECTED = [("fine", "POSITIVE"), ("bad", "NEGATIVE")]

# ---- formats


def test_json_lines(tmp_path: Path) -> None:
    assert asked(lines(tmp_path / "data.jsonl", ROWS)) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", "text,label\nfine,POSITIVE\nbad,NEGATIVE\n"),
        ("data.csv", '\ufefflabel,text\r\nPOSITIVE,fine\r\nNEGATIVE,"bad"\r\n'),
        ("data.tsv", "text\tlabel\nfine\tPOSITIVE\nbad\tNEGATIVE\n"),
        ("data.jsonl", '\n{"text": "fine", "label": 1}\n\n{"text": "bad", "label": "0"}'),
        ("DATA.JSONL", '{"text": "fine", "label": "POSITIVE"}\r\n{"text": "bad", "label": "NEGATIVE"}\r\n'),
    ],
)
def test_other_ways_to_write_the_same(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert asked(path) == EXPECTED


def test_quoted_cells(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('text,label\n"a, ""b""\nc",POSITIVE\n')
    assert asked(path) == [('a, "b"\nc', "POSITIVE")]


def test_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("Once upon\na time.\n")
    assert asked(path, "text-generation") == [("Once upon\na time.\n", None)]


def test_a_saved_dataset(tmp_path: Path) -> None:
    """Numbers of classes become the model's labels by name, whatever their order."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["POSITIVE", "NEGATIVE"])})
    data = Dataset.from_dict({"sentence": ["fine", "bad"], "label": [0, 1]}, features=features)
    data.save_to_disk(tmp_path / "one")
    assert asked(tmp_path / "one") == EXPECTED
    DatasetDict({"train": data.select([1]), "test": data}).save_to_disk(tmp_path / "dict")
    assert asked(tmp_path / "dict", limit=1) == EXPECTED[:1]
    DatasetDict({"train": data}).save_to_disk(tmp_path / "train")
    with pytest.raises(InputError, match="has the splits train, none of test, validation"):
        asked(tmp_path / "train")


def test_class_names_of_another_model_are_numbers(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    Dataset.from_dict({"text": ["fine"], "label": [1]}, features=features).save_to_disk(tmp_path / "data")
    assert asked(tmp_path / "data") == [("fine", "POSITIVE")]


def test_limit(tmp_path: Path) -> None:
    assert len(asked(lines(tmp_path / "data.jsonl", ROWS * 5), limit=3)) == 3


# ---- tasks


def test_pairs(tmp_path: Path) -> None:
    path = lines(tmp_path / "data.jsonl", [{"premise": "a", "hypothesis": "b", "label": 1}])
    assert asked(path) == [({"text": "a", "text_pair": "b"}, "POSITIVE")]


def test_regression(tmp_path: Path) -> None:
    config = SimpleNamespace(id2label={0: "LABEL_0"}, num_labels=1, problem_type="regression")
    assert asked(lines(tmp_path / "a.jsonl", [{"text": "a", "label": 2}]), config=config) == [("a", 2.0)]
    with pytest.raises(InputError, match="row 1: 'much' is no number"):
        asked(lines(tmp_path / "b.jsonl", [{"text": "a", "label": "much"}]), config=config)


TOXIC = SimpleNamespace(
    id2label=dict(enumerate(["toxic", "insult", "Severe Toxic"])),
    num_labels=3,
    problem_type="multi_label_classification",
)


def test_one_column_for_each_label(tmp_path: Path) -> None:
    """Guessed by the labels' names however they are spelt, or named; numbers, truths and texts of both."""
    path = tmp_path / "data.csv"
    path.write_text("\ufeffid,comment_text,insult,toxic,severe_toxic\n7,a,0,1,1\n8,b,0,0,0.0\n", encoding="utf-8")
    expected = [("a", frozenset(["toxic", "Severe Toxic"])), ("b", frozenset())]
    assert asked(path, config=TOXIC) == expected
    rows = [{"text": "a", "t": True, "insult": 0, "s": 1.0}, {"text": "b", "t": False, "insult": 0, "s": 0}]
    named = lines(tmp_path / "named.jsonl", rows)
    assert asked(named, config=TOXIC, columns="toxic=t,Severe Toxic=s,text=text") == expected


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"text": "a", "toxic": 1, "insult": 0}, None, "none for 'Severe Toxic': pass --eval-columns Severe Toxic=COL"),
        ({"text": "a", "toxic": 1}, "insult=rude", "no column 'rude' for the label 'insult': it has text, toxic"),
        ({"text": "a", "toxic": -1, "insult": 0, "severe-toxic": 0}, None, "row 1: 'toxic' is -1: columns of labels"),
        ({"text": "a", "toxic": 1, "insult": None, "severe toxic": 0}, None, "row 1 has no 'insult'"),
        ({"text": "a", "other": 1}, None, "no column that looks like the label"),
    ],
)
def test_columns_of_labels_that_do_not_fit(tmp_path: Path, row: Any, columns: str | None, message: str) -> None:
    path = lines(tmp_path / "data.jsonl", [row])
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        asked(path, config=TOXIC, columns=columns)
    assert "\n" not in str(caught.value)


def test_a_column_called_label_comes_first(tmp_path: Path) -> None:
    path = lines(tmp_path / "data.jsonl", [{"text": "a", "label": ["insult"], "toxic": 0.7}])
    assert asked(path, config=TOXIC) == [("a", frozenset(["insult"]))]


def test_several_labels(tmp_path: Path) -> None:
    """As lists of names or numbers, as Trainer's zeros and ones, as a text with separators, and none at all."""
    config = SimpleNamespace(
        id2label=dict(enumerate(["joy", "fear", "anger"])), num_labels=3, problem_type="multi_label_classification"
    )
    given = [["joy", "anger"], [0, 2], [1.0, 0.0, 1.0], [1, 0, 1], "joy, anger", "0|2", "fear", 1, [], [0, 0, 0], None]
    path = lines(tmp_path / "data.jsonl", [{"text": "a", "labels": one} for one in given])
    found = [sorted(gold) for _, gold in asked(path, config=config)]
    assert found == [["anger", "joy"]] * 6 + [["fear"]] * 2 + [[]] * 3
    with pytest.raises(InputError, match="row 1: the model has no label 'love', it knows joy, fear, anger"):
        asked(lines(tmp_path / "b.jsonl", [{"text": "a", "label": ["joy", "love"]}]), config=config)


def test_tags(tmp_path: Path) -> None:
    rows = [{"tokens": ["Ada", "wrote"], "ner_tags": [1, 0]}, {"tokens": [], "ner_tags": []}]
    path = lines(tmp_path / "data.jsonl", rows)
    assert asked(path, "token-classification", TAGGER) == [(["Ada", "wrote"], ["B-PER", "O"])]


def test_questions(tmp_path: Path) -> None:
    given = ["x", ["x", "y"], {"text": ["x"], "answer_start": [0]}, {"text": [], "answer_start": []}, "", None]
    path = lines(tmp_path / "data.jsonl", [{"question": "q", "context": "x y", "answers": one} for one in given])
    golds = [gold for _, gold in asked(path, "question-answering")]
    assert golds == [["x"], ["x", "y"], ["x"], [], [], []]


def test_nested_columns(tmp_path: Path) -> None:
    path = lines(tmp_path / "data.jsonl", [{"translation": {"en": "one", "fr": "un"}}])
    columns = "source=translation.en, target=translation.fr"
    assert asked(path, "translation", columns=columns) == [("one", ["un"])]


def test_boxes(tmp_path: Path) -> None:
    """`bbox` is COCO's [x, y, width, height], other names hold corners."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    coco = {"image": "a.png", "objects": {"bbox": [[1, 2, 3, 4]], "category": [1]}}
    corners = {"image": "a.png", "boxes": [[1, 2, 4, 6]], "labels": ["POSITIVE"]}
    for name, row in (("coco.jsonl", coco), ("corners.jsonl", corners)):
        [(image, gold)] = asked(lines(tmp_path / name, [row]), "object-detection")
        assert image == str(tmp_path / "a.png")
        assert gold.boxes.tolist() == [[1, 2, 4, 6]]
        assert gold.labels == ["POSITIVE"]


# ---- columns


def test_columns_are_guessed_by_their_names() -> None:
    table = Table(Path("x"), [{"id": 1, "review": "a", "sentiment": "b"}])
    roles = (Role("text", ("sentence", "review")), Role("label", ("sentiment",)), Role("extra", (), optional=True))
    assert resolve_columns(table, "a-task", roles, {}) == {"text": "review", "label": "sentiment"}
    assert resolve_columns(table, "a-task", roles, {"text": "id"})["text"] == "id"


@pytest.mark.parametrize("text", ["text", "text=", "=a", "text:a"])
def test_columns_that_are_no_pairs(text: str) -> None:
    with pytest.raises(InputError, match="role=column pairs"):
        parse_columns(text)


# ---- refusals


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.jsonl", None, "no such file or directory"),
        ("empty.jsonl", b"", "has no rows"),
        ("blank.jsonl", b"\n \n", "has no rows"),
        ("head.csv", b"text,label\n", "has no rows"),
        ("blank.txt", b" \n", "has no rows"),
        ("data.parquet", b"PAR1", "not '.parquet'"),
        ("broken.jsonl", b'{"text": "a", "label": 1}\n{"text": ', "line 2 is not JSON"),
        ("list.jsonl", b"[1, 2]\n", "line 1 is a list: one object a line"),
        ("bytes.jsonl", b'{"text": "\xff"}\n', "is not UTF-8"),
        ("bytes.csv", b"text,label\n\xff,1\n", "is not UTF-8"),
        ("hole.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}\n', "row 2 has no 'label'"),
        ("hole.csv", b"text,label\na,1\nb,\n", "row 2 has no 'label'"),
        ("number.jsonl", b'{"text": 5, "label": 1}\n', "row 1: the text must be a text, not int"),
        ("label.jsonl", b'{"text": "a", "label": "GREAT"}\n', "no label 'GREAT', it knows NEGATIVE, POSITIVE"),
        ("label.jsonl", b'{"text": "a", "label": 2}\n', "no label 2, it knows NEGATIVE, POSITIVE"),
        ("label.jsonl", b'{"text": "a", "label": true}\n', "no label True"),
        ("task.jsonl", b'{"question": "a", "context": "b"}\n', "looks like the text for text-classification"),
        ("task.jsonl", b'{"question": "a", "context": "b"}\n', "it has question, context: pass --eval-columns text="),
    ],
)
def test_data_that_is_refused(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        asked(path)
    assert words in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("text=sentence", "no column 'sentence' for the text: it has text, label"),
        ("txt=text", "text-classification has no 'txt', it reads text, label, text_pair"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, columns: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        asked(lines(tmp_path / "data.jsonl", ROWS), columns=columns)


@pytest.mark.parametrize(
    ("task", "row", "words"),
    [
        ("token-classification", {"words": ["a"], "tags": ["O", "O"]}, "lists of words and as many tags"),
        ("token-classification", {"words": ["a"], "tags": ["B-LOC"]}, "no label 'B-LOC'"),
        ("object-detection", {"image": "none.png", "boxes": [], "labels": []}, "no image at"),
        ("image-classification", {"image": "https://a.b/c.png", "label": 1}, "is no file; download"),
        ("zero-shot-classification", {"text": "a", "label": "x"}, "has one label only"),
    ],
)
def test_rows_that_do_not_fit_the_task(tmp_path: Path, task: str, row: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        asked(lines(tmp_path / "data.jsonl", [row]), task, TAGGER)


def test_a_directory_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no dataset that save_to_disk"):
        read_table(tmp_path)


def test_without_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(InputError, match="needs datasets: pip install datasets"):
        read_table(tmp_path)


@pytest.mark.parametrize("options", [{"columns": "a=b"}, {"limit": 3}, {"max_drop": 1.0}])
def test_options_without_data(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="means nothing without --eval-data"):
        EvaluationSettings(**options).check()
