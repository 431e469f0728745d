"""What an export holds, and every way to ask for one."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from runtime import pipeline
from runtime.bundle import Manifest, open_bundle, sha256
from tests.integration.command import EXPORTER, Onward, assert_refused, process, tree

COMMON = {"bundle.json", "config.json", "model.onnx", "model.onnx.data", "model.py", "report.html", "report.json"}
TOKENIZER = {"tokenizer.json", "tokenizer_config.json"}
PAGE = 4096
BOTH = pytest.mark.parametrize("kind", ["causal_lm", "classifier"])


@pytest.fixture
def bundle(kind: str, request: pytest.FixtureRequest) -> Path:
    """The version directory of one of the exported bundles."""
    return Path(request.getfixturevalue(f"{kind}_bundle")) / "1"


@pytest.fixture
def source(kind: str, request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(f"{kind}_checkpoint"))


def load_graph(bundle: Path) -> onnx.ModelProto:
    return onnx.load(bundle / "model.onnx", load_external_data=False)


def manifest_of(model: Path, version: int | None = None) -> Manifest:
    return open_bundle(model, version).manifest


def tensor_sizes(checkpoint: Path) -> list[int]:
    """Bytes of each tensor in model.safetensors; tied ones are there once."""
    from exporter.shards import read_header

    spans = [entry["data_offsets"] for entry in read_header(checkpoint / "model.safetensors").values()]
    return [end - begin for begin, end in spans]


def external(graph: onnx.ModelProto) -> dict[str, dict[str, str]]:
    """Initializer in the data file -> location, offset, length."""
    tensors = [t for t in graph.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    return {tensor.name: {entry.key: entry.value for entry in tensor.external_data} for tensor in tensors}


# ---- what is in it


@BOTH
def test_files(bundle: Path, kind: str) -> None:
    expected = COMMON | TOKENIZER | ({"candidates.onnx", "generation_config.json"} if kind == "causal_lm" else set())
    assert {path.name for path in bundle.iterdir()} == expected
    assert {path.name for path in bundle.parent.iterdir()} == {"config.pbtxt", "1"}


@BOTH
def test_weights_are_stored_once(bundle: Path, source: Path) -> None:
    sizes = tensor_sizes(source)
    found = (bundle / "model.onnx.data").stat().st_size
    small = sum(size for size in sizes if size < 1024)  # these stay in the graph
    # Each tensor may be followed by the rest of its page; a second embedding would be far beyond that.
    assert sum(sizes) - small <= found <= sum(sizes) + PAGE * len(sizes)
    assert max(sizes) > PAGE * len(sizes)
    assert (bundle / "model.onnx").stat().st_size < 64_000


def test_tied_embeddings_are_there_once(causal_lm_bundle: Path, causal_lm_checkpoint: Path) -> None:
    config = json.loads((causal_lm_checkpoint / "config.json").read_text())
    assert config["tie_word_embeddings"]
    shape = sorted([config["vocab_size"], config["n_embd"]])
    graph = load_graph(causal_lm_bundle / "1")
    embeddings = [tensor.name for tensor in graph.graph.initializer if sorted(tensor.dims) == shape]
    assert len(embeddings) == 1
    users = [node.op_type for node in graph.graph.node if embeddings[0] in node.input]
    assert sorted(users) == ["Gather", "Gemm"]


@BOTH
def test_external_data_is_whole(bundle: Path) -> None:
    spans = sorted(
        (int(facts["offset"]), int(facts["length"]))
        for facts in external(load_graph(bundle)).values()
        if facts["location"] == "model.onnx.data"
    )
    assert len(spans) == len(external(load_graph(bundle))) > 4
    ends = [begin + length for begin, length in spans]
    assert all(end <= begin for end, (begin, _) in zip(ends, spans[1:], strict=False))
    assert ends[-1] == (bundle / "model.onnx.data").stat().st_size


@BOTH
def test_nothing_of_the_exporting_machine(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Only the source as it was given, which `onward validate` needs, and only in manifest and report."""
    source = manifest_of(bundle).provenance["source"].encode()
    secrets = [Path.home(), Path(__file__).parents[2], sys.prefix, tmp_path_factory.getbasetemp(), socket.gethostname()]
    for path in [*bundle.iterdir(), bundle.parent / "config.pbtxt"]:
        content = path.read_bytes()
        if path.name in ("bundle.json", "report.html", "report.json"):
            assert content.count(source) == 1
            content = content.replace(source, b"")
        for secret in (str(secret).encode() for secret in secrets):
            assert len(secret) < 5 or secret not in content, f"{secret!r} in {path.name}"


@BOTH
def test_graph_is_for_older_runtimes_too(bundle: Path) -> None:
    graph = load_graph(bundle)
    assert graph.ir_version <= 10
    opsets = {entry.domain: entry.version for entry in graph.opset_import}
    assert opsets.pop("") == manifest_of(bundle).opset == 18
    assert opsets == {"com.microsoft": 1}
    assert not graph.functions


def test_one_gqa_in_each_layer(causal_lm_bundle: Path) -> None:
    count = Counter(node.op_type for node in load_graph(causal_lm_bundle / "1").graph.node)
    manifest = manifest_of(causal_lm_bundle)
    assert count["GroupQueryAttention"] == manifest.graphs["model"].nodes["GroupQueryAttention"] == 4
    assert count["Softmax"] == count["MultiHeadAttention"] == 0
    assert manifest.path == "emission"
    assert manifest.cache is not None
    assert (manifest.cache.kind, manifest.cache.max_length, manifest.cache.layers) == ("slots", 256, [(4, 32)] * 4)


def test_one_mha_in_each_layer(classifier_bundle: Path) -> None:
    count = Counter(node.op_type for node in load_graph(classifier_bundle / "1").graph.node)
    manifest = manifest_of(classifier_bundle)
    assert count["MultiHeadAttention"] == manifest.graphs["model"].nodes["MultiHeadAttention"] == 2
    assert count["Softmax"] == count["GroupQueryAttention"] == 0
    assert (manifest.path, manifest.cache) == ("emission", None)


@BOTH
def test_interface_is_the_graphs(bundle: Path) -> None:
    graph, spec = load_graph(bundle).graph, manifest_of(bundle).graphs["model"]
    assert [value.name for value in graph.input] == [tensor.name for tensor in spec.inputs]
    assert [value.name for value in graph.output] == [tensor.name for tensor in spec.outputs]
    found = [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    assert found == spec.inputs[0].shape == ["batch", "sequence"]
    assert spec.outputs[0].name == "logits"
    assert spec.outputs[0].dtype == "float32"


@BOTH
def test_sha256_of_each_file(bundle: Path) -> None:
    hashes = manifest_of(bundle).files
    assert hashes == {path.name: sha256(path) for path in bundle.iterdir() if path.name != "bundle.json"}


@BOTH
def test_report(bundle: Path, kind: str) -> None:
    report = json.loads((bundle / "report.json").read_text())
    manifest = manifest_of(bundle)
    points = Counter(check["point"] for check in report["checks"])
    assert set(points) == {"inputs", "numerics", "answers"} | ({"generation"} if kind == "causal_lm" else set())
    assert all(check["passed"] for check in report["checks"])
    assert manifest.validation["passed"] is True
    assert manifest.validation["checks"] == len(report["checks"])
    assert 0 < manifest.validation["error"] < 1e-5  # measured, and tiny
    assert report["manifest"]["name"] == manifest.name
    assert {"find", "trace", "validate"} <= set(report["seconds"])
    assert all(seconds >= 0 for seconds in report["seconds"].values())


@BOTH
def test_triton_files(bundle: Path, kind: str) -> None:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    config = text_format.Parse((bundle.parent / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert config.backend == "python"
    assert config.input[0].name == ("text_input" if kind == "causal_lm" else "text")
    assert "TritonPythonModel" in (bundle / "model.py").read_text()
    compile((bundle / "model.py").read_text(), "model.py", "exec")


def test_provenance(causal_lm_bundle: Path, causal_lm_checkpoint: Path) -> None:
    provenance = manifest_of(causal_lm_bundle).provenance
    assert (provenance["source"], provenance["kind"]) == (str(causal_lm_checkpoint), "directory")
    assert {"onward", "torch", "transformers", "onnxruntime"} <= set(provenance["packages"])


def test_tokenizer_settings_are_the_checkpoints(causal_lm_bundle: Path, causal_lm_checkpoint: Path) -> None:
    """Not those that HF's text-generation pipeline gave it while the export asked the source model."""
    from transformers import AutoTokenizer

    from exporter.tokenizer import describe_tokenizer

    expected = describe_tokenizer(AutoTokenizer.from_pretrained(causal_lm_checkpoint))
    assert manifest_of(causal_lm_bundle).tokenizer == expected


# ---- ways to ask for it


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, small_classifier: Path) -> Path:
    """A repository with one export by `python -m exporter ... --json` in a process of its own, and what it printed."""
    where = tmp_path_factory.mktemp("plain")
    shutil.copytree(small_classifier, where / "my model")
    done = process(EXPORTER, "my model", "--no-validate", "--json", "--task", "sentiment-analysis", cwd=where)
    assert done.code == 0, done.err
    (where / "out").write_text(done.out)
    (where / "err").write_text(done.err)
    return where


def test_json_is_all_that_is_printed(plain: Path) -> None:
    result = json.loads((plain / "out").read_text())
    assert (plain / "err").read_text() == ""
    assert result["directory"] == "model_repository/my-model"
    assert (result["name"], result["version"], result["task"]) == ("my-model", 1, "text-classification")
    assert (result["precision"], result["path"]) == ("fp32", "emission")
    assert result["validation"] == {"passed": None, "reason": "--no-validate"}
    assert result["seconds"]["trace"] > 0


def test_module_and_command_write_the_same(
    plain: Path, onward: Onward, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(plain)
    done = onward("export", "my model", "--no-validate", "--output", tmp_path)
    assert done.code == 0, done.err
    one, other = plain / "model_repository" / "my-model", tmp_path / "my-model"
    assert sorted(tree(one)) == sorted(tree(other))
    for path in (path for path in one.rglob("*") if path.is_file()):
        if path.name not in ("bundle.json", "report.html", "report.json"):
            assert path.read_bytes() == (other / path.relative_to(one)).read_bytes(), path.name
    assert comparable(one) == comparable(other)


def comparable(model: Path) -> dict[str, Any]:
    """bundle.json without the time of the export."""
    manifest: dict[str, Any] = json.loads((model / "1" / "bundle.json").read_text())
    del manifest["provenance"]["created"], manifest["files"]["report.json"], manifest["files"]["report.html"]
    return manifest


def test_what_a_person_sees(plain: Path, onward: Onward, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions beside each other, one replaced, and the table at the end."""
    monkeypatch.chdir(plain)
    first = tree(plain / "model_repository" / "my-model")
    assert_refused(onward("export", "my model"), "my-model/1 exists", "--force", "--version 2")
    assert tree(plain / "model_repository" / "my-model") == first

    second = onward("export", "my model", "--version", 2, "--opset", 20)
    assert (second.code, second.out) == (0, "")
    for words in ("✓ trace", "my-model, version 2", "6 checks passed", "MultiHeadAttention", "onward run model_repo"):
        assert words in second.err
    model = plain / "model_repository" / "my-model"
    assert {path.name for path in model.iterdir()} == {"config.pbtxt", "1", "2"}
    assert manifest_of(model).version == 2
    opsets = {entry.domain: entry.version for entry in load_graph(model / "2").opset_import}
    assert opsets[""] == manifest_of(model).opset == 20
    assert load_graph(model / "2").ir_version <= 10

    kept = tree(model / "2")
    replaced = onward("export", "my model", "--no-validate", "--force")
    assert replaced.code == 0
    assert "skipped" in replaced.err
    assert tree(model / "2") == kept
    assert manifest_of(model, 1).validation["passed"] is None
    assert (model / "1" / "bundle.json").stat().st_mtime_ns > first["1/bundle.json"][1]


def test_name_and_max_length(small_lm: Path, onward: Onward, tmp_path: Path) -> None:
    done = onward(
        "export", small_lm, "--name", "short", "--max-length", 40, "--no-validate", "--output", tmp_path / "new"
    )
    assert done.code == 0, done.err
    manifest = manifest_of(tmp_path / "new" / "short")
    assert (manifest.name, manifest.task) == ("short", "text-generation")  # the task is the architecture's
    assert manifest.cache is not None
    assert manifest.cache.max_length == 40
    pipe = pipeline("text-generation", tmp_path / "new" / "short")
    answer = pipe("def", max_new_tokens=100, do_sample=False, return_tensors=True, eos_token_id=-1)
    assert len(answer[0]["generated_token_ids"]) == 40
    with pytest.raises(ValueError, match=r"the prompt has .* tokens, the model's context holds 40"):
        pipe("def " * 60)


@pytest.mark.parametrize("length", [1, 129])
def test_max_length_that_the_model_lacks(small_lm: Path, onward: Onward, tmp_path: Path, length: int) -> None:
    done = onward("export", small_lm, "--max-length", length, "--no-validate", "--output", tmp_path / "new")
    assert done.code != 0
    assert "2" in done.err
    assert "Traceback" not in done.err
    assert tree(tmp_path) == {}


def test_max_length_of_a_classifier(small_classifier: Path, onward: Onward, tmp_path: Path) -> None:
    done = onward("export", small_classifier, "--max-length", 64, "--output", tmp_path / "new")
    assert_refused(done, "--max-length", "text-classification")
    assert tree(tmp_path) == {}


# ---- half precision


def test_fp16_causal_lm(causal_lm_checkpoint: Path, causal_lm_bundle: Path, onward: Onward, tmp_path: Path) -> None:
    done = onward("export", causal_lm_checkpoint, "--fp16", "--task", "causal-lm", "--output", tmp_path, "--name", "h")
    assert done.code == 0, done.err
    manifest = manifest_of(tmp_path / "h")
    assert (manifest.precision, manifest.task) == ("fp16", "text-generation")
    assert manifest.cache is not None
    assert manifest.cache.dtype == "float16"
    spec = manifest.graphs["model"]
    caches = [tensor.dtype for tensor in [*spec.inputs, *spec.outputs] if tensor.name.endswith((".key", ".value"))]
    assert caches == ["float16"] * 16
    assert next(tensor for tensor in spec.outputs if tensor.name == "logits").dtype == "float32"
    assert manifest.validation["passed"] is True
    assert 0 < manifest.validation["error"] < 3e-2
    assert halved(tmp_path / "h", causal_lm_bundle)


def test_fp16_classifier(classifier_checkpoint: Path, classifier_bundle: Path, onward: Onward, tmp_path: Path) -> None:
    done = onward("export", classifier_checkpoint, "--fp16", "--output", tmp_path, "--name", "h", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["task"] == "text-classification"  # inferred
    manifest = manifest_of(tmp_path / "h")
    assert manifest.graphs["model"].outputs[0].dtype == "float32"
    assert manifest.validation["passed"] is True
    assert halved(tmp_path / "h", classifier_bundle)
    text = "This was a wonderful, moving film."
    half, full = (pipeline(None, path)(text)[0] for path in (tmp_path / "h", classifier_bundle))
    assert half["label"] == full["label"] == "POSITIVE"
    assert half["score"] == pytest.approx(full["score"], abs=2e-2)


def halved(half: Path, full: Path) -> bool:
    sizes = [(path / "1" / "model.onnx.data").stat().st_size for path in (half, full)]
    pages = PAGE * len(external(load_graph(half / "1")))
    return abs(sizes[0] - sizes[1] / 2) <= pages + 1024 * 64


# ---- what people have lying around


def test_trainer_output(small_classifier: Path, onward: Onward, tmp_path: Path) -> None:
    """The newest checkpoint by number, beside what else `Trainer` writes."""
    run = tmp_path / "my-run"
    for step, labels in ((9, ["old", "older", "oldest"]), (10, ["a", "b", "c"])):
        checkpoint = Path(shutil.copytree(small_classifier, run / f"checkpoint-{step}"))
        config = json.loads((checkpoint / "config.json").read_text())
        config["id2label"] = dict(enumerate(labels))
        config["label2id"] = {label: index for index, label in enumerate(labels)}
        (checkpoint / "config.json").write_text(json.dumps(config))
        for name in ("optimizer.pt", "rng_state.pth", "scheduler.pt", "training_args.bin", "trainer_state.json"):
            (checkpoint / name).write_bytes(b"never to be loaded")
    (run / "runs").mkdir()
    done = onward("export", run, "--output", tmp_path / "repo")
    assert done.code == 0, done.err
    manifest = manifest_of(tmp_path / "repo" / "my-run")
    assert manifest.labels == ["a", "b", "c"]
    assert manifest.provenance["kind"] == "trainer"
    assert manifest.validation["passed"] is True
    assert pipeline(None, tmp_path / "repo" / "my-run")("fine")[0]["label"] in manifest.labels


def test_lora_adapter(small_lm: Path, onward: Onward, tmp_path: Path) -> None:
    """The bundle continues a text as peft's own model does, not as the base model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(small_lm)
    ids = torch.tensor([AutoTokenizer.from_pretrained(small_lm)("import os")["input_ids"]])
    greedy = {"do_sample": False, "max_new_tokens": 12, "eos_token_id": None}
    before = base.generate(ids, **greedy)[0].tolist()
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # zero at first: the adapter would have no effect
            torch.nn.init.normal_(parameter, std=0.3)
    adapted.eval().save_pretrained(tmp_path / "adapter")
    after = adapted.generate(input_ids=ids, **greedy)[0].tolist()
    assert before != after
    assert not (tmp_path / "adapter" / "config.json").exists()

    done = onward("export", tmp_path / "adapter", "--output", tmp_path / "repo")
    assert done.code == 0, done.err
    manifest = manifest_of(tmp_path / "repo" / "adapter")
    assert (manifest.provenance["kind"], manifest.task) == ("peft", "text-generation")
    assert manifest.validation["passed"] is True
    pipe = pipeline(None, tmp_path / "repo" / "adapter")
    found = pipe("import os", return_tensors=True, do_sample=False, max_new_tokens=12, eos_token_id=-1)
    np.testing.assert_array_equal(found[0]["generated_token_ids"], after)
