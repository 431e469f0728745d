"""Log-probabilities of the chosen tokens and of the most probable alternatives.

They are of the distribution that the token was chosen from: after all processors and warpers, normalised, as
transformers' `compute_transition_scores(normalize_logits=True)` (`generation/utils.py`, 5.23) gives them. For plain
greedy search that is the model's own distribution; a temperature or a top-k changes it, and what they remove has -inf.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.generation.logits import Scores, top_indices


@dataclass(frozen=True)
class TokenLogprobs:
    """Of one generated token: its id, its log-probability (natural), and (id, log-probability) of the best `k`.

    top: most probable first, the lower id first among equals; the chosen token is in it only where it is one of them.
    """

    token: int
    logprob: float
    top: list[tuple[int, float]]


def token_logprobs(logarithms: Scores, token: int, count: int) -> TokenLogprobs:
    """logarithms: the log-softmax of processed scores, `[vocab]` float32. count: alternatives, 0 for none."""
    best = top_indices(logarithms, count).tolist() if count else []
    return TokenLogprobs(token, float(logarithms[token]), [(i, float(logarithms[i])) for i in best])
