"""`config.pbtxt` and `model.py`: what makes an export a model that tritonserver loads.

One row per task in `_INTERFACES`; nothing is left to Triton's auto-complete, which would start every model twice.
Fields and their defaults: https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from runtime.bundle import Manifest
from runtime.errors import ExportError

# How long a lone request waits for others. Little: under load requests gather while the model is busy (measured with 16
# clients on two cores: 6 to 8 in a batch, whether the delay is 0 or 500), and without load it is nothing but latency.
QUEUE_DELAY_MICROSECONDS = 100
QUEUE_SIZE = 1024  # requests beyond this are refused at once instead of piling up in memory


@dataclass(frozen=True)
class Tensor:
    """One input or output: `dims` without the batch dimension, -1 for a free size."""

    name: str
    dtype: str
    dims: tuple[int, ...] = (1,)
    optional: bool = True


@dataclass(frozen=True)
class Interface:
    """What a task takes and gives under Triton."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    max_batch_size: int
    decoupled: bool = False


# Any argument of the pipeline that has no tensor of its own, as a JSON object.
OPTIONS = Tensor("options", "TYPE_STRING")


# Text generation speaks the names of TensorRT-LLM's models, which Triton's OpenAI frontend sends to every Python
# backend. That frontend sends a batch dimension, so there is one (of size 1: our own engine does the batching), and it
# always sends both penalties, 0 unless asked.
def _text_to_text(*inputs: Tensor) -> Interface:
    """Encoder–decoders: a text in, the answer's text out."""
    lengths = [Tensor("max_new_tokens", "TYPE_INT32"), Tensor("num_beams", "TYPE_INT32")]
    text = Tensor("text", "TYPE_STRING", optional=False)
    return Interface([text, *inputs, *lengths], [Tensor("json", "TYPE_STRING")], max_batch_size=32)


_INTERFACES: dict[str, Interface] = {
    "text2text-generation": _text_to_text(),
    "summarization": _text_to_text(),
    "translation": _text_to_text(Tensor("src_lang", "TYPE_STRING"), Tensor("tgt_lang", "TYPE_STRING")),
    "text-classification": Interface(
        inputs=[
            Tensor("text", "TYPE_STRING", optional=False),
            Tensor("text_pair", "TYPE_STRING"),
            Tensor("top_k", "TYPE_INT32"),
        ],
        outputs=[
            Tensor("label", "TYPE_STRING", (-1,)),
            Tensor("score", "TYPE_FP32", (-1,)),
            Tensor("json", "TYPE_STRING"),
        ],
        max_batch_size=32,
    ),
    "token-classification": Interface(
        inputs=[
            Tensor("text", "TYPE_STRING", optional=False),
            Tensor("aggregation_strategy", "TYPE_STRING"),
            Tensor("ignore_labels", "TYPE_STRING", (-1,)),
            Tensor("stride", "TYPE_INT32"),
        ],
        outputs=[Tensor("json", "TYPE_STRING")],
        max_batch_size=32,
    ),
    "fill-mask": Interface(
        inputs=[
            Tensor("text", "TYPE_STRING", optional=False),
            Tensor("top_k", "TYPE_INT32"),
            Tensor("targets", "TYPE_STRING", (-1,)),
        ],
        outputs=[Tensor("json", "TYPE_STRING")],
        max_batch_size=32,
    ),
    "question-answering": Interface(
        inputs=[
            Tensor("question", "TYPE_STRING", optional=False),
            Tensor("context", "TYPE_STRING", optional=False),
            Tensor("top_k", "TYPE_INT32"),
            Tensor("doc_stride", "TYPE_INT32"),
            Tensor("max_answer_len", "TYPE_INT32"),
            Tensor("max_seq_len", "TYPE_INT32"),
            Tensor("handle_impossible_answer", "TYPE_BOOL"),
            Tensor("align_to_words", "TYPE_BOOL"),
        ],
        outputs=[Tensor("json", "TYPE_STRING")],
        max_batch_size=32,
    ),
    "zero-shot-classification": Interface(
        inputs=[
            Tensor("text", "TYPE_STRING", optional=False),
            Tensor("candidate_labels", "TYPE_STRING", (-1,)),  # or in options
            Tensor("hypothesis_template", "TYPE_STRING"),
            Tensor("multi_label", "TYPE_BOOL"),
        ],
        outputs=[Tensor("json", "TYPE_STRING")],
        max_batch_size=32,
    ),
    "feature-extraction": Interface(
        inputs=[Tensor("text", "TYPE_STRING", optional=False), Tensor("truncation", "TYPE_BOOL")],
        outputs=[Tensor("features", "TYPE_FP32", (-1, -1)), Tensor("json", "TYPE_STRING")],
        max_batch_size=32,
    ),
    "sentence-similarity": Interface(
        inputs=[Tensor("text", "TYPE_STRING", optional=False), Tensor("source_sentence", "TYPE_STRING")],
        outputs=[Tensor("embedding", "TYPE_FP32", (-1,)), Tensor("json", "TYPE_STRING")],
        max_batch_size=32,
    ),
    "text-generation": Interface(
        inputs=[
            Tensor("text_input", "TYPE_STRING"),  # or messages: the model says so when both are missing
            Tensor("messages", "TYPE_STRING"),
            Tensor("tools", "TYPE_STRING"),
            Tensor("max_tokens", "TYPE_INT32"),
            Tensor("stop_words", "TYPE_STRING", (-1,)),
            Tensor("temperature", "TYPE_FP32"),
            Tensor("top_p", "TYPE_FP32"),
            Tensor("top_k", "TYPE_INT32"),
            Tensor("repetition_penalty", "TYPE_FP32"),
            Tensor("frequency_penalty", "TYPE_FP32"),
            Tensor("presence_penalty", "TYPE_FP32"),
            Tensor("seed", "TYPE_UINT64"),
            Tensor("stream", "TYPE_BOOL"),
            Tensor("return_num_input_tokens", "TYPE_BOOL"),
            Tensor("return_num_output_tokens", "TYPE_BOOL"),
            Tensor("exclude_input_in_output", "TYPE_BOOL"),
        ],
        outputs=[
            Tensor("text_output", "TYPE_STRING"),
            Tensor("num_input_tokens", "TYPE_INT32"),
            Tensor("num_output_tokens", "TYPE_INT32"),
            Tensor("finish_reason", "TYPE_STRING"),
            Tensor("json", "TYPE_STRING"),
        ],
        max_batch_size=1,
        decoupled=True,
    ),
    "image-to-text": Interface(
        inputs=[Tensor("image", "TYPE_STRING", optional=False), Tensor("max_new_tokens", "TYPE_INT32")],
        outputs=[Tensor("json", "TYPE_STRING")],
        max_batch_size=32,
    ),
    "image-classification": Interface(
        inputs=[Tensor("image", "TYPE_STRING", optional=False), Tensor("top_k", "TYPE_INT32")],
        outputs=[
            Tensor("label", "TYPE_STRING", (-1,)),
            Tensor("score", "TYPE_FP32", (-1,)),
            Tensor("json", "TYPE_STRING"),
        ],
        max_batch_size=32,
    ),
    "object-detection": Interface(
        inputs=[Tensor("image", "TYPE_STRING", optional=False), Tensor("threshold", "TYPE_FP32")],
        outputs=[
            Tensor("label", "TYPE_STRING", (-1,)),
            Tensor("score", "TYPE_FP32", (-1,)),
            Tensor("box", "TYPE_INT32", (-1, 4)),
            Tensor("json", "TYPE_STRING"),
        ],
        max_batch_size=8,
    ),
}


INTERFACES = {task: replace(interface, inputs=[*interface.inputs, OPTIONS]) for task, interface in _INTERFACES.items()}


def triton_config(manifest: Manifest, provider: str = "cpu", versions: str | None = None) -> str:
    """The text of `config.pbtxt` for a bundle whose model runs on `provider` ("cpu" or "cuda").

    versions: which versions are served, see `version_policy`; None leaves Triton's default, the newest. Raises
    `ExportError` for a task that has no Triton interface yet, and for an unknown provider or policy.
    """
    interface = INTERFACES.get(manifest.task)
    if interface is None:
        raise ExportError(f"no Triton interface for task {manifest.task!r}; there is one for {', '.join(INTERFACES)}")
    # No `name`: Triton takes the directory's, so that a model can be copied or renamed.
    config = triton.ModelConfig(backend="python", max_batch_size=interface.max_batch_size)
    config.input.extend(_input(tensor) for tensor in interface.inputs)
    config.output.extend(_output(tensor) for tensor in interface.outputs)
    config.instance_group.append(_instance_group(provider))
    _set_scheduling(config, interface)
    config.parameters["provider"].string_value = provider
    config.parameters["task"].string_value = manifest.task
    if manifest.task == "sentence-similarity":
        config.parameters["similarity"].string_value = str(manifest.postprocess.get("similarity", "cosine"))
    if versions is not None:
        config.version_policy.CopyFrom(version_policy(versions))
    return str(text_format.MessageToString(config))


def version_policy(text: str) -> triton.ModelVersionPolicy:
    """ "latest" or "latest:2" (the newest so many), "all", or the versions themselves, "1,3". Raises `ExportError`."""
    policy = triton.ModelVersionPolicy()
    name, _, count = text.partition(":")
    numbers = [part.strip() for part in text.split(",")]
    if name == "latest" and (not count or (count.isdecimal() and int(count))):
        policy.latest.num_versions = int(count or 1)
    elif text == "all":
        policy.all.SetInParent()
    elif all(number.isdecimal() and int(number) for number in numbers):
        policy.specific.versions.extend(int(number) for number in numbers)
    else:
        raise ExportError(f"unknown version policy {text!r}: use latest, latest:N, all, or versions such as 1,3")
    return policy


def updated_config(new: str, old: str, versions: str | None = None) -> str:
    """`new`, with what an owner has set in the `old` text of the same model's config: parameters, instances, batching,
    queues, warm-ups, the version policy (unless `versions` gives another one)."""
    config, kept = triton.ModelConfig(), triton.ModelConfig()
    text_format.Parse(new, config)
    try:
        text_format.Parse(old, kept)
    except text_format.ParseError:
        return new
    task = config.parameters["task"].string_value
    if kept.backend != config.backend or ("task" in kept.parameters and kept.parameters["task"].string_value != task):
        return new
    fixed = ("input", "output", "max_batch_size", "backend", "model_transaction_policy")
    for name in [*fixed, *(["version_policy"] if versions is not None else [])]:
        kept.ClearField(name)
    for name in ("input", "output", "model_transaction_policy", "version_policy"):
        if name in fixed or versions is not None:
            _copy(config, kept, name)
    kept.backend, kept.max_batch_size = config.backend, config.max_batch_size
    for name, value in config.parameters.items():
        if name not in kept.parameters or name in ("task", "similarity"):
            kept.parameters[name].CopyFrom(value)
    return str(text_format.MessageToString(kept))


def _copy(source: triton.ModelConfig, target: triton.ModelConfig, name: str) -> None:
    value = getattr(source, name)
    if hasattr(value, "extend"):
        getattr(target, name).extend(value)
    elif source.HasField(name):
        getattr(target, name).CopyFrom(value)


def model_entry() -> str:
    """The text of `<version>/model.py`."""
    return '"""Triton\'s entry: the model is the bundle beside this file."""\n\n' + (
        'from runtime.triton import TritonPythonModel\n\n__all__ = ["TritonPythonModel"]\n'
    )


def _input(tensor: Tensor) -> triton.ModelInput:
    dtype = triton.DataType.Value(tensor.dtype)
    return triton.ModelInput(name=tensor.name, data_type=dtype, dims=tensor.dims, optional=tensor.optional)


def _output(tensor: Tensor) -> triton.ModelOutput:
    return triton.ModelOutput(name=tensor.name, data_type=triton.DataType.Value(tensor.dtype), dims=tensor.dims)


def _instance_group(provider: str) -> triton.ModelInstanceGroup:
    """One instance: each would hold its own copy of the model (Triton's default on CPU is two)."""
    kinds = {"cpu": triton.ModelInstanceGroup.KIND_CPU, "cuda": triton.ModelInstanceGroup.KIND_GPU}
    if provider not in kinds:
        raise ExportError(f"unknown provider {provider!r}; Triton serves on {' or '.join(kinds)}")
    return triton.ModelInstanceGroup(count=1, kind=kinds[provider])


def _set_scheduling(config: triton.ModelConfig, interface: Interface) -> None:
    """Decoupled models batch in our engine, all others in Triton's dynamic batcher."""
    if interface.decoupled:
        config.model_transaction_policy.decoupled = True
        return
    config.dynamic_batching.max_queue_delay_microseconds = QUEUE_DELAY_MICROSECONDS
    config.dynamic_batching.default_queue_policy.max_queue_size = QUEUE_SIZE
