"""Triton's share: batches and throughput against plain ONNX Runtime, CPU per request, streams.

`python -m benchmarks.triton` writes its section of RESULTS.md.

A real tritonserver on the loopback interface, with the models of one repository: BERT base, GPT-2 124M (random weights)
and a tiny classifier. Measurements of two sides take turns, so that both see the same load from elsewhere.
"""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from benchmarks import models
from benchmarks.results import write_section
from benchmarks.triton_load import text
from runtime import pipeline
from runtime.client.address import parse_address
from runtime.client.connection import Connection, Transport
from runtime.client.open import connect
from runtime.triton.server import TritonServer

CLIENTS = 16
IDLE = 5.0  # seconds
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


def batching(server: TritonServer, bundle: Path, rounds: int, requests: int) -> list[list[str]]:
    """Mean executed batch at 16 clients, and texts per second against batches of 8 in plain ONNX Runtime."""
    transport, pipe, texts = (
        open_transport(server, "grpc", ENCODER),
        pipeline(None, bundle, verify=False),
        mixed_texts(requests),
    )
    served, plain, sizes, work = [], [], [], []
    for _ in range(rounds):
        before, begun, spent = counts(server, ENCODER), time.perf_counter(), group_cpu(server.pid)
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda one: transport.infer(text(one), ["json"]), texts))
        served.append(requests / (time.perf_counter() - begun))
        spent = group_cpu(server.pid) - spent
        inferences, executions = (b - a for a, b in zip(before, counts(server, ENCODER), strict=True))
        sizes.append(inferences / executions)
        own = time.process_time()
        plain.append(requests / bound(pipe, texts))
        work.append((spent / requests * 1000, (time.process_time() - own) / requests * 1000))
    transport.close()
    ratios = [ours / theirs for ours, theirs in zip(served, plain, strict=True)]
    return [
        [f"BERT base, mean batch that is run, {CLIENTS} clients", f"{statistics.median(sizes):.1f}"],
        ["BERT base, texts a second under Triton", f"{statistics.median(served):.1f}"],
        [
            "BERT base, texts a second, plain ONNX Runtime, batches of 8 of similar length",
            f"{statistics.median(plain):.1f}",
        ],
        ["their ratio (min–max)", f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"],
        ["CPU ms a text: Triton's processes", f"{statistics.median(ours for ours, _ in work):.1f}"],
        ["CPU ms a text: plain ONNX Runtime", f"{statistics.median(theirs for _, theirs in work):.1f}"],
        ["work done per CPU second against the bound", f"{statistics.median(b / a for a, b in work):.2f}"],
    ]


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


def overhead(server: TritonServer, bundle: Path, requests: int) -> list[list[str]]:
    """CPU µs that a lone request costs the server beyond what the pipeline itself costs, on a tiny model."""
    pipe = pipeline(None, bundle, verify=False)
    pipe("A very good day.", top_k=2)
    begun = time.process_time()
    for _ in range(requests):
        pipe("A very good day.", top_k=2)
    inside = (time.process_time() - begun) / requests * 1e6
    rows = [["tiny classifier in this process, CPU µs a call", f"{inside:.0f}"]]
    for protocol in ("grpc", "http"):
        transport = open_transport(server, protocol, TINY)
        transport.infer(text("A very good day."), ["json"])
        # What the server's processes spend while nobody asks is not the requests'.
        idle = group_cpu(server.pid)
        time.sleep(IDLE)
        idle = (group_cpu(server.pid) - idle) / IDLE
        begun, clock = group_cpu(server.pid), time.perf_counter()
        for _ in range(requests):
            transport.infer(text("A very good day."), ["json"])
        total = group_cpu(server.pid) - begun - idle * (time.perf_counter() - clock)
        spent = total / requests * 1e6
        transport.close()
        rows.append(
            [f"the same under Triton by {protocol}, beyond that, CPU µs of the server", f"{spent - inside:.0f}"]
        )
    return rows


def streams(server: TritonServer, count: int, tokens: int) -> str:
    """Tokens per second of `count` streams.

    Times between tokens are not given: the checkpoint's weights are random and most of its ids stand for no text, so
    a stream has fewer pieces than tokens.
    """
    pipe: Any = pipeline("text-generation", f"triton://{server.address('grpc')}/{DECODER}", request_timeout=600)

    def read(index: int) -> None:
        stream = pipe.submit("word " * (16 + index), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
        list(stream)
        assert stream.num_output_tokens == tokens

    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(read, range(count)))
    return f"{count * tokens / (time.perf_counter() - begun):.1f}"


def repository(folder: Path, bundles: dict[str, Path]) -> None:
    """The models under the names of this module, GPT-2 with 32 slots."""
    for name, bundle in bundles.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "1").symlink_to((bundle / "1").resolve())
        extra = 'parameters { key: "slots" value { string_value: "32" } }\n' if name == DECODER else ""
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
        rows = batching(server, found[ENCODER], rounds, requests) + overhead(server, found[TINY], 400)
        streams(server, 1, 8)
        lines = [[f"{count} streams of 48 tokens", streams(server, count, 48)] for count in (1, 8, 32)]
    table = ["| | |", "|---|---|", *(f"| {' | '.join(row)} |" for row in rows), ""]
    head = "| GPT-2 124M fp32, 32 slots, gRPC | tokens a second |"
    return [*table, head, "|---|---|", *(f"| {' | '.join(line)} |" for line in lines)]


def export_all() -> dict[str, Path]:
    """The bundles, exported anew."""
    from exporter import export
    from tests.conftest import CHECKPOINTS

    tiny = export(
        CHECKPOINTS / "tiny-bert-sentiment", output=models.CACHE / "bundles", name="tiny", validate=False, force=True
    )
    return {ENCODER: Path(models.bundle(ENCODER)), DECODER: Path(models.bundle(DECODER)), TINY: Path(tiny)}


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
    write_section("triton", lines)


if __name__ == "__main__":
    main()
