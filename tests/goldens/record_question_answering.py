"""Records what transformers 4.57 answers: `python tests/goldens/record_question_answering.py CHECKPOINT`.

transformers 5 has no question-answering pipeline, so its answers are recorded in an environment of its own
(`pip install transformers==4.57.6 torch==2.13.0`) with the checkpoint of the repository,
`tests/checkpoints/tiny-bert-qa`, and kept in `question_answering.json` beside this file.
"""

import json
import sys
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import torch
import transformers

GOLDENS = Path(__file__).with_name("question_answering.json")

SHORT = "Anna Berger now lives in Lisbon. She works for Redwood Bank. Berger has a goat."
UNICODE = "François Ümit plays the trumpet 👍. The home of Ümit is in São Paulo; he studied history\u00a0there."
REPEATED = "Lee has a cat. lee has a CAT. Lee has a Cat. At weekends Lee goes for sailing. Lee drives a boat."
LONG = " ".join(
    f"{name} Gray works as a {role}. {name} comes from {place}. {name} retired in {year}."
    for name, role, place, year in zip(
        ("Alice", "Bruno", "Carla", "David", "Elena", "Felix", "Grace", "Hugo", "Irene", "Jamal", "Klaus", "Lina"),
        (
            "baker",
            "pilot",
            "nurse",
            "judge",
            "coach",
            "chemist",
            "farmer",
            "lawyer",
            "teacher",
            "author",
            "mayor",
            "banker",
        ),
        ("Oslo", "Lima", "Rome", "Cairo", "Prague", "Seoul", "Athens", "Boston", "Havana", "Riga", "Tunis", "Quito"),
        range(1990, 2002),
        strict=True,
    )
)
QUESTIONS = {
    "short": ("Where does Anna Berger live?", SHORT),
    "company": ("Who does Anna Berger work for?", SHORT),
    "unanswerable": ("Which instrument does Anna Berger play?", SHORT),
    "unicode": ("Where is the home of Ümit?", UNICODE),
    "repeated": ("Which animal does Lee have?", REPEATED),
    "long": ("What is the profession of Hugo Gray?", LONG),
    "one word": ("What?", "ok"),
    "spaces": ("Where  does she\tlive?", "  She   lives \n in   Oslo .  "),
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"top_k": 3},
    {"top_k": 10},
    {"handle_impossible_answer": True},
    {"handle_impossible_answer": True, "top_k": 4},
    {"align_to_words": False},
    {"align_to_words": False, "top_k": 5},
    {"max_answer_len": 1},
    {"max_answer_len": 2, "top_k": 4},
    {"max_seq_len": 64},
    {"max_seq_len": 64, "doc_stride": 16, "top_k": 5},
    {"max_seq_len": 48, "doc_stride": 8, "top_k": 3, "handle_impossible_answer": True},
    {"max_seq_len": 100, "padding": "max_length"},
    {"padding": True, "top_k": 2},
]


def calls() -> list[dict[str, Any]]:
    """Every question with every option, then HF's many forms of input: `args` and `kwargs` of one call."""
    single = [
        {"args": [], "kwargs": {"question": question, "context": context, **options}}
        for (question, context), options in product(QUESTIONS.values(), OPTIONS)
    ]
    pairs = [{"question": question, "context": context} for question, context in QUESTIONS.values()]
    both = {"question": [pair["question"] for pair in pairs], "context": [pair["context"] for pair in pairs]}
    forms: list[tuple[list[Any], dict[str, Any]]] = [
        ([pairs[0]], {}),
        ([pairs], {}),
        ([pairs[:1]], {}),
        ([pairs[0]["question"], pairs[0]["context"]], {}),
        ([pairs[0], pairs[1]], {}),
        ([], {"question": both["question"][:3], "context": SHORT}),
        ([], both),
        ([], {**both, "top_k": 2}),
        ([], {**both, "batch_size": 3}),
        ([], {**both, "batch_size": 4, "max_seq_len": 64, "doc_stride": 16, "top_k": 2}),
        ([], {"question": both["question"][:1], "context": both["context"][:1]}),
        ([], {"question": both["question"][:1], "context": SHORT, "top_k": 2}),
        ([], {"data": pairs[:2]}),
        ([], {"X": pairs[:2]}),
        ([], {**pairs[0], "topk": 2}),
    ]
    return single + [{"args": args, "kwargs": kwargs} for args, kwargs in forms]


REFUSED: list[tuple[list[Any], dict[str, Any]]] = [
    ([], {"question": "", "context": SHORT}),
    ([], {"question": "Who?", "context": ""}),
    ([], {"question": None, "context": SHORT}),
    ([], {"question": "Who?"}),
    ([], {"question": ["Who?", "What?"], "context": [SHORT]}),
    ([], {"question": "Who?", "context": SHORT, "top_k": 0}),
    ([], {"question": "Who?", "context": SHORT, "max_answer_len": 0}),
    ([], {"question": "Who?", "context": SHORT, "max_seq_len": 20, "doc_stride": 30}),
    ([{"question": "Who?"}], {}),
    ([{"question": "Who?", "context": None}], {}),
    ([3], {}),
    ([], {}),
]


def main() -> None:
    """Ask, and write the answers."""
    if not transformers.__version__.startswith("4.57."):
        raise SystemExit(f"this is transformers {transformers.__version__}; the reference is 4.57")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    pipe = transformers.pipeline("question-answering", sys.argv[1], device=-1)
    answers = [pipe(*call["args"], **call["kwargs"]) for call in calls()]
    record = {
        "transformers": transformers.__version__,
        "answers": answers,
        "refused": [outcome(pipe, *r) for r in REFUSED],
    }
    GOLDENS.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{len(answers)} answers in {GOLDENS}")


def outcome(pipe: Any, args: list[Any], kwargs: dict[str, Any]) -> str:
    """The class of the error."""
    try:
        return f"answered: {pipe(*args, **kwargs)}"
    except Exception as error:
        return type(error).__name__


if __name__ == "__main__":
    main()
