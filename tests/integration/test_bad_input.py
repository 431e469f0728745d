"""Bad input: a non-zero exit code, one line that says what is wrong and what to do, and nothing left behind."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from exporter.sealing import replace_manifest, seal
from exporter.shards import WEIGHTS
from exporter.validation.revalidate import revalidate
from runtime import pipeline
from runtime.bundle import open_bundle
from runtime.errors import InputError, ProviderError
from tests.integration.command import EXPORTER, ONWARD, Onward, assert_refused, process, tree

LONG = "good " * 20_000  # 100,000 characters


@contextmanager
def untouched(root: Path) -> Iterator[None]:
    """Nothing below `root` appears, goes or changes."""
    before = tree(root)
    yield
    assert tree(root) == before


# ---- the checkpoint


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("./nowhere", "no such directory"),
        ("nobody/nothing-of-this-name", "not (wholly) in the cache"),
        ("a b/c", "no Hugging Face Hub id"),
        ("", "no such directory"),
    ],
)
def test_no_such_checkpoint(onward: Onward, tmp_path: Path, source: str, words: str) -> None:
    with untouched(tmp_path):
        assert_refused(onward("export", source, "--output", tmp_path / "repo"), words)


def test_no_network(tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
    }
    done = process(ONWARD, "export", "openai-community/gpt2", "--output", tmp_path / "repo", env=environment)
    assert_refused(done, "the Hugging Face Hub cannot be reached", "openai-community/gpt2 is not in the cache")
    assert not (tmp_path / "repo").exists()


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("sentimental-analysis", ["unknown task 'sentimental-analysis'", "did you mean sentiment-analysis?"]),
        ("x", ["unknown task 'x'", "supported: ", "text-generation", "text-classification"]),
        ("audio-classification", ["audio-classification is not supported yet"]),
    ],
)
def test_unknown_task(onward: Onward, checkpoint: Path, tmp_path: Path, task: str, words: list[str]) -> None:
    with untouched(tmp_path):
        assert_refused(onward("export", checkpoint, "--task", task, "--output", tmp_path / "repo"), *words)


def test_task_that_the_architecture_lacks(onward: Onward, tmp_path: Path) -> None:
    from tests.checkpoints.builders import tiny

    source = tiny("mamba", tmp_path / "mamba")
    with untouched(tmp_path):
        done = onward("export", source, "--task", "text-classification", "--output", tmp_path / "repo")
    assert_refused(done, "(mamba) cannot do text-classification", "it can do text-generation")


def test_encoder_that_should_generate(onward: Onward, checkpoint: Path, tmp_path: Path) -> None:
    with untouched(tmp_path):
        done = onward("export", checkpoint, "--task", "text-generation", "--output", tmp_path / "repo")
    assert_refused(done, "it cannot do text-generation")


def test_head_that_was_never_trained(onward: Onward, small_lm: Path, tmp_path: Path) -> None:
    with untouched(tmp_path):
        done = onward("export", small_lm, "--task", "text-classification", "--output", tmp_path / "repo")
    assert_refused(done, "has no weights for score.weight", "fine-tuned")


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def spoil_header(path: Path) -> None:
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def infinite(path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = {name: array.copy() for name, array in load_file(path).items()}
    tensors["classifier.weight"][0, 0] = float("inf")
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shorten, "truncated or corrupt"),
        (spoil_header, "truncated or corrupt"),
        (empty, "truncated or corrupt"),
        (pointer, "git lfs pull"),
        (infinite, "classifier.weight holds NaN or infinite values"),
        (Path.unlink, "has no weights"),
    ],
)
def test_damaged_weights(
    onward: Onward, checkpoint: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(checkpoint / WEIGHTS)
    with untouched(tmp_path):
        assert_refused(onward("export", checkpoint, "--output", tmp_path / "repo"), words)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", None, "has no config.json"),
        ("config.json", b'{"model_type": "be', "not valid JSON"),
        ("config.json", b'{"model_type": "nothing-known"}', "'nothing-known' is not known"),
        ("tokenizer.json", None, "has no tokenizer"),
        ("tokenizer.json", b'{"version"', "its tokenizer"),
    ],
)
def test_damaged_files(
    onward: Onward, checkpoint: Path, tmp_path: Path, file: str, content: bytes | None, words: str
) -> None:
    if content is None:
        (checkpoint / file).unlink()
    else:
        (checkpoint / file).write_bytes(content)
    with untouched(tmp_path):
        assert_refused(onward("export", checkpoint, "--output", tmp_path / "repo"), words)


# ---- the output


def test_existing_output(onward: Onward, checkpoint: Path, classifier: Path, tmp_path: Path) -> None:
    """Refused before anything is loaded."""
    with untouched(tmp_path):
        started = time.perf_counter()
        done = onward("export", checkpoint, "--output", tmp_path, "--name", classifier.name)
        assert time.perf_counter() - started < 5
    assert_refused(done, f"{classifier}/1 exists", "--force", "--version 2")


@pytest.mark.parametrize("name", ["a/b", "..", "-x y"])
def test_impossible_name(onward: Onward, checkpoint: Path, tmp_path: Path, name: str) -> None:
    with untouched(tmp_path):
        assert_refused(onward("export", checkpoint, "--output", tmp_path, f"--name={name}"), "no model name")


def test_output_under_a_file(onward: Onward, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with untouched(tmp_path):
        done = onward("export", checkpoint, "--output", tmp_path / "file" / "repo")
    assert_refused(done, "is a file, no model repository")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full, where every write finds no space")
def test_full_disk(onward: Onward, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from exporter import save

    monkeypatch.setattr(save, "DATA_FILE", "/dev/full")
    with untouched(tmp_path):
        done = onward("export", checkpoint, "--no-validate", "--output", tmp_path / "repo")
    assert_refused(done, "filled up", "free some")


def test_file_that_the_file_system_finds_too_large(
    onward: Onward, checkpoint: Path, classifier: Path, tmp_path: Path
) -> None:
    """A limit of 64 kB on any file, as on a disk that takes no files beyond 4 GB; an old version survives it."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    with untouched(tmp_path):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, old[1]))
        try:
            done = onward(
                "export", checkpoint, "--no-validate", "--output", tmp_path, "--name", classifier.name, "--force"
            )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert_refused(done, os.strerror(errno.EFBIG))


def test_memory_that_runs_out(
    onward: Onward, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exporter import bundle_writer

    def refuse(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(bundle_writer, "optimise", refuse)
    with untouched(tmp_path):
        done = onward("export", checkpoint, "--no-validate", "--output", tmp_path / "repo")
    assert_refused(done, "out of memory")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_while_tracing(checkpoint: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    before = tree(tmp_path)
    line = [*EXPORTER, str(checkpoint), "--no-validate", "--output", str(tmp_path / "repo")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob(".onward-*")):  # the staging directory, made when tracing begins
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(number)
        out, err = running.communicate(timeout=60)
    assert running.returncode == code
    assert b"Traceback" not in err
    assert [line for line in err.decode().splitlines() if line.strip() and not line.startswith("✓")] in (
        [],
        ["interrupted"],
    )
    assert out == b""
    assert tree(tmp_path) == before


# ---- the bundle


def test_altered_file(onward: Onward, classifier: Path) -> None:
    path = classifier / "1" / "model.onnx.data"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert_refused(onward("run", classifier, "fine"), "model.onnx.data changed after the export", "sha256")


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "model.onnx.data"])
def test_missing_file(onward: Onward, classifier: Path, name: str) -> None:
    (classifier / "1" / name).unlink()
    assert_refused(onward("run", classifier, "fine"), f"{name} is missing")


def rewrite(model: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = model / "1" / "bundle.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_newer_schema(onward: Onward, classifier: Path) -> None:
    rewrite(classifier, lambda value: value.update(schema_version=99))
    assert_refused(onward("run", classifier, "fine"), "schema version 99", "upgrade onward")
    assert_refused(onward("validate", classifier), "schema version 99", "upgrade onward")


def test_truncated_manifest(onward: Onward, classifier: Path) -> None:
    path = classifier / "1" / "bundle.json"
    path.write_bytes(path.read_bytes()[:500])
    assert_refused(onward("run", classifier, "fine"), "bundle.json cannot be read")


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value["files"].update({"../../../../../../etc/passwd": "0" * 64}),
        lambda value: value["files"].update({"/etc/passwd": "0" * 64}),
        lambda value: value["graphs"]["model"].update(file="../../../../../../etc/passwd"),
        lambda value: value["tokenizer"]["chat_template"].update(default="../../../../../../etc/passwd"),
    ],
)
def test_file_outside_of_the_bundle(onward: Onward, classifier: Path, change: Callable[[dict[str, Any]], None]) -> None:
    rewrite(classifier, change)
    assert_refused(onward("run", classifier, "fine"), "etc/passwd", "outside of the bundle")


def test_weights_outside_of_the_bundle(onward: Onward, classifier: Path, tmp_path: Path) -> None:
    """Named by the graph, not by the manifest: hashes are right, onnxruntime must refuse."""
    import onnx

    shutil.move(classifier / "1" / "model.onnx.data", tmp_path / "elsewhere")
    graph = onnx.load(classifier / "1" / "model.onnx", load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../../elsewhere"
    onnx.save(graph, classifier / "1" / "model.onnx")
    manifest = open_bundle(classifier, verify=False).manifest
    seal(replace_manifest(manifest, files={}), classifier / "1")
    assert_refused(onward("run", classifier, "fine"), "model.onnx cannot be loaded")


def test_graph_that_is_none(onward: Onward, classifier: Path) -> None:
    (classifier / "1" / "model.onnx").write_bytes(b"not a graph")
    seal(open_bundle(classifier, verify=False).manifest, classifier / "1")
    assert_refused(onward("run", classifier, "fine"), "model.onnx cannot be loaded by onnxruntime")


# ---- CUDA


def test_no_cuda_for_the_export(onward: Onward, checkpoint: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with untouched(tmp_path):
        done = onward("export", checkpoint, "--device", "cuda", "--output", tmp_path / "repo")
    missing = "built without CUDA" if torch.version.cuda is None else "no NVIDIA GPU or driver"
    assert_refused(done, missing, "use cpu")
    assert_refused(onward("export", checkpoint, "--device", "gpu"), "unknown device 'gpu'")


def test_validation_refuses_a_provider_before_it_loads_anything() -> None:
    with pytest.raises(ProviderError, match="unknown provider 'tpu'"):
        revalidate(Path("nowhere"), provider="tpu")


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this onnxruntime has CUDA")
def test_no_cuda_for_the_runtime(onward: Onward, classifier_bundle: Path, command: str) -> None:
    text = ["fine"] if command == "run" else []
    done = onward(command, classifier_bundle, *text, "--provider", "cuda")
    assert_refused(done, "provider 'cuda' is not in this onnxruntime", "pip install 'onward[gpu]'")


# ---- texts


def test_empty_text_has_an_answer(onward: Onward, causal_lm_bundle: Path, classifier_bundle: Path) -> None:
    """As in HF: a generator starts from its start token, a classifier has its special tokens."""
    generated = onward("run", causal_lm_bundle, "", "--greedy", "--max-new-tokens", 8, "--json")
    assert generated.code == 0
    streamed = onward("run", causal_lm_bundle, "", "--greedy", "--max-new-tokens", 8)
    assert streamed.out == json.loads(generated.out)[0]["generated_text"] + "\n"
    assert len(streamed.out) > 8
    classified = onward("run", classifier_bundle, "", "--json")
    assert classified.code == 0
    assert json.loads(classified.out)[0]["label"] in ("NEGATIVE", "POSITIVE")


def test_long_text(onward: Onward, classifier_bundle: Path, causal_lm_bundle: Path) -> None:
    assert len(LONG) == 100_000
    assert_refused(onward("run", classifier_bundle, LONG), "the text has 20002 tokens, the model takes 128", "truncat")
    cut = onward("run", classifier_bundle, LONG, "-o", "truncation=true", "--json")
    assert cut.code == 0
    assert json.loads(cut.out)[0]["label"] == "POSITIVE"
    assert_refused(onward("run", causal_lm_bundle, LONG), "the model's context holds 256", "shorten")


def test_text_of_exactly_the_context(onward: Onward, causal_lm_bundle: Path, classifier_bundle: Path) -> None:
    fits = onward("run", classifier_bundle, "good " * 126)
    assert fits.code == 0
    assert_refused(onward("run", classifier_bundle, "good " * 127), "has 129 tokens")
    tokens = pipeline(None, causal_lm_bundle).tokenizer  # type: ignore[attr-defined]
    text = " the" * 255
    assert len(tokens(text)["input_ids"]) == 255
    assert onward("run", causal_lm_bundle, text).code == 0
    assert_refused(onward("run", causal_lm_bundle, text + " the"), "the prompt has 256 tokens")


@pytest.mark.parametrize("text", ["\ud83d", "fine \udc00 text", "\udcff"])
def test_lone_surrogates(onward: Onward, causal_lm_bundle: Path, classifier_bundle: Path, text: str) -> None:
    for bundle in (causal_lm_bundle, classifier_bundle):
        with pytest.raises(InputError, match="lone surrogate"):
            pipeline(None, bundle)(text)
        assert_refused(onward("run", bundle, text), "lone surrogate", "U+FFFD")


def test_standard_input_that_is_no_utf8(
    onward: Onward, classifier_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"good \xff\xfe")))
    assert_refused(onward("run", classifier_bundle), "standard input is not UTF-8 (byte 5)")


# ---- options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["temprature=0.5"], "did you mean temperature?"),
        (["max_tokens=5"], "did you mean max_new_tokens?"),
        (["zzz=1"], "there is no generation parameter 'zzz'"),
        (["temperature=0"], "temperature must be above 0, but is 0.0; for greedy pass do_sample=False"),
        (["temperature=-1"], "temperature must be above 0"),
        (["temperature=nan"], "temperature"),
        (["top_p=1.5"], "top_p must be in (0, 1]"),
        (["top_k=-3"], "top_k must be 0 (off) or more"),
        (["max_new_tokens=0"], "max_new_tokens must be at least 1"),
        (["repetition_penalty=0"], "repetition_penalty must be above 0"),
        (['max_new_tokens="many"'], "of a wrong type"),
        (['stop_strings=[""]'], "stop_strings must be"),
        (["num_return_sequences=3", "do_sample=false"], "num_return_sequences=3 needs do_sample=True"),
        (["dola_layers=high"], "dola_layers='high' is not supported"),
        (["temperature"], "-o takes NAME=JSON"),
        (["=1"], "-o takes NAME=JSON"),
    ],
)
def test_generation_options(onward: Onward, causal_lm_bundle: Path, options: list[str], words: str) -> None:
    given = [part for option in options for part in ("-o", option)]
    assert_refused(onward("run", causal_lm_bundle, "import", *given), words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "truncate=true"], "text-classification has no argument 'truncate'; did you mean truncation?"),
        (["-o", "zzz=1"], "no argument 'zzz': it has add_special_tokens, "),
        (["-o", "truncation=perhaps"], "truncation must be one of"),
        (["-o", 'max_length="long"'], "max_length='long': Expected `int | null`"),
        (["-o", "function_to_apply=sine"], "use one of sigmoid, softmax, none"),
        (["-o", "batch_size=0"], "batch_size must be a positive integer"),
        (["--greedy"], "--greedy means nothing for text-classification"),
        (["--seed", "1"], "--seed means nothing for text-classification"),
        (["--max-new-tokens", "1"], "--max-new-tokens means nothing"),
        (["--task", "text-generation"], "was exported for text-classification, not for text-generation"),
        (["--task", "nonsense"], "unknown task 'nonsense'"),
        (["--provider", "tpu"], "unknown provider 'tpu'"),
    ],
)
def test_classification_options(onward: Onward, classifier_bundle: Path, options: list[str], words: str) -> None:
    assert_refused(onward("run", classifier_bundle, "fine", *options), words)


def test_no_bundle(onward: Onward, tmp_path: Path) -> None:
    assert_refused(onward("run", tmp_path / "nothing", "x"), "no such directory", "onward export")
    assert_refused(onward("run", tmp_path, "x"), "no bundle at")
    assert_refused(onward("validate", tmp_path / "nothing"), "no such directory")


def test_validation_without_its_source(onward: Onward, classifier: Path) -> None:
    manifest = open_bundle(classifier).manifest
    gone = {**manifest.provenance, "source": "/gone/with/the/wind"}
    seal(replace_manifest(manifest, provenance=gone), classifier / "1")
    assert_refused(onward("validate", classifier), "/gone/with/the/wind")
