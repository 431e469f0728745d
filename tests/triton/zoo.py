"""One tiny bundle of every task in one repository, and what is asked of each: the calls that both sides must answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from tests.checkpoints.builders import tiny
from tests.checkpoints.seq2seq import tiny_captioner, tiny_seq2seq
from tests.pictures import as_bytes, picture

CHAT_TEMPLATE = (
    "{% if tools %}[tools] {{ tools | tojson }}\n{% endif %}"
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What does open return?"}]
TOOL = {
    "type": "function",
    "function": {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}},
}
CONTEXT = "Anna Berger now lives in Lisbon. She works for Redwood Bank. Berger has a goat."
TEXTS = ["A wonderful film with a warm heart.", "Bad.", "", "Überraschend gut! 素晴らしい 🎉"]
SOURCES = ["Return the end of the list.", "open a file"]

Call = tuple[tuple[Any, ...], dict[str, Any]]  # positional and keyword arguments


def build_zoo(folder: Path) -> dict[str, Path]:
    """Bundles of the tasks that no shared fixture exports, by name; not validated, other tests do that."""
    from exporter import export

    chat = tiny("llama", folder / "checkpoints" / "chat")
    (chat / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    sources = {
        "chat": (chat, "text-generation"),
        "writer": (tiny_seq2seq("t5", folder / "checkpoints" / "t5"), "text2text-generation"),
        "translator": (tiny_seq2seq("mbart", folder / "checkpoints" / "mbart"), "translation"),
        "captions": (tiny_captioner(folder / "checkpoints" / "captions"), "image-to-text"),
    }
    for name, (checkpoint, task) in sources.items():
        export(checkpoint, task=task, output=folder / "bundles", name=name, validate=False)
    return {name: folder / "bundles" / name for name in sources}


def image(seed: int) -> Image.Image:
    """A picture."""
    return picture(seed)


# (model, task): calls.
CALLS: dict[tuple[str, str], list[Call]] = {
    ("sentiment", "text-classification"): [
        (("Good.",), {}),
        ((TEXTS,), {}),
        ((TEXTS,), {"batch_size": 4, "top_k": None}),
        (("Good.",), {"top_k": 1}),
        (("Good.",), {"top_k": 2, "function_to_apply": "sigmoid"}),
        (({"text": "Good.", "text_pair": "Bad."},), {}),
        (([{"text": "Good.", "text_pair": "Bad."}, "Fine."],), {"top_k": 2}),
        (("word " * 600,), {"truncation": True, "max_length": 20}),
        (([],), {}),
    ],
    ("ner", "token-classification"): [
        ((CONTEXT,), {}),
        (([CONTEXT, "Mr X."],), {"aggregation_strategy": "max"}),
        ((CONTEXT * 4,), {"aggregation_strategy": "simple", "stride": 9}),
        ((["Anna", "Berger", "sings"],), {"is_split_into_words": True}),
        ((CONTEXT,), {"ignore_labels": ["O", "B-PER"]}),
    ],
    ("fill-mask", "fill-mask"): [
        (("Return the <mask> of the list.",), {}),
        ((["Return the <mask>.", "<mask> <mask>"],), {"top_k": 2}),
        ((["the <mask>"],), {"targets": ["end", "a"]}),
    ],
    ("qa", "question-answering"): [
        ((), {"question": "Where?", "context": CONTEXT}),
        ((), {"question": ["Where?", "Who?"], "context": CONTEXT, "top_k": 2}),
        (([{"question": "Who?", "context": CONTEXT}],), {"handle_impossible_answer": True}),
        (("Who?", CONTEXT * 9), {"max_seq_len": 40, "doc_stride": 10}),
    ],
    ("nli", "zero-shot-classification"): [
        (("It rains.", ["wet", "dry"]), {}),
        ((["It rains.", "It burns."],), {"candidate_labels": "wet, dry", "multi_label": True}),
        (("It rains.",), {"candidate_labels": ["a"], "hypothesis_template": "{}?"}),
    ],
    ("nli", "text-classification"): [(("It rains.",), {}), (("It rains.",), {"top_k": None})],
    ("sentiment", "zero-shot-classification"): [(("It rains.", ["wet", "dry"]), {})],
    ("features", "feature-extraction"): [
        (("ok",), {}),
        ((["ok", "a longer text"],), {}),
        (("ok " * 300,), {"truncation": True, "return_tensors": True}),
        (("ok",), {"tokenize_kwargs": {"add_special_tokens": False}}),
        ((["ok", "a longer text", "this is a text that is longer still", "ok", "so"],), {"batch_size": 2}),
        ((["ok", "a longer text"],), {"batch_size": 2, "return_tensors": True}),
    ],
    ("sentences", "sentence-similarity"): [
        (("A cold meal.",), {}),
        ((["A cold meal.", "ok"],), {}),
        ((["A cold meal.", "ok"],), {"return_tensors": True}),
        (({"source_sentence": "A cold meal.", "sentences": ["ok", "Food."]},), {}),
        (([],), {}),
    ],
    ("sentences", "feature-extraction"): [
        (("A cold meal.",), {}),
        (("ok",), {"return_tensors": True}),
        ((["A cold meal.", "ok"],), {"batch_size": 2}),
    ],
    ("gpt2-docs", "text-generation"): [
        (("Return the",), {"max_new_tokens": 8, "do_sample": False}),
        ((["Return the", "def", "The os module"],), {"max_new_tokens": 6, "do_sample": False, "batch_size": 3}),
        (("def",), {"max_new_tokens": 12, "do_sample": True, "temperature": 0.9, "top_p": 0.9, "seed": 5}),
        (("def",), {"max_new_tokens": 6, "num_beams": 3, "do_sample": False, "num_return_sequences": 2}),
        (("def",), {"max_new_tokens": 6, "do_sample": True, "seed": 3, "num_return_sequences": 3}),
        (("def",), {"max_new_tokens": 6, "do_sample": False, "return_full_text": False, "stop_sequence": "e"}),
        (("def",), {"max_new_tokens": 6, "do_sample": False, "return_tensors": True}),
        (("Überraschung: 素晴らしい",), {"max_new_tokens": 5, "do_sample": False, "prefix": "Note: "}),
    ],
    ("chat", "text-generation"): [
        ((CHAT,), {"max_new_tokens": 6, "do_sample": False}),
        (([CHAT, CHAT[1:]],), {"max_new_tokens": 6, "do_sample": False}),
        ((CHAT,), {"max_new_tokens": 6, "do_sample": False, "tools": [TOOL], "return_full_text": False}),
        (([*CHAT, {"role": "assistant", "content": "It"}],), {"max_new_tokens": 4, "do_sample": False}),
    ],
    ("writer", "text2text-generation"): [
        ((SOURCES[0],), {"max_new_tokens": 6}),
        ((SOURCES,), {"max_new_tokens": 6, "num_beams": 1, "batch_size": 2}),
        ((SOURCES[0],), {"max_new_tokens": 6, "num_beams": 3, "num_return_sequences": 2}),
        ((SOURCES,), {"max_new_tokens": 5, "return_tensors": True}),
    ],
    ("writer", "summarization"): [((SOURCES[0],), {"max_new_tokens": 6}), ((SOURCES,), {"max_new_tokens": 4})],
    ("writer", "translation_en_to_fr"): [((SOURCES[0],), {"max_new_tokens": 6})],
    ("translator", "translation"): [
        ((SOURCES[0],), {"src_lang": "en_XX", "tgt_lang": "ro_RO", "max_new_tokens": 6}),
        ((SOURCES,), {"src_lang": "en_XX", "tgt_lang": "de_DE", "max_new_tokens": 6, "num_beams": 2}),
    ],
    ("captions", "image-to-text"): [
        ((image(1),), {"max_new_tokens": 5}),
        (([image(1), image(2)],), {"max_new_tokens": 5, "generate_kwargs": {"num_beams": 2}}),
    ],
    ("classifier", "image-classification"): [
        ((image(1),), {}),
        ((as_bytes(image(2), "JPEG"),), {"top_k": 2}),
        (([image(1), image(3).convert("L"), image(4).convert("RGBA")],), {"function_to_apply": "sigmoid"}),
        (([image(5), image(6)],), {"batch_size": 2}),
    ],
    ("detector", "object-detection"): [
        ((image(1),), {}),
        (([image(1), picture(2, 60, 90)],), {"threshold": 0.1}),
    ],
}

# (model, task): calls that both sides refuse, with the same words.
REFUSED: dict[tuple[str, str], list[Call]] = {
    ("sentiment", "text-classification"): [
        ((5,), {}),
        ((["a", 5],), {}),
        ((["a", "b", "word " * 5000],), {}),
        ((["a", "b", "word " * 5000],), {"batch_size": 2}),
        ((["word " * 5000],), {}),
        (("a",), {"top_q": 1}),
        (("a",), {"function_to_apply": "foo"}),
    ],
    ("ner", "token-classification"): [(("x",), {"aggregation_strategy": "most"}), (([],), {}), (("x",), {"strid": 3})],
    ("fill-mask", "fill-mask"): [(("no mask",), {}), ((["<mask>", "none"],), {"batch_size": 2})],
    ("qa", "question-answering"): [((), {"question": "Who?", "context": ""}), (("Who?", CONTEXT), {"top_k": 0})],
    ("nli", "zero-shot-classification"): [(("x",), {"candidate_labels": ["a"], "hypothesis_template": "b"})],
    ("features", "feature-extraction"): [(("ok " * 300,), {})],
    ("sentences", "sentence-similarity"): [(({"source_sentence": "a"},), {})],
    ("gpt2-docs", "text-generation"): [
        (("def",), {"max_new_token": 3}),
        (("word " * 2000,), {"max_new_tokens": 3}),
        (([],), {}),
        ((["def", 3],), {}),
        (("def",), {"do_sample": True, "temperature": -1.0}),
    ],
    ("writer", "text2text-generation"): [((3,), {}), (("a",), {"num_beam": 2})],
    ("translator", "translation"): [(("a",), {"src_lang": "xx", "tgt_lang": "ro_RO"}), (("a",), {})],
    ("classifier", "image-classification"): [(("/no/such/image.png",), {}), ((image(1),), {"topk": 1})],
    ("detector", "object-detection"): [((image(1),), {"threshold": "high"})],
    ("captions", "image-to-text"): [((image(1),), {"prompt": "a"})],
}
