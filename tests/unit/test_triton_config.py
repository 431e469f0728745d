"""config.pbtxt: complete, parsed by Triton's own schema, and only what the runtime reads."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

import runtime.triton
from exporter.triton_config import INTERFACES, model_entry, triton_config, updated_config
from runtime.bundle import Manifest
from runtime.errors import ExportError
from runtime.triton.backend import IMPLEMENTATIONS


def manifest(task: str) -> Manifest:
    return Manifest(name="m", task=task, architecture="A", model_type="a", precision="fp32", path="emission", graphs={})


def config(task: str, provider: str = "cpu") -> triton.ModelConfig:
    return text_format.Parse(triton_config(manifest(task), provider), triton.ModelConfig())


@pytest.mark.parametrize("task", INTERFACES)
def test_everything_that_auto_complete_would_fill_in_is_there(task: str) -> None:
    parsed = config(task)
    assert parsed.backend == "python"
    assert parsed.name == ""  # the directory's name counts, so that a model can be renamed
    assert [(group.count, group.kind) for group in parsed.instance_group] == [(1, triton.ModelInstanceGroup.KIND_CPU)]
    assert all(t.data_type != triton.TYPE_INVALID and t.dims for t in [*parsed.input, *parsed.output])
    parameters = {key: value.string_value for key, value in parsed.parameters.items()}
    similarity = {"similarity": "cosine"} if task == "sentence-similarity" else {}
    assert parameters == {"provider": "cpu", "task": task} | similarity
    assert not parsed.HasField("version_policy")


@pytest.mark.parametrize("task", INTERFACES)
def test_what_the_task_is_about_alone_is_required(task: str) -> None:
    required = [tensor.name for tensor in config(task).input if not tensor.optional]
    more = {
        "text-generation": [],  # text_input or messages
        "question-answering": ["question", "context"],
    }
    vision = {"image-classification": ["image"], "object-detection": ["image"], "image-to-text": ["image"]}
    assert required == (more | vision).get(task, ["text"])


def test_text_generation_is_decoupled_and_leaves_batching_to_the_engine() -> None:
    parsed = config("text-generation")
    assert parsed.model_transaction_policy.decoupled
    assert parsed.max_batch_size == 1
    assert not parsed.HasField("dynamic_batching")
    assert [tensor.name for tensor in parsed.output] == [
        "text_output",
        "num_input_tokens",
        "num_output_tokens",
        "finish_reason",
        "json",
    ]


def test_text_generation_takes_all_that_tensorrt_llm_clients_send() -> None:
    types = {t.name: (triton.DataType.Name(t.data_type), list(t.dims)) for t in config("text-generation").input}
    assert types == {
        "text_input": ("TYPE_STRING", [1]),
        "messages": ("TYPE_STRING", [1]),
        "tools": ("TYPE_STRING", [1]),
        "max_tokens": ("TYPE_INT32", [1]),
        "stop_words": ("TYPE_STRING", [-1]),
        "temperature": ("TYPE_FP32", [1]),
        "top_p": ("TYPE_FP32", [1]),
        "top_k": ("TYPE_INT32", [1]),
        "repetition_penalty": ("TYPE_FP32", [1]),
        "frequency_penalty": ("TYPE_FP32", [1]),
        "presence_penalty": ("TYPE_FP32", [1]),
        "seed": ("TYPE_UINT64", [1]),
        "stream": ("TYPE_BOOL", [1]),
        "return_num_input_tokens": ("TYPE_BOOL", [1]),
        "return_num_output_tokens": ("TYPE_BOOL", [1]),
        "exclude_input_in_output": ("TYPE_BOOL", [1]),
        "options": ("TYPE_STRING", [1]),
    }


def test_classification_is_batched_by_triton_with_a_bounded_queue() -> None:
    parsed = config("text-classification")
    assert parsed.max_batch_size == 32
    assert parsed.dynamic_batching.max_queue_delay_microseconds == 100
    assert parsed.dynamic_batching.default_queue_policy.max_queue_size == 1024
    assert not parsed.model_transaction_policy.decoupled


def test_gpu_instances_for_the_cuda_provider() -> None:
    parsed = config("text-generation", "cuda")
    assert parsed.instance_group[0].kind == triton.ModelInstanceGroup.KIND_GPU
    assert parsed.parameters["provider"].string_value == "cuda"


def test_what_cannot_be_served_is_said_in_one_line() -> None:
    with pytest.raises(ExportError, match=r"no Triton interface for task 'levitation'; there is one for .*text-class"):
        triton_config(manifest("levitation"))
    with pytest.raises(ExportError, match=r"unknown provider 'tpu'; Triton serves on cpu or cuda"):
        triton_config(manifest("text-generation"), "tpu")


def test_every_interface_has_an_implementation_that_knows_its_tensors() -> None:
    assert set(INTERFACES) == set(IMPLEMENTATIONS)
    folder = Path(runtime.triton.__file__).parent
    for task, files in {
        "text-classification": ["classification.py", "text_tasks.py", "options.py"],
        "text-generation": ["generation.py", "sampling.py", "options.py"],
        "image-classification": ["images.py", "options.py"],
        "object-detection": ["images.py", "options.py"],
    }.items():
        source = "".join((folder / file).read_text() for file in files)
        for tensor in [*INTERFACES[task].inputs, *INTERFACES[task].outputs]:
            assert re.search(rf'"{tensor.name}"', source), f"{task}: nothing reads or writes {tensor.name}"


def test_model_entry_is_python_that_triton_finds_its_class_in() -> None:
    names = [
        alias.name
        for node in ast.walk(ast.parse(model_entry()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert names == ["TritonPythonModel"]
    namespace: dict[str, object] = {}
    exec(model_entry(), namespace)
    assert namespace["TritonPythonModel"] is runtime.triton.TritonPythonModel


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("latest", "latest { num_versions: 1 }"),
        ("latest:2", "latest { num_versions: 2 }"),
        ("all", "all { }"),
        ("1, 3", "specific { versions: 1 versions: 3 }"),
    ],
)
def test_version_policies(text: str, policy: str) -> None:
    parsed = text_format.Parse(triton_config(manifest("fill-mask"), versions=text), triton.ModelConfig())
    assert parsed.version_policy == text_format.Parse(policy, triton.ModelVersionPolicy())


def test_a_new_export_keeps_what_an_owner_has_set() -> None:
    owned = config("text-generation")
    owned.parameters["slots"].string_value = "3"
    owned.parameters["provider"].string_value = "cuda"
    owned.instance_group[0].kind = triton.ModelInstanceGroup.KIND_GPU
    owned.version_policy.specific.versions.append(1)
    del owned.input[1:]
    new = triton_config(manifest("text-generation"))
    merged = text_format.Parse(updated_config(new, text_format.MessageToString(owned)), triton.ModelConfig())
    assert merged.parameters["slots"].string_value == "3"
    assert merged.parameters["provider"].string_value == "cuda"
    assert merged.instance_group[0].kind == triton.ModelInstanceGroup.KIND_GPU
    assert list(merged.version_policy.specific.versions) == [1]
    # What the model takes and gives is the exporter's affair.
    assert list(merged.input) == list(config("text-generation").input)
    pinned = updated_config(triton_config(manifest("text-generation"), versions="all"), str(owned), "all")
    assert text_format.Parse(pinned, triton.ModelConfig()).version_policy.HasField("all")


def test_a_config_of_another_task_or_of_no_use_is_replaced() -> None:
    new = triton_config(manifest("fill-mask"))
    assert updated_config(new, triton_config(manifest("text-generation"))) == new
    assert updated_config(new, "colour: 3") == new
