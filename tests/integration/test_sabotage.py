"""Validation sees what is broken: one thing at a time, in a copy of a bundle whose hashes are right again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx_ir
import pytest

from exporter.passes.optimise import optimise
from exporter.sealing import replace_manifest, seal
from runtime.bundle import open_bundle
from tests.integration.command import Onward, tree


@pytest.fixture(scope="module")
def expectations(causal_lm_checkpoint: Path, classifier_checkpoint: Path) -> dict[str, Any]:
    """What both source models say, asked once; `test_command_*` go the whole way."""
    from exporter.loading import load_checkpoint, load_config
    from exporter.source import resolve_source
    from exporter.tasks import resolve_task
    from exporter.validation.run import record_source

    found = {}
    for name, path in (("lm", causal_lm_checkpoint), ("classifier", classifier_checkpoint)):
        source = resolve_source(str(path))
        found[name] = record_source(load_checkpoint(source, resolve_task(None, load_config(source), source)))
    return found


@pytest.fixture
def failing(expectations: dict[str, Any]) -> Callable[[Path], dict[str, str]]:
    """Point -> what the first failing check of it says, for a bundle."""
    from exporter.validation.run import validate_bundle

    def judge(model: Path) -> dict[str, str]:
        bundle = open_bundle(model)  # hashes and all: the sabotage is not what the reader would notice
        checks = validate_bundle(expectations[model.name], bundle.directory)
        assert {check.point for check in checks} >= {"inputs", "answers"}  # a pipeline that raises has no numerics
        return {check.point: f"{check.name}: {check.detail}" for check in reversed(checks) if not check.passed}

    return judge


Judge = Callable[[Path], dict[str, str]]


def change_manifest(model: Path, **fields: Any) -> None:
    seal(replace_manifest(open_bundle(model).manifest, **fields), model / "1")


def change_tokenizer(model: Path, **fields: Any) -> None:
    spec = open_bundle(model).manifest.tokenizer
    change_manifest(model, tokenizer=msgspec.structs.replace(spec, **fields))


def change_file(model: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = model / "1" / name
    path.write_bytes(change(path.read_bytes()))
    seal(open_bundle(model, verify=False).manifest, model / "1")


def change_json(model: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    def edit(content: bytes) -> bytes:
        value = json.loads(content)
        change(value)
        return json.dumps(value, ensure_ascii=False).encode()

    change_file(model, name, edit)


def change_graph(model: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    def edit(content: bytes) -> bytes:
        graph = onnx.load_model_from_string(content)
        change(graph)
        serialised: bytes = graph.SerializeToString()
        return serialised

    change_file(model, "model.onnx", edit)


def change_weight(model: Path, name: str, index: int, by: float) -> None:
    """Add to one number of an initializer, whether it is in the data file or in the graph."""
    graph = onnx.load(model / "1" / "model.onnx", load_external_data=False)
    tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == name)
    facts = {entry.key: int(entry.value) for entry in tensor.external_data if entry.key != "location"}

    def edit(content: bytes) -> bytes:
        values = np.frombuffer(content, np.float32, facts["length"] // 4, facts["offset"]).copy()
        values[index] += by
        end = facts["offset"] + facts["length"]
        return content[: facts["offset"]] + values.tobytes() + content[end:]

    def edit_inline(graph: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == name)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[index] += by
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))

    if facts:
        change_file(model, "model.onnx.data", edit)
    else:
        change_graph(model, edit_inline)


def weight(model: Path, name: str = "", shape: tuple[int, ...] | None = None) -> str:
    """The last initializer with this part in its name, or of this shape (inputs of MatMul have no telling names)."""
    graph = onnx.load(model / "1" / "model.onnx", load_external_data=False)
    return [t.name for t in graph.graph.initializer if name in t.name and shape in (None, tuple(t.dims))][-1]


# ---- nothing is broken


@pytest.mark.parametrize("model", ["lm", "classifier"])
def test_a_sealed_copy_passes(model: str, request: pytest.FixtureRequest, failing: Judge) -> None:
    """Otherwise the failures below would prove nothing."""
    path = request.getfixturevalue(model)
    change_manifest(path)
    assert failing(path) == {}


# ---- weights and graphs


@pytest.mark.parametrize(
    ("model", "which"),
    [
        ("lm", {"name": "h.0.attn.c_attn.weight"}),
        ("lm", {"name": "h.3.mlp.c_proj.weight"}),
        ("lm", {"name": "h.2.ln_1.bias"}),
        ("lm", {"name": "wpe.weight"}),
        ("lm", {"shape": (2048, 128)}),
        ("classifier", {"shape": (96, 256)}),
        ("classifier", {"name": "layer.0.attention.output.LayerNorm.weight"}),
        ("classifier", {"name": "classifier.bias"}),
    ],
)
def test_one_weight(model: str, which: dict[str, Any], request: pytest.FixtureRequest, failing: Judge) -> None:
    path = request.getfixturevalue(model)
    change_weight(path, weight(path, **which), index=1, by=1.0)
    found = failing(path)
    assert "is over" in found["numerics"]
    assert "inputs" not in found


@pytest.mark.parametrize(
    ("model", "name", "position"), [("lm", "wpe.weight", 200), ("classifier", "position_emb", 120)]
)
def test_position_beyond_the_probes(
    model: str, name: str, position: int, request: pytest.FixtureRequest, failing: Judge
) -> None:
    path = request.getfixturevalue(model)
    chosen = weight(path, name)
    width = 128 if model == "lm" else 96
    change_weight(path, chosen, index=position * width + 1, by=1.0)
    assert "is over" in failing(path)["numerics"]


def test_one_weight_by_little(lm: Path, failing: Judge) -> None:
    """Too small a change for a token to differ, still no rounding error."""
    change_weight(lm, weight(lm, "h.1.mlp.c_fc.weight"), index=77, by=0.01)
    found = failing(lm)
    assert "is over" in found["numerics"]
    assert "generation" not in found


@pytest.mark.parametrize(("attribute", "value"), [("scale", 0.2), ("local_window_size", 5), ("softcap", 0.5)])
def test_attribute_of_the_attention(lm: Path, failing: Judge, attribute: str, value: float) -> None:
    def edit(graph: onnx.ModelProto) -> None:
        node = next(node for node in graph.graph.node if node.op_type == "GroupQueryAttention")
        kept = [entry for entry in node.attribute if entry.name != attribute]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute(attribute, value)])

    change_graph(lm, edit)
    assert "is over" in failing(lm)["numerics"]


def test_padding_mask_that_is_ignored(classifier: Path, failing: Judge) -> None:
    """Seen only by a batch with padding: alone, every text is right."""

    def edit(graph: onnx.ModelProto) -> None:
        for node in graph.graph.node:
            if node.op_type == "MultiHeadAttention":
                del node.input[4:]

    change_graph(classifier, edit)
    found = failing(classifier)
    assert found["numerics"].startswith(("batch of 2", "batch of 5"))
    assert "inputs" not in found


# ---- labels and generation parameters


def test_swapped_labels(classifier: Path, failing: Judge) -> None:
    change_manifest(classifier, labels=open_bundle(classifier).manifest.labels[::-1])
    found = failing(classifier)
    assert set(found) == {"answers"}
    assert "NEGATIVE" in found["answers"]


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_wrong_function_on_the_logits(classifier: Path, failing: Judge, problem: str) -> None:
    change_manifest(classifier, postprocess={**open_bundle(classifier).manifest.postprocess, "problem_type": problem})
    assert set(failing(classifier)) == {"answers"}


def change_generation(model: Path, **values: Any) -> None:
    change_manifest(model, generation={**open_bundle(model).manifest.generation, **values})


def frequent_token(expectations: dict[str, Any]) -> int:
    """The third token of the first greedy answer."""
    token: int = expectations["lm"].answers.greedy[0].tokens[2]
    return token


def test_end_token_that_is_another(lm: Path, failing: Judge, expectations: dict[str, Any]) -> None:
    change_generation(lm, eos_token_id=frequent_token(expectations))
    found = failing(lm)
    assert "generation" in found
    assert "numerics" not in found


@pytest.mark.parametrize("values", [{"repetition_penalty": 1.5}, {"min_new_tokens": 99, "suppress_tokens": [0, 11]}])
def test_parameters_that_change_greedy_answers(
    lm: Path, failing: Judge, expectations: dict[str, Any], values: dict[str, Any]
) -> None:
    if "suppress_tokens" in values:
        values = {"suppress_tokens": [frequent_token(expectations)]}
    change_generation(lm, **values)
    assert "generation" in failing(lm)


@pytest.mark.parametrize("values", [{"eos_token_id": 1999}, {"task_defaults": {"temperature": 0.1}}, {"top_k": 3}])
def test_parameters_that_the_probes_do_not_meet(lm: Path, failing: Judge, values: dict[str, Any]) -> None:
    """An end token that no probe generates, and sampling parameters, which greedy probes never use."""
    change_generation(lm, **values)
    assert "generation" in failing(lm)


# ---- tokenizer


def lowercase_off(value: dict[str, Any]) -> None:
    assert value["normalizer"]["lowercase"] is True
    value["normalizer"]["lowercase"] = False


def prefix_space(value: dict[str, Any]) -> None:
    assert value["pre_tokenizer"]["add_prefix_space"] is False
    value["pre_tokenizer"]["add_prefix_space"] = True


def no_separator(value: dict[str, Any]) -> None:
    del value["post_processor"]["single"][-1]


def swapped_ids(value: dict[str, Any]) -> None:
    vocabulary = value["model"]["vocab"]
    one, two = list(vocabulary)[300:302]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]


@pytest.mark.parametrize(
    ("model", "change"),
    [
        ("classifier", lowercase_off),
        ("classifier", no_separator),
        ("classifier", swapped_ids),
        ("lm", prefix_space),
        ("lm", swapped_ids),
    ],
)
def test_tokenizer_json(
    model: str, change: Callable[[dict[str, Any]], None], request: pytest.FixtureRequest, failing: Judge
) -> None:
    path = request.getfixturevalue(model)
    change_json(path, "tokenizer.json", change)
    assert "tokenizer" in failing(path)["inputs"]


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("classifier", {"padding_side": "left"}),
        ("classifier", {"truncation_side": "left"}),
        ("classifier", {"model_max_length": 127}),
        ("classifier", {"model_max_length": None}),
        pytest.param(
            "classifier",
            {"model_input_names": ["input_ids", "attention_mask"]},
        ),
        ("classifier", {"pad_token_id": 1}),
        ("classifier", {"pad_token_type_id": 1}),
        ("classifier", {"split_special_tokens": True}),
        ("classifier", {"clean_up_tokenization_spaces": True}),
        ("lm", {"special_tokens": {"eos_token": "the"}}),
        ("lm", {"extra_special_tokens": ["def"]}),
        ("lm", {"clean_up_tokenization_spaces": True, "clean_up_on_decode": True}),
        ("lm", {"vocab_size": 2047}),
        ("lm", {"pad_token_id": None}),
    ],
)
def test_tokenizer_in_the_manifest(
    model: str, fields: dict[str, Any], request: pytest.FixtureRequest, failing: Judge
) -> None:
    path = request.getfixturevalue(model)
    before = open_bundle(path).manifest.tokenizer
    change_tokenizer(path, **fields)
    assert open_bundle(path).manifest.tokenizer != before
    assert f"manifest field {next(iter(fields))}" in failing(path)["inputs"]


# ---- the command


def test_command_on_a_good_bundle(onward: Onward, causal_lm_bundle: Path) -> None:
    done = onward("validate", causal_lm_bundle)
    assert (done.code, done.err) == (0, "")
    for point in ("inputs", "numerics", "generation", "answers"):
        assert point in done.out
    assert "✗" not in done.out


def test_command_names_the_point(onward: Onward, classifier: Path) -> None:
    change_manifest(classifier, labels=open_bundle(classifier).manifest.labels[::-1])
    done = onward("validate", classifier)
    assert done.code == 1
    marked = [line for line in done.out.splitlines() if "✗" in line]
    assert len(marked) == 1
    assert "answers" in marked[0]
    assert done.err.splitlines() == [f"error: {classifier} does not reproduce its model: 1 of 6 checks failed"]


def test_command_in_json(onward: Onward, classifier: Path, classifier_checkpoint: Path) -> None:
    change_weight(classifier, weight(classifier, "classifier.bias"), index=0, by=1.0)
    done = onward("validate", classifier / "1", "--against", classifier_checkpoint, "--json")
    assert done.code == 1
    failed = {check["point"] for check in json.loads(done.out) if not check["passed"]}
    assert failed == {"numerics", "answers"}


def test_command_against_another_checkpoint(onward: Onward, classifier_bundle: Path, small_classifier: Path) -> None:
    done = onward("validate", classifier_bundle, "--against", small_classifier)
    assert done.code == 1
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1].startswith("error: ")


# ---- during the export


def optimise_and_perturb(graphs: dict[str, onnx_ir.Model], widen: bool) -> dict[str, dict[str, int]]:
    """The passes, and one that ruins one number of one weight."""
    fusions = optimise(graphs, widen=widen)
    model = graphs["model"]
    value = next(v for name, v in model.graph.initializers.items() if "classifier.bias" in name)
    assert value.const_value is not None
    array = value.const_value.numpy().copy()
    array.reshape(-1)[0] += 1
    value.const_value = onnx_ir.Tensor(array, name=value.name)
    return fusions


def test_export_with_a_broken_pass(
    onward: Onward, small_classifier: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, a table that names the check, and nothing else but what was there before."""
    from exporter import bundle_writer

    monkeypatch.setattr(bundle_writer, "optimise", optimise_and_perturb)
    before = tree(tmp_path)
    done = onward("export", small_classifier, "--output", tmp_path, "--name", classifier.name, "--force")
    assert done.code == 1
    assert done.out == ""
    assert any("✗" in line and "numerics" in line for line in done.err.splitlines())
    assert any("✓" in line and "inputs" in line for line in done.err.splitlines())
    last = done.err.splitlines()[-1]
    assert last.startswith("error: the export does not reproduce the model, ")
    assert "numerics, batch of 1: error " in last
    assert tree(tmp_path) == before


def test_export_with_swapped_labels(
    onward: Onward, small_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exporter import bundle_writer

    right = bundle_writer.labels
    monkeypatch.setattr(bundle_writer, "labels", lambda config: right(config)[::-1])
    done = onward("export", small_classifier, "--output", tmp_path / "new", "--json")
    assert (done.code, done.out) == (1, "")
    assert "1 of 6 checks failed: answers, text-classification pipeline" in done.err
    assert tree(tmp_path) == {}


def test_export_without_validation_of_the_same(
    onward: Onward, small_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the validation that saw it; and the bundle says that nobody looked."""
    from exporter import bundle_writer

    right = bundle_writer.labels
    monkeypatch.setattr(bundle_writer, "labels", lambda config: right(config)[::-1])
    done = onward("export", small_classifier, "--output", tmp_path / "new", "--name", "m", "--no-validate")
    assert done.code == 0
    assert "skipped" in done.err
    assert open_bundle(tmp_path / "new" / "m").manifest.validation == {"passed": None, "reason": "--no-validate"}
