"""What an engine has done and holds: counters that only grow, gauges of this moment, and the bounds of its memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Statistics:
    """A snapshot of an engine; the names are fit for metrics. Gauges: slots, active, waiting. All others only grow.

    slots: sequences that can be under way at the same time. active: those that are. waiting: those in the queue.
    requests: sequences submitted. finished: sequences that ended, by reason ("stop", "stop_string", "length", "time",
    "cancelled", "error"). prompt_tokens: tokens of the prompts that got a slot; of them, reused_tokens were found in a
    slot and not computed again, for prefix_hits sequences. generated_tokens: tokens chosen. decode_steps: runs of the
    model that advanced sequences; prefill_runs: those that read prompts. drafted_tokens: tokens that prompt lookup
    proposed, accepted_tokens: those that the model agreed with. Of beam search the sequences and tokens that it returns
    are counted once it ends, and its slots are active meanwhile; its runs of the model are not.
    """

    slots: int
    active: int
    waiting: int
    requests: int
    finished: dict[str, int]
    prompt_tokens: int
    reused_tokens: int
    prefix_hits: int
    generated_tokens: int
    decode_steps: int
    prefill_runs: int
    drafted_tokens: int
    accepted_tokens: int


@dataclass(frozen=True)
class Memory:
    """Bytes for keys and values (or other states): what is taken now, and the most that it can grow to.

    `limit` is slots × max_length × bytes per token for slot memory; None where the states' sizes follow from the model
    alone, or where sources of any length are kept (encoder–decoders), as then there is no bound to state.
    """

    slots: int
    max_length: int
    allocated: int
    limit: int | None


@dataclass
class Counters:
    """The growing numbers of `Statistics`, written by the engine alone."""

    requests: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    reused_tokens: int = 0
    prefix_hits: int = 0
    generated_tokens: int = 0
    decode_steps: int = 0
    prefill_runs: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0

    def snapshot(self, slots: int, active: int, waiting: int) -> Statistics:
        """These numbers with the gauges of now."""
        return Statistics(slots, active, waiting, **{**vars(self), "finished": dict(self.finished)})
