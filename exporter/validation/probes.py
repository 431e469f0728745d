"""Texts and chats on which tokenizers tend to disagree."""

from __future__ import annotations

from typing import Any

TEXTS = (
    "",
    " ",
    "\n",
    "Hello world",
    " leading and trailing ",
    "two  spaces\tand\t\ttabs \n\n\n newlines\r\nand CRLF",
    "UPPER lower MiXeD Straße İstanbul ǅ",
    "café naïve Ångström résumé",  # composed
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",  # the same decomposed
    "ﬁne Ⅷ ① ｆｕｌｌｗｉｄｔｈ x² ½",  # compatibility characters
    "z\u0338\u0321\u0320a\u0300\u0316l\u0363g\u0321o\u0334",  # stacked combining marks
    "👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ 🧑🏿‍🚀",
    "我喜欢机器学习。東京タワー 한국어 ภาษาไทย",
    "שלום עולם مرحبا بالعالم \u202eabc\u202c",
    "zero\u200bwidth\u200djoin\ufefforder\u00adsoft\u00a0nbsp\u3000wide",
    "control\x00\x01\x7f\x85chars \ufffd replacement \U0010ffff",
    "1234567890 3.14159 -1e-10 0xDEADBEEF 1,000,000 ٣٤٥ 12:30",
    "def f(x: int) -> str:\n\treturn f'{x!r}' if x >= 0 else \"<neg>\"  # ünïcode\n\n\n",
    "don't won't I'm you've they're it's o'clock 'quoted' n't 's",
    "Hello , world ! How are you ? Fine . . . ( ok ) 's",
    "https://example.org/path?q=1&r=%20#frag user@example.com C++ #1 @user $5 50% a_b-c",
    "▁underscore ▁▁ Ġgpt ##piece </w> <0x41> <0xF0>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 2,
    "The quick brown fox jumps over the lazy dog. " * 40,
)
PAIRS = (
    ("A question?", "An answer."),
    ("Who wrote it?", "It was written, long ago, by somebody whose name nobody remembers any more. " * 8),
    ("A first text that is clearly longer than the second one is. " * 5, "short"),
    ("", "second only"),
    ("first only", ""),
    ("", ""),
)
WORDS = (["Hello", "world", "!"], ["São", "Paulo's", "co-op", "👍"], ["x"])


def texts_with_specials(special_tokens: list[str], added_tokens: list[str]) -> list[str]:
    """Every special and added token inside of running text: glued to words, doubled, with spaces around."""
    tokens = list(dict.fromkeys([*special_tokens, *added_tokens]))[:24]
    return [form.format(t) for t in tokens for form in ("start {0} end", "glued{0}word", "{0}{0}", " {0}\n")]


def chats() -> list[list[dict[str, Any]]]:
    """Conversations: one turn, with a system prompt, several turns, and with unicode and markup in the text."""
    question = {"role": "user", "content": "What is 2 + 2?"}
    answer = {"role": "assistant", "content": "4, of course."}
    system = {"role": "system", "content": "You are terse."}
    odd = {"role": "user", "content": "  <|im_start|> äöü 👍 </s> [INST] {{ x }} \n"}
    return [[question], [system, question], [question, answer, odd], [system, question, answer, question]]


def tools() -> list[dict[str, Any]]:
    """One tool as JSON schema."""
    place = {"type": "string", "description": "The city, e.g. Zürich"}
    parameters = {"type": "object", "properties": {"place": place}, "required": ["place"]}
    function = {"name": "weather", "description": "The weather <now> & here", "parameters": parameters}
    return [{"type": "function", "function": function}]
