"""The next token of every row of a step: rows whose parameters are the same are processed together."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Items

from runtime.generation.candidates import Candidates, Step, all_logits
from runtime.generation.logits import ROUNDING, Scores, Tokens, greatest
from runtime.generation.logprobs import TokenLogprobs
from runtime.generation.processors import Rows
from runtime.generation.sequence import Sequence, ending, fail

# A pass over more scores than this leaves the processor's cache, and memory for its results comes from the system anew:
# measured with 50,257 scores, 8 rows at once take several times as long as one after the other.
CACHED_SCORES = 1 << 16
ALONE = ([0],)  # the groups of one sequence


def advance(sequences: Items[Sequence], step: Step) -> None:
    """Give each sequence its next token, chosen from its row of a step: logits `[rows, vocab]`, or the best of them.

    A choice that fails ends its own sequence with the error.
    """
    for members in ALONE if len(sequences) == 1 else groups(sequences):
        sampler = sequences[members[0]].sampler
        if sampler.is_greedy and isinstance(step, Candidates):
            _take_best(sequences, members, step)
        elif sampler.is_plain_greedy and not isinstance(step, Candidates):
            _take_greatest(sequences, members, step)
        elif sampler.head is not None:
            _draw_from_head(sequences, members, step, sampler.head)
        else:
            scores = all_logits(step)
            chosen = scores if len(members) == len(sequences) else scores[members]
            _advance_alike([sequences[row] for row in members], chosen)


def _take_greatest(sequences: Items[Sequence], members: list[int], step: Scores) -> None:
    """Greedy choice."""
    for row in members:
        try:
            sequences[row].push(int(step[row].argmax()))
        except Exception as error:
            fail([sequences[row]], error)


def _take_best(sequences: Items[Sequence], members: list[int], step: Candidates) -> None:
    """Greedy choice from candidates, which come with what log-probabilities need."""
    for row in members:
        with ending([sequences[row]]):
            sequences[row].push(int(step.ids[row, 0]), _logprobs(step, row, sequences[row].sampler.logprobs))


def _logprobs(step: Candidates, row: int, count: int | None) -> TokenLogprobs | None:
    if count is None:
        return None
    logarithms = (step.scores[row] - step.total[row]).tolist()
    best = list(zip(step.ids[row].tolist(), logarithms, strict=True))
    return TokenLogprobs(best[0][0], best[0][1], best[:count])


def _draw_from_head(sequences: Items[Sequence], members: list[int], step: Step, count: int) -> None:
    """Sampling after a top-k: what can be drawn is found first, everything else is done to these few."""
    for row in members:
        with ending([sequences[row]]):
            sequences[row].push(sequences[row].sampler.draw(*_head(step, row, count)))


def _head(step: Step, row: int, count: int) -> tuple[Tokens, Scores]:
    """The `count` greatest scores of a row and those about equal to the last: their tokens in order, and themselves."""
    if isinstance(step, Candidates):
        if step.decide(row, count):
            return step.head(row, count)
        step = step.logits()
    ids = greatest(step[row], count, ROUNDING)
    return ids, step[row][ids]


def groups(sequences: Items[Sequence]) -> Iterable[list[int]]:
    """Places of the sequences that have the same settings, whatever their seeds."""
    found: dict[bytes | None, list[int]] = {}
    for row, sequence in enumerate(sequences):
        key = None if sequence.sampler.is_plain_greedy else sequence.sampler.settings
        found.setdefault(key, []).append(row)
    return found.values()


def _advance_alike(sequences: list[Sequence], logits: Scores) -> None:
    """Rows with the same settings, as many at a time as the processor's cache holds the scores of."""
    count = max(1, CACHED_SCORES // logits.shape[1])
    for begin in range(0, len(sequences), count):
        _advance_block(sequences[begin : begin + count], logits[begin : begin + count])


def _advance_block(sequences: list[Sequence], logits: Scores) -> None:
    scores = logits
    with ending(sequences):
        scores = sequences[0].sampler.process(rows_of(sequences), logits)
    for row, sequence in enumerate(sequences):
        if sequence.finish_reason is None:
            with ending([sequence]):
                sequence.push(*sequence.sampler.pick(scores[row]))


def rows_of(sequences: list[Sequence]) -> Rows:
    """What processors read of the sequences. Images have no ids: the decoder's prompt takes their place."""
    read = [sequence.source_ids for sequence in sequences]
    sources = None if any(ids is None for ids in read) else read
    return Rows([s.history for s in sequences], [s.prompt_length for s in sequences], sources)
