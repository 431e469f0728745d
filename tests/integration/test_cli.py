"""The command line: instant help, answers that stream, output that pipes; and a runtime that needs no torch."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime import pipeline
from runtime.cli import COMMANDS
from runtime.pipelines.registry import TASKS
from tests.integration.command import ONWARD, Onward, process

HEAVY = {"torch", "transformers", "optimum", "onnx", "onnxruntime", "numpy", "tokenizers", "rich", "tritonclient"}

# ---- help


def test_help_is_instant() -> None:
    """The best of five, since the machine may be busy; the target is 0.3 s."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        done = process(ONWARD, "--help")
        seconds.append(time.perf_counter() - started)
        assert done.code == 0
    assert min(seconds) < 0.5
    for name, (_, line) in COMMANDS.items():
        assert name in done.out
        assert line in done.out


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["export", "--help"], ["run", "--help"], ["nonsense"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = f"""
import sys
from runtime.cli import main
sys.argv = ["onward", *{arguments!r}]
try:
    main()
except SystemExit:
    print("\\nimported:", *sorted({{name.partition(".")[0] for name in sys.modules}} & {HEAVY!r}))
"""
    done = process([sys.executable, "-c", script])
    assert done.out.splitlines()[-1] == "imported:"


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command(onward: Onward, name: str, flag: str) -> None:
    done = onward(name, flag)
    assert done.code == 0
    assert done.err == ""
    assert done.out.startswith(f"Usage: onward {name}")


def test_help_names_every_option_of_the_export(onward: Onward) -> None:
    shown = onward("export", "--help").out
    names = "task fp32 fp16 device output name version force opset revision token trust-remote-code max-length json"
    precisions = "bf16 int8 int4 precision block-size int4-method int4-symmetric int4-asymmetric calibration-data"
    methods = "int4-embeddings int8-method"
    for name in [*names.split(" "), *precisions.split(" "), *methods.split(" "), "no-validate"]:
        assert f"--{name}" in shown


def test_no_command_shows_the_help(onward: Onward) -> None:
    done = onward()
    assert done.code == 2
    assert "Commands:" in done.err + done.out


def test_version(onward: Onward) -> None:
    import importlib.metadata

    assert onward("--version").out == f"onward, version {importlib.metadata.version('onward')}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["exprt"], "No such command 'exprt'. Did you mean export?"),
        (["zzz"], "No such command 'zzz'"),
        (["export"], "Missing argument 'SOURCE'"),
        (["export", "x", "--opset", "17"], "18<=x<=23"),
        (["export", "x", "--version", "0"], "x>=1"),
        (["run", "--frequency", "1", "x"], "No such option"),
    ],
)
def test_wrong_usage(onward: Onward, arguments: list[str], words: str) -> None:
    done = onward(*arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "Traceback" not in done.err


# ---- tasks and doctor


def test_tasks(onward: Onward) -> None:
    shown = onward("tasks")
    assert shown.code == 0
    listed = json.loads(onward("tasks", "--json").out)
    assert [row["task"] for row in listed] == list(TASKS)
    for row in listed:
        assert row["task"] in shown.out
        assert all(alias in shown.out for alias in row["aliases"])
        assert row["inputs"]
        assert row["outputs"]
        assert row["architectures"]


def test_tasks_lists_the_architectures_of_one(onward: Onward) -> None:
    shown = onward("tasks", "ner")
    assert shown.code == 0 and all(word in shown.out for word in ("token-classification", "bert", "modernbert"))
    assert [row["task"] for row in json.loads(onward("tasks", "translation", "--json").out)] == ["translation"]
    unknown = onward("tasks", "poetry")
    assert unknown.code == 1 and "unknown task 'poetry'" in unknown.err


def test_doctor(onward: Onward, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setenv("COLUMNS", "400")
    done = onward("doctor")
    assert (done.code, done.err) == (0, "")
    lines = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in done.out.splitlines() if "│" in line}
    assert lines["runtime: onnxruntime"] == onnxruntime.__version__
    assert lines["provider cpu"] == "available"
    assert f"{len(os.sched_getaffinity(0))} of" in lines["cores"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert "pip install 'onward[gpu]'" in lines["provider cuda"]
    assert "tritonserver" in lines


# ---- run


def test_run_answers_as_the_pipeline(onward: Onward, causal_lm_bundle: Path, classifier_bundle: Path) -> None:
    generator, classifier = pipeline(None, causal_lm_bundle), pipeline(None, classifier_bundle)
    expected = generator("import os", max_new_tokens=12, do_sample=False)
    asked = ("run", causal_lm_bundle, "import os", "--max-new-tokens", 12, "--greedy")
    assert onward(*asked).out == expected[0]["generated_text"] + "\n"
    assert json.loads(onward(*asked, "--json").out) == expected

    text = "A wonderful film."
    ranking = classifier(text, top_k=2)
    assert json.loads(onward("run", classifier_bundle, text, "--top-k", 2, "--json").out) == ranking
    shown = onward("run", classifier_bundle, text, "--top-k", 2).out
    assert shown == "".join(f"{item['score']:.4f}  {item['label']}\n" for item in ranking)


def test_run_samples_with_a_seed(onward: Onward, causal_lm_bundle: Path) -> None:
    def sampled(seed: int) -> str:
        return onward("run", causal_lm_bundle, "import os", "--max-new-tokens", 24, "--seed", seed).out

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(4)}) > 1


def test_run_several_sequences(onward: Onward, causal_lm_bundle: Path) -> None:
    """What cannot stream comes at once."""
    options = ["-o", "num_beams=2", "-o", "num_return_sequences=2", "-o", "do_sample=false", "--max-new-tokens", "6"]
    pipe = pipeline(None, causal_lm_bundle)
    expected = pipe("import os", num_beams=2, num_return_sequences=2, do_sample=False, max_new_tokens=6)
    done = onward("run", causal_lm_bundle, "import os", *options)
    assert done.out == "".join(item["generated_text"] + "\n" for item in expected)


@pytest.mark.parametrize("text", ["good", "good\n", "two\nlines, both good\n", "schön 👍"])
def test_run_reads_standard_input(
    onward: Onward, classifier_bundle: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    done = onward("run", classifier_bundle, "--json")
    assert json.loads(done.out) == pipeline(None, classifier_bundle)(text.removesuffix("\n"))


@pytest.mark.parametrize("stdin", [None, "terminal"])
def test_run_without_any_text(
    onward: Onward, classifier_bundle: Path, monkeypatch: pytest.MonkeyPatch, stdin: str | None
) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal if stdin else None)
    done = onward("run", classifier_bundle)
    assert (done.code, done.err) == (1, "error: nothing to answer: give a text, or pipe one in\n")


# `onward` with an engine that takes at least 20 ms a token, as a larger model would.
SLOWLY = """
import time
from runtime.cli import main
from runtime.generation.engine import Engine
step = Engine.step
Engine.step = lambda engine: (time.sleep(0.02), step(engine))[1]
main()
"""
SLOW_ONWARD = [sys.executable, "-c", SLOWLY]


def test_run_streams(causal_lm_bundle: Path) -> None:
    """The prompt and some text are there while the process is still at it."""
    line = [*SLOW_ONWARD, "run", str(causal_lm_bundle), "import os", "--max-new-tokens", "100", "--greedy"]
    pieces = []
    with subprocess.Popen(
        [*line, "-o", "min_new_tokens=100"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        while piece := os.read(running.stdout.fileno(), 65536):
            pieces.append((piece, running.poll()))
        _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, b"")
    assert pieces[0] == (b"import os", None)  # None: the process is running
    assert len(pieces) > 10  # and it went on piece by piece
    assert all(code is None for _, code in pieces[:-10])
    whole = b"".join(piece for piece, _ in pieces).decode()
    pipe = pipeline(None, causal_lm_bundle)
    expected = pipe("import os", max_new_tokens=100, min_new_tokens=100, do_sample=False)
    assert whole == expected[0]["generated_text"] + "\n"


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_broken_pipe_is_silent(causal_lm_bundle: Path, more: list[str]) -> None:
    arguments = ["run", str(causal_lm_bundle), "import os", "--max-new-tokens", "60", *more]
    reading, writing = os.pipe()
    with subprocess.Popen([*ONWARD, *arguments], stdout=writing, stderr=subprocess.PIPE) as running:
        os.close(writing)
        if not more:
            assert os.read(reading, 5)
        os.close(reading)  # as `head -c 5` does
        _, err = running.communicate(timeout=120)
    assert err == b""
    assert running.returncode in (0, 1)


def test_interrupted_run_ends_at_once(causal_lm_bundle: Path) -> None:
    line = [*SLOW_ONWARD, "run", str(causal_lm_bundle), "import os", "-o", "min_new_tokens=240"]
    with subprocess.Popen(
        [*line, "--max-new-tokens", "240"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stdout.read(9) == b"import os"
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert err.split() == [b"interrupted"]


# ---- without torch

ALONE = """
import sys

BLOCKED = {"torch", "transformers", "optimum", "onnx", "onnxscript", "onnx_ir", "peft", "accelerate", "safetensors"}
BLOCKED |= {"exporter"}


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)


sys.meta_path.insert(0, Blocker())
import json
from runtime import pipeline

generator = pipeline("text-generation", sys.argv[1])
classifier = pipeline("sentiment-analysis", sys.argv[2])
greedy = {"do_sample": False, "max_new_tokens": 10}
answers = {
    "greedy": generator(["import os", "The", "def f(x):"], batch_size=3, **greedy),
    "beams": generator("import os", num_beams=3, **greedy),
    "sampled": generator("import os", seed=3, max_new_tokens=10, repetition_penalty=1.2, stop_strings=["zzz"]),
    "streamed": "".join(generator.submit("import os", **greedy)),
    "ranked": classifier(["A wonderful film.", "What a waste of time, really."], top_k=None, batch_size=2),
    "pair": classifier({"text": "Good", "text_pair": "Bad"}, truncation=True),
}
generator.close()
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}, sorted(sys.modules)
print(json.dumps(answers))
"""


def test_runtime_without_torch(causal_lm_bundle: Path, classifier_bundle: Path, tmp_path: Path) -> None:
    """Every import of torch, transformers and their kin fails, and both pipelines answer as they do beside them."""
    done = process([sys.executable, "-c", ALONE, str(causal_lm_bundle), str(classifier_bundle)])
    assert done.code == 0, done.err
    found = json.loads(done.out)
    generator, classifier = pipeline(None, causal_lm_bundle), pipeline(None, classifier_bundle)
    greedy = {"do_sample": False, "max_new_tokens": 10}
    assert found["greedy"] == generator(["import os", "The", "def f(x):"], batch_size=3, **greedy)
    assert found["beams"] == generator("import os", num_beams=3, **greedy)
    assert found["streamed"] == generator("import os", return_full_text=False, **greedy)[0]["generated_text"]
    assert found["pair"] == pytest.approx(classifier({"text": "Good", "text_pair": "Bad"}, truncation=True))
    assert [ranking[0]["label"] for ranking in found["ranked"]] == ["POSITIVE", "NEGATIVE"]


def test_command_without_torch(causal_lm_bundle: Path) -> None:
    """The commands of the runtime work; those of the exporter say what to install."""
    script = ALONE.partition("import json")[0] + "from runtime.cli import main\nmain()\n"
    alone = [sys.executable, "-c", script]
    done = process(alone, "run", causal_lm_bundle, "import os", "--greedy", "--max-new-tokens", 4)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("import os")
    for arguments in (["export", "gpt2"], ["validate", causal_lm_bundle]):
        refused = process(alone, *arguments)
        assert refused.code == 1
        assert len(refused.err.splitlines()) == 1
        assert refused.err.startswith("error: ")
        assert "pip install 'onward[export]'" in refused.err
