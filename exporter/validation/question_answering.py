"""Validation of question answering: start and end logits, and the answers.

transformers 5 has no such pipeline: the answers' reference is `best_answer`, which scores every span in torch. It
covers the pipeline's defaults for texts of one window; tests hold the pipeline to answers recorded with 4.57.
"""

from __future__ import annotations

from typing import Any

from exporter.loading import Checkpoint
from exporter.precision import Precision
from exporter.quiet import quiet
from exporter.validation.answers import compare_answers
from exporter.validation.checks import Check, compare_logits
from exporter.validation.encoders import Reference, compare_outputs, outputs_of
from runtime.pipelines.question_answering import QuestionAnsweringPipeline

EXAMPLES = (
    ("Where does Anna Berger live?", "Anna Berger now lives in Lisbon. She works for the city council."),
    ("Who wrote it?", "It was written in 1962 by Olga Novak, a librarian from Oslo, and nobody read it."),
    ("What?", "ok"),
    ("Which animal does Hugo have?", "Hugo plays the cello every evening, and has a goat; his brother keeps bees 👍."),
    ("Wann war das?", "Das war im März 1999 in Zürich, kurz nach dem Regen."),
)
LONGEST_ANSWER = 15  # tokens
CANDIDATES = 12  # spans that the pipeline looks at for one answer


def record(checkpoint: Checkpoint) -> Reference:
    """Ask the source model, which should be in float32."""
    with quiet():
        outputs = [outputs_of(checkpoint, *ordered(checkpoint, example), truncation=False) for example in EXAMPLES]
        answers = [best_answer(checkpoint, *example) for example in EXAMPLES]
    return Reference(outputs, [(example, {}, answer) for example, answer in zip(EXAMPLES, answers, strict=True)])


def ordered(checkpoint: Checkpoint, example: tuple[str, str]) -> tuple[str, str]:
    """Question first, except for tokenizers that pad on the left."""
    return example if checkpoint.tokenizer.padding_side == "right" else (example[1], example[0])


def best_answer(checkpoint: Checkpoint, question: str, context: str) -> dict[str, Any]:
    """The most probable words of the context, spans with the same text taken together."""
    import torch

    texts = ordered(checkpoint, (question, context))
    text_index = texts.index(context)
    encoded = checkpoint.tokenizer(*texts, return_tensors="pt")
    names = [name for name in checkpoint.tokenizer.model_input_names if name in encoded]
    with torch.no_grad():
        output = checkpoint.model(**{name: encoded[name].to(checkpoint.model.device) for name in names})
    inside = torch.tensor([sequence == text_index for sequence in encoded.sequence_ids(0)])
    candidate = inside | (encoded["input_ids"][0] == checkpoint.tokenizer.cls_token_id)
    start, end = (
        torch.softmax(logits[0].float().cpu().masked_fill(~candidate, -10000.0), -1)
        for logits in (output["start_logits"], output["end_logits"])
    )
    start[0] = end[0] = 0.0
    scores = (start[:, None] * end[None]).triu().tril(LONGEST_ANSWER - 1)
    answers: dict[str, dict[str, Any]] = {}
    for index in scores.flatten().topk(min(CANDIDATES, scores.numel())).indices.tolist():
        first, last = divmod(index, len(start))
        if inside[first] and inside[last]:
            span = words(encoded, first, last, text_index)
            text = context[span[0] : span[1]]
            found = answers.setdefault(text.lower(), {"score": 0.0, "start": span[0], "end": span[1], "answer": text})
            found["score"] += float(scores[first, last])
    return max(answers.values(), key=lambda answer: float(answer["score"]))


def words(encoded: Any, first: int, last: int, text_index: int) -> tuple[int, int]:
    """Characters of a span, widened to whole words."""
    spans = [encoded.token_to_word(0, token) for token in (first, last)]
    if None in spans:
        return encoded.token_to_chars(0, first).start, encoded.token_to_chars(0, last).end
    begin, end = (encoded.word_to_chars(0, word, text_index) for word in spans)
    return begin.start, end.end


def compare(reference: Reference, pipe: QuestionAnsweringPipeline, precision: Precision) -> list[Check]:
    """Ask the bundle the same, through the runtime."""
    asked = [{"question": question, "context": context} for question, context in EXAMPLES]
    prepared = [next(pipe.preprocess(example)) for example in asked]
    pairs = [
        (example["question"], answer, pipe(example))
        for example, (_, _, answer) in zip(asked, reference.answers, strict=True)
    ]
    return [
        *compare_outputs(reference, pipe, prepared, precision, compare_logits),
        compare_answers("question-answering pipeline", pairs, precision),
    ]
