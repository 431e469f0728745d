"""Records what transformers 4.57 answers: `python -m tests.goldens.record_seq2seq CHECKPOINTS`.

transformers 5 has no text2text-generation, summarization, translation and image-to-text pipeline, so their answers are
recorded in an environment of its own (`pip install transformers==4.57.6 torch==2.13.0 pillow`) with checkpoints that
`seq2seq_checkpoints.py` builds, and kept in `seq2seq.json` beside this file.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from tests.pictures import picture

GOLDENS = Path(__file__).with_name("seq2seq.json")

SHORT = "The bridge over the river is long."
NUMBER = "She has two hundred and eighty-one letters."
LONG = (
    "The default value of the argument is the name of the module, and the module that defines the function has to be "
    "imported before the call; otherwise the import statement raises an exception, which the caller may handle. " * 2
)
UNICODE = "François paid 3.5€ – naïve? 👍\u00a0Ok."
TEXTS = [SHORT, "Hello", UNICODE, LONG, NUMBER, "  two  spaces \n and a line ."]
# Every way of asking for something else than the default.
OPTIONS: list[dict[str, Any]] = [
    {"max_new_tokens": 9},
    {"max_new_tokens": 9, "num_beams": 1},
    {"max_length": 10},
    {"max_length": 10, "num_beams": 1, "do_sample": False},
    {"max_new_tokens": 12, "min_length": 10, "num_beams": 1},
    {"max_new_tokens": 12, "min_new_tokens": 10, "num_beams": 2},
    {"max_new_tokens": 9, "num_beams": 3, "num_return_sequences": 3},
    {"max_new_tokens": 9, "num_beams": 3, "length_penalty": 0.2, "early_stopping": True},
    {"max_new_tokens": 14, "num_beams": 2, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 12, "num_beams": 1, "repetition_penalty": 1.7},
    {"max_new_tokens": 8, "return_tensors": True},
    {"max_new_tokens": 8, "return_tensors": False, "return_text": True},
    {"max_new_tokens": 8, "return_text": True},
    {"max_new_tokens": 8, "num_beams": 2, "num_return_sequences": 2, "return_tensors": True},
    {"max_new_tokens": 8, "clean_up_tokenization_spaces": True},
    {"max_new_tokens": 8, "truncation": True},
    {"max_new_tokens": 8, "truncation": "only_first"},
    {"max_new_tokens": 8, "stop_sequence": "."},
    {"max_new_tokens": 8, "bad_words_ids": [[5], [7, 9]], "num_beams": 1},
    {"max_new_tokens": 8, "suppress_tokens": [4, 5, 6], "num_beams": 2},
    {"max_new_tokens": 8, "forced_eos_token_id": 1, "num_beams": 1},
    {"max_new_tokens": 8, "encoder_no_repeat_ngram_size": 2, "num_beams": 1},
    {"max_new_tokens": 8, "renormalize_logits": True, "num_beams": 2},
    {"max_new_tokens": 8, "exponential_decay_length_penalty": [3, 1.4], "num_beams": 2, "min_length": 0},
]
# Forms of one call: (form, positional, named). "generator": an iterator over the texts is passed, and listed.
FORMS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("call", [TEXTS[:3]], {"max_new_tokens": 7}),
    ("call", [TEXTS[:1]], {"max_new_tokens": 7}),
    ("call", [[]], {"max_new_tokens": 7}),
    ("call", [TEXTS], {"max_new_tokens": 7, "batch_size": 3}),
    ("call", [TEXTS], {"max_new_tokens": 7, "batch_size": 4, "num_beams": 1}),
    ("call", [TEXTS[:3]], {"max_new_tokens": 7, "num_beams": 2, "num_return_sequences": 2}),
    ("call", [TEXTS[:3]], {"max_new_tokens": 7, "return_tensors": True}),
    ("call", [SHORT, "Hello"], {"max_new_tokens": 7}),
    ("generator", [TEXTS[:3]], {"max_new_tokens": 7}),
    ("generator", [TEXTS], {"max_new_tokens": 7, "batch_size": 2, "num_beams": 1}),
]
MBART = {"src_lang": "en_XX", "tgt_lang": "ro_RO"}
NLLB = {"src_lang": "eng_Latn", "tgt_lang": "fra_Latn"}
# (checkpoint, task, arguments of the constructor)
PIPELINES: list[tuple[str, str, dict[str, Any]]] = [
    ("t5", "text2text-generation", {}),
    ("t5", "summarization", {}),
    ("t5", "translation_en_to_fr", {}),
    ("t5", "translation_en_to_de", {}),
    ("t5", "translation", {}),
    ("bart", "text2text-generation", {}),
    ("bart", "summarization", {}),
    ("marian", "translation", {}),
    ("marian", "translation_en_to_fr", {}),
    ("marian", "text2text-generation", {"max_new_tokens": 20, "num_beams": 2}),
    ("mbart", "translation", MBART),
    ("nllb", "translation", NLLB),
    ("nllb", "translation", {**NLLB, "batch_size": 2, "max_length": 12}),
]
DEFAULTS = ("marian", "bart")  # short answers: asked without any option as well
LANGUAGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("mbart", {}, {"src_lang": "fr_XX", "tgt_lang": "en_XX", "max_new_tokens": 8}),
    ("mbart", MBART, {"src_lang": "de_DE", "tgt_lang": "en_XX", "max_new_tokens": 8}),
    ("mbart", {}, {"src_lang": "de_DE", "tgt_lang": "zh_CN", "max_new_tokens": 8, "truncation": True}),
    ("nllb", {}, {"src_lang": "fra_Latn", "tgt_lang": "deu_Latn", "max_new_tokens": 8}),
    ("nllb", NLLB, {"tgt_lang": "deu_Latn", "max_new_tokens": 8, "num_beams": 1}),
    ("nllb", NLLB, {"src_lang": "ace_Arab", "max_new_tokens": 8, "num_beams": 1}),
]
REFUSED: list[tuple[str, str, list[Any], dict[str, Any]]] = [
    ("t5", "summarization", [3], {}),
    ("t5", "summarization", [None], {}),
    ("t5", "summarization", [[SHORT, 3]], {}),
    ("t5", "summarization", [{"text": SHORT}], {}),
    ("t5", "summarization", [], {}),
    ("t5", "summarization", [SHORT], {"num_beams": 1, "num_return_sequences": 2}),
    ("t5", "summarization", [SHORT], {"num_beams": 2, "num_return_sequences": 3}),
    ("t5", "summarization", [SHORT], {"max_new_tokens": -1}),
    ("t5", "summarization", [SHORT], {"max_new_token": 3}),
    ("mbart", "translation", [SHORT], {}),
    ("mbart", "translation", [SHORT], {"src_lang": "en_XX"}),
    ("mbart", "translation", [SHORT], {"tgt_lang": "en_XX"}),
]
PICTURES = [
    picture(1, 50, 60),
    picture(2, 200, 40),
    picture(3, 33, 33).convert("L"),
    picture(4, 64, 80).convert("RGBA"),
]
CAPTIONS: list[tuple[str, Any, dict[str, Any]]] = [
    ("call", [0], {}),
    ("call", [1], {"max_new_tokens": 9}),
    ("call", [3], {"max_new_tokens": 9}),
    ("call", [[0, 1, 2]], {"max_new_tokens": 9}),
    ("call", [[2]], {"max_new_tokens": 9}),
    ("call", [[]], {}),
    ("call", [[0, 1, 2, 3]], {"max_new_tokens": 9, "batch_size": 3}),
    ("call", [0], {"max_new_tokens": 9, "generate_kwargs": {"num_beams": 3}}),
    ("call", [[0, 1]], {"generate_kwargs": {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 8}}),
    ("call", [0], {"max_new_tokens": 9, "generate_kwargs": {"min_length": 6, "repetition_penalty": 1.6}}),
    ("call", [0], {"generate_kwargs": {"max_length": 7}}),
    ("call", [0], {"max_new_tokens": 9, "generate_kwargs": {"no_repeat_ngram_size": 1, "num_beams": 2}}),
    ("generator", [[0, 1, 2]], {"max_new_tokens": 9}),
    ("generator", [[0, 1, 2, 3]], {"max_new_tokens": 9, "batch_size": 2}),
]


def calls() -> Iterator[dict[str, Any]]:
    """What is asked: checkpoint, task, arguments of the constructor, then form, positional and named of the call."""
    for name, task, init in PIPELINES:
        known = {"checkpoint": name, "task": task, "init": init}
        if name in DEFAULTS:
            yield from ({**known, "form": "call", "args": [text], "kwargs": {}} for text in TEXTS)
        # Each option with one text, another every time.
        for index, options in enumerate(OPTIONS):
            yield {**known, "form": "call", "args": [TEXTS[index % len(TEXTS)]], "kwargs": options}
        for form, args, kwargs in FORMS:
            yield {**known, "form": form, "args": args, "kwargs": kwargs}
    yield {"checkpoint": "t5", "task": "summarization", "init": {}, "form": "call", "args": [LONG], "kwargs": {}}
    for name, init, kwargs in LANGUAGES:
        for text in TEXTS[:4]:
            known = {"checkpoint": name, "task": "translation", "init": init}
            yield {**known, "form": "call", "args": [text], "kwargs": kwargs}
    for form, args, kwargs in CAPTIONS:
        known = {"checkpoint": "captioner", "task": "image-to-text", "init": {}}
        yield {**known, "form": form, "args": args, "kwargs": kwargs}


def ask(pipe: Any, call: dict[str, Any]) -> Any:
    """The answer to one call, as JSON: tensors as lists. Numbers stand for pictures."""
    args = [drawn(arg) for arg in call["args"]] if call["task"] == "image-to-text" else call["args"]
    if call["form"] == "generator":
        answer: Any = list(pipe((item for item in args[0]), **call["kwargs"]))
    else:
        answer = pipe(*args, **call["kwargs"])
    # Tensors have `tolist`; an object without it is no answer that can be kept.
    return json.loads(json.dumps(answer, default=lambda tensor: tensor.tolist()))


def drawn(value: int | list[int]) -> Image.Image | list[Image.Image]:
    """The picture or pictures of a call."""
    return PICTURES[value] if isinstance(value, int) else [PICTURES[index] for index in value]


def fingerprint(tokenizer: Any, model: Any) -> dict[str, Any]:
    """What tells a checkpoint from another: the ids of a text and the size of its weights."""
    total = sum(float(parameter.detach().double().abs().sum()) for parameter in model.parameters())
    return {"ids": tokenizer(SHORT, add_special_tokens=False)["input_ids"], "weights": round(total, 1)}


class Recorder:
    """Asks pipelines of transformers 4.57, and keeps each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pipes: dict[str, Any] = {}

    def pipe(self, name: str, task: str, init: dict[str, Any]) -> Any:
        """The pipeline of a checkpoint for a task."""
        import transformers

        key = json.dumps([name, task, init])
        if key not in self.pipes:
            self.pipes[key] = transformers.pipeline(task, str(self.folder / name), device=-1, **init)
        return self.pipes[key]

    def answer(self, call: dict[str, Any]) -> Any:
        """The answer, or the class of the error."""
        try:
            return ask(self.pipe(call["checkpoint"], call["task"], call["init"]), call)
        except Exception as error:
            return {"error": type(error).__name__, "says": " ".join(str(error).split())[:200]}


def main() -> None:
    """Ask, and write the answers."""
    import torch
    import transformers

    if not transformers.__version__.startswith("4.57."):
        raise SystemExit(f"this is transformers {transformers.__version__}; the reference is 4.57")
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    recorder = Recorder(Path(sys.argv[1]))
    answers = [recorder.answer(call) for call in calls()]
    refused = [
        recorder.answer({"checkpoint": name, "task": task, "init": {}, "form": "call", "args": args, "kwargs": kwargs})
        for name, task, args, kwargs in REFUSED
    ]
    pipes = [recorder.pipe(name, task, init) for name, task, init in PIPELINES]
    known = {name: fingerprint(pipe.tokenizer, pipe.model) for (name, _, _), pipe in zip(PIPELINES, pipes, strict=True)}
    record = {
        "transformers": transformers.__version__,
        "fingerprints": known,
        "answers": answers,
        "refused": refused,
    }
    GOLDENS.write_text(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(answers)} answers in {GOLDENS}")


if __name__ == "__main__":
    main()
