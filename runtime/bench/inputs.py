"""What is asked in a benchmark: the same for a bundle and for its source."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageDraw

from runtime.errors import InputError

PARAGRAPH = (
    "The committee met on Tuesday to talk about the new bridge, which will be longer and wider than the old one. "
    "Anna Berger, an engineer from Lisbon, explained how the river had changed over the last forty years, and why the "
    "pillars could not stay where they were. Nobody asked about the price; it had been in every newspaper. "
)
QUESTION = "Who explained how the river had changed?"
LABELS = ["politics", "engineering", "sports"]
IMAGE_SIZE = (640, 480)
GENERATING = ("text-generation", "text2text-generation", "summarization", "translation", "image-to-text")
IMAGES = ("image-classification", "object-detection", "image-to-text")


def text_of(tokenizer: Any, tokens: int) -> str:
    """A text of about `tokens` tokens for a tokenizer (callable, with `decode`), HF's or ours."""
    ids = tokenizer(PARAGRAPH * (tokens // 40 + 1), add_special_tokens=False)["input_ids"][:tokens]
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def drawing() -> Image.Image:
    """A picture with edges and gradients."""
    image = Image.linear_gradient("L").resize(IMAGE_SIZE).convert("RGB")
    draw = ImageDraw.Draw(image)
    for step in range(8):
        draw.ellipse((40 * step, 30 * step, 200 + 50 * step, 160 + 40 * step), fill=(30 * step, 255 - 30 * step, 90))
    return image


def ask(task: str, tokenizer: Any, tokens: int) -> tuple[Any, dict[str, Any]]:
    """(input, options) of the task's pipeline. Raises `InputError` for a task without a benchmark."""
    if task in IMAGES:
        return drawing(), {}
    text = text_of(tokenizer, tokens)
    questions: dict[str, tuple[Any, dict[str, Any]]] = {
        "question-answering": ({"question": QUESTION, "context": text}, {}),
        "zero-shot-classification": (text, {"candidate_labels": LABELS}),
        "fill-mask": (f"{getattr(tokenizer, 'mask_token', None)} {text}", {}),
        "text-classification": (text, {"truncation": True}),
        "feature-extraction": (text, {"truncation": True}),
        "token-classification": (text, {}),
        "sentence-similarity": (text, {}),
        "text-generation": (text, {}),
        "text2text-generation": (text, {}),
        "summarization": (text, {}),
        "translation": (text, {}),
    }
    if task not in questions:
        raise InputError(f"there is no benchmark for {task}")
    return questions[task]
