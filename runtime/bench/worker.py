"""One bundle in a process of its own: `python -m runtime.bench.worker JSON` prints its figures as JSON.

A fresh process for each round: nothing is warm that would not be, threads of others are gone, and peak memory means
something.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from runtime.bench.inputs import GENERATING, ask
from runtime.bench.measure import Answer, measure, peak_mb
from runtime.errors import OnwardError

Request = dict[str, Any]


def main(make: Callable[[Request], Answer] | None = None, facts: Callable[[Request], Request] | None = None) -> None:
    """Measure what the JSON on the command line describes; an `OnwardError` is printed as `{"error": ...}`.

    make: opens the subject and returns what answers; a bundle's by default. facts: what else to tell of it.
    """
    request = json.loads(sys.argv[1])
    try:
        found = figures(request, make or open_bundle_answer)
        print(json.dumps({**found, **(facts(request) if facts else {})}))
    except OnwardError as error:
        print(json.dumps({"error": str(error)}))
        sys.exit(1)


def figures(request: dict[str, Any], make: Callable[[dict[str, Any]], Answer]) -> dict[str, Any]:
    """Load, first answer, answers by batch size, peak memory. request: see `Subject.request`."""
    begun = time.perf_counter()
    answer = make(request)
    load = time.perf_counter() - begun
    new_tokens = request["new_tokens"] if request["task"] in GENERATING else 0
    answer(1, new_tokens and 1)
    first = time.time() - request["started"]
    found = measure(answer, request["batch_sizes"], new_tokens, request["seconds"])
    return {"load_s": load, "first_answer_s": first, "batches": found, "peak_mb": peak_mb()}


def open_bundle_answer(request: dict[str, Any]) -> Answer:
    """The bundle's pipeline on copies of one question; generators write exactly as many tokens as they are told."""
    from runtime.pipelines import pipeline

    pipe: Any = pipeline(request["task"], request["path"], provider=request["provider"], threads=request["threads"])
    question, options = ask(request["task"], getattr(pipe, "tokenizer", None), request["tokens"])

    def answer(size: int, count: int) -> Any:
        length = generation_options(request["task"], count) if count else {}
        return pipe([question] * size, batch_size=size, **options, **length)

    return answer


def generation_options(task: str, count: int) -> dict[str, Any]:
    """Greedy, `count` tokens, no fewer."""
    options = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False, "num_beams": 1}
    if task != "image-to-text":
        return options
    return {"max_new_tokens": options.pop("max_new_tokens"), "generate_kwargs": options}


if __name__ == "__main__":
    main()
