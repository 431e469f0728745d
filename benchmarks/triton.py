"""Triton's share: throughput, waiting times and CPU of served models against the same work in this process.

`python -m benchmarks.triton` writes its section of RESULTS.md.

A real tritonserver on the loopback interface, with the models of one repository: BERT base, GPT-2 124M (random weights)
and a tiny classifier. Measurements of two sides take turns, so that both see the same load from elsewhere.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from benchmarks import models
from benchmarks.results import write_section
from benchmarks.triton_load import text
from benchmarks.triton_streams import Streams, percentiles, stream, with_words
from runtime import pipeline
from runtime.client.address import parse_address
from runtime.client.connection import Connection, Transport
from runtime.client.open import connect
from runtime.triton.server import TritonServer

CLIENTS = 16
SLOTS = 32
STREAMS = {1: 4, 8: 2, 32: 1}  # streams at the same time: how often
WARM_UP = 50
LONE = "A very good day."
HEAD = (
    "| | a second, served | in process | ratio | answer or first token, ms p50 / p95 | "
    "between tokens, ms p50 / p95 | CPU µs of each beyond in process |"
)
ENCODER, DECODER, TINY = "bert_base", "gpt2_124m", "sentiment"
WORDS = "the film was long and the jokes were old but its heart is warm and nobody left before the end"


def mixed_texts(count: int) -> list[str]:
    """Texts of 4 to 40 words, the same in every run."""
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS.split(), random.integers(4, 41))) for _ in range(count)]


def open_transport(server: TritonServer, protocol: str, model: str) -> Transport:
    """Straight to a model."""
    scheme = {"grpc": "triton", "http": "triton+http"}[protocol]
    return connect(parse_address(f"{scheme}://{server.address(protocol)}/{model}"), Connection(request_timeout=600))


def counts(server: TritonServer, model: str) -> tuple[int, int]:
    """(inferences, executions) so far."""
    import tritonclient.grpc

    with tritonclient.grpc.InferenceServerClient(server.address("grpc")) as client:
        found = client.get_inference_statistics(model).model_stats[0]
    return found.inference_count, found.execution_count


@dataclass
class Row:
    """A line of the table; "–" where it says nothing. rate: a second, served and in process; beyond: CPU µs of each."""

    title: str
    served: float
    inside: float
    first: str = "–"
    between: str = "–"
    beyond: float = 0.0

    def cells(self) -> list[str]:
        """For Markdown."""
        share = f"{self.served / self.inside:.2f}"
        return [
            self.title,
            f"{self.served:.1f}",
            f"{self.inside:.1f}",
            share,
            self.first,
            self.between,
            f"{self.beyond:.0f}",
        ]


def batching(server: TritonServer, bundle: Path, rounds: int, requests: int) -> tuple[list[Row], list[str]]:
    """Texts per second of 16 clients against batches of 8 in plain ONNX Runtime, and what there is to say about it."""
    transport, pipe = open_transport(server, "grpc", ENCODER), pipeline(None, bundle, verify=False)
    texts = mixed_texts(requests)
    served, plain, sizes, cpu, waits = [], [], [], [], list[float]()

    def ask(one: str) -> None:
        begun = time.perf_counter()
        transport.infer(text(one), ["json"])
        waits.append(time.perf_counter() - begun)

    for _ in range(rounds):
        before, begun, spent = counts(server, ENCODER), time.perf_counter(), group_cpu(server.pid)
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(ask, texts))
        served.append(requests / (time.perf_counter() - begun))
        spent = group_cpu(server.pid) - spent
        inferences, executions = (b - a for a, b in zip(before, counts(server, ENCODER), strict=True))
        sizes.append(inferences / executions)
        own = time.process_time()
        plain.append(requests / bound(pipe, texts))
        cpu.append((spent - (time.process_time() - own)) / requests * 1e6)
    transport.close()
    ratios = [ours / theirs for ours, theirs in zip(served, plain, strict=True)]
    row = Row(
        f"BERT base, {CLIENTS} clients, gRPC",
        statistics.median(served),
        statistics.median(plain),
        percentiles(waits),
        beyond=statistics.median(cpu),
    )
    said = (
        f"BERT base: texts of 4 to 40 words; in process is plain ONNX Runtime with batches of 8 of similar length, "
        f"tokenised before. Ratio of each round {min(ratios):.2f} to {max(ratios):.2f}, median "
        f"{statistics.median(ratios):.2f}; Triton ran batches of {statistics.median(sizes):.1f}."
    )
    return [row], [said]


def bound(pipe: Any, texts: list[str]) -> float:
    """Seconds that ONNX Runtime alone takes for the texts, tokenised and padded before the clock starts."""
    items = sorted((pipe.preprocess(one) for one in texts), key=lambda item: item["input_ids"].shape[1])
    groups = [items[start : start + 8] for start in range(0, len(items), 8)]
    batches = [pipe.tokenizer.pad([{n: v[0].tolist() for n, v in item.items()} for item in group]) for group in groups]
    names = [spec.name for spec in pipe.graph.inputs]
    begun = time.perf_counter()
    for batch in batches:
        pipe.session.run(["logits"], {name: batch[name] for name in names})
    return time.perf_counter() - begun


def group_cpu(group: int) -> float:
    """CPU seconds of a process group."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def overhead(server: TritonServer, bundle: Path, requests: int) -> tuple[list[Row], list[str]]:
    """CPU µs that a lone request costs the server beyond what the pipeline itself costs, on a tiny model.

    The pipeline is asked at the server's pace: behind a pause the same call costs more than in a loop, as its code and
    data have left the caches, and that is not Triton's.
    """
    pipe = pipeline(None, bundle, verify=False)
    in_a_row, _ = lone(lambda: pipe(LONE, top_k=2), requests, time.process_time)
    rows, said = [], [f"Tiny classifier: {in_a_row.cpu_each:.0f} µs a call in a loop in process"]
    for protocol in ("grpc", "http"):
        transport = open_transport(server, protocol, TINY)
        served, waits = lone(lambda to=transport: to.infer(text(LONE), ["json"]), requests, lambda: busy_cpu(server))
        pause = served.wall / requests - in_a_row.wall / requests
        paced, inside = lone(lambda: pipe(LONE, top_k=2), requests, time.process_time, pause)
        transport.close()
        beyond = served.cpu_each - paced.cpu_each
        mean = statistics.mean(inside)
        rows.append(Row(f"tiny classifier, lone, {protocol}", served.rate, 1 / mean, percentiles(waits), beyond=beyond))
        said.append(f"{paced.cpu_each:.0f} at the pace of {protocol}, whose server spends {served.cpu_each:.0f}")
    return rows, [", ".join(said) + "."]


def lone(
    call: Callable[[], object], requests: int, cpu: Callable[[], float], pause: float = 0.0
) -> tuple[Streams, list[float]]:
    """One call after the other; what they took together, and each."""
    for _ in range(WARM_UP):
        call()
    waits: list[float] = []
    begun, spent = time.perf_counter(), cpu()
    for _ in range(requests):
        time.sleep(pause)
        start = time.perf_counter()
        call()
        waits.append(time.perf_counter() - start)
    return Streams(time.perf_counter() - begun, cpu() - spent, requests), waits


def busy_cpu(server: TritonServer) -> float:
    """CPU seconds of the server so far; what it spends while nobody asks is a thousandth of the time, and left in."""
    return group_cpu(server.pid)


def streams(server: TritonServer, bundle: Path, tokens: int) -> tuple[list[Row], list[str]]:
    """1, 8 and 32 streams at the same time, here and there."""
    remote: Any = pipeline("text-generation", f"triton://{server.address('grpc')}/{DECODER}", request_timeout=600)
    local: Any = pipeline("text-generation", bundle, verify=False, slots=SLOTS, spinning=False)
    rows = []
    for count, rounds in STREAMS.items():
        for pipe in (remote, local):
            stream(pipe, count, 8, 1, time.process_time)
        served = stream(remote, count, tokens, rounds, lambda: group_cpu(server.pid))
        inside = stream(local, count, tokens, rounds, time.process_time)
        rows.append(
            Row(
                f"GPT-2 124M, {count} stream{'s' if count > 1 else ''}, gRPC",
                served.rate,
                inside.rate,
                percentiles(served.first),
                percentiles(served.between),
                served.cpu_each - inside.cpu_each,
            )
        )
    local.close()
    return rows, [
        f"GPT-2: {SLOTS} slots, fp32, prompts of 20 to 55 words, {tokens} tokens each; in process is `submit`."
    ]


def repository(folder: Path, bundles: dict[str, Path]) -> None:
    """The models under the names of this module, GPT-2 with `SLOTS`."""
    for name, bundle in bundles.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "1").symlink_to((bundle / "1").resolve())
        slots = f'parameters {{ key: "slots" value {{ string_value: "{SLOTS}" }} }}\n'
        extra = slots if name == DECODER else ""
        (folder / name / "config.pbtxt").write_text((bundle / "config.pbtxt").read_text() + extra)


def measure(
    rounds: int, case: str = "", python: str = "", requests: int = 96, bundles: dict[str, Path] | None = None
) -> list[str]:
    """The table. python: of the environment in which models run, that of the tests by default."""
    from tests.triton.server_venv import server_python

    found = bundles or export_all()
    with TemporaryDirectory() as scratch, TritonServer() as server:
        repository(Path(scratch), found)
        server.start(scratch, python=python or server_python())
        server.wait_ready(600)
        parts = [
            batching(server, found[ENCODER], rounds, requests),
            overhead(server, found[TINY], 400),
            streams(server, found[DECODER], 48),
        ]
    lines = [f"| {' | '.join(row.cells())} |" for rows, _ in parts for row in rows]
    return [HEAD, "|---" * 7 + "|", *lines, "", *(line for _, said in parts for line in [*said, ""])]


def export_all() -> dict[str, Path]:
    """The bundles, exported anew."""
    from exporter import export
    from tests.conftest import CHECKPOINTS

    worded = with_words(Path(models.checkpoint(DECODER)), models.CACHE / f"{DECODER}-words")
    sources = {DECODER: worded, TINY: CHECKPOINTS / "tiny-bert-sentiment"}
    for name, source in sources.items():
        export(source, output=models.CACHE / "bundles", name=f"triton-{name}", validate=False, force=True)
    own = {name: models.CACHE / "bundles" / f"triton-{name}" for name in sources}
    return {ENCODER: Path(models.bundle(ENCODER)), **own}


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--requests", default=96, show_default=True, help="Texts of a round of the batching measurement.")
@click.option("--bundles", type=click.Path(path_type=Path), help="Folder with bert_base, gpt2_124m and sentiment.")
@click.option("--python", default="", help="Interpreter of the environment in which models run.")
def main(rounds: int, requests: int, bundles: Path | None, python: str) -> None:
    """Measure, and write the section of RESULTS.md."""
    given = None if bundles is None else {name: bundles / name for name in (ENCODER, DECODER, TINY)}
    lines = measure(rounds, python=python, requests=requests, bundles=given)
    click.echo("\n".join(lines))
    write_section("triton", ["### Served, against the same work in process", "", *lines])


if __name__ == "__main__":
    main()
