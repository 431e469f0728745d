"""Writes a bundle's files: graphs and weights, tokenizer, configs, Triton's two files, and the manifest so far."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from exporter.candidates import save_candidates
from exporter.detection import resolve_detection
from exporter.generation_config import resolve_generation
from exporter.image_processor import describe_image_processor, save_image_processor
from exporter.languages import language_table
from exporter.loading import Checkpoint
from exporter.memory import release
from exporter.passes.optimise import optimise
from exporter.quantization.calibration import calibration_feeds
from exporter.quantization.probe import GraphProbe
from exporter.quantization.samples import read_samples
from exporter.save import save_graphs
from exporter.sealing import provenance
from exporter.sentences import sentence_facts
from exporter.seq2seq_tasks import resolve_tasks
from exporter.tokenizer import save_tokenizer
from exporter.tracing.captioner import steps_language_model
from exporter.tracing.causal_lm import Traced, trace_causal_lm
from exporter.tracing.encoder import trace_encoder
from exporter.tracing.overflow import float32_islands
from exporter.tracing.seq2seq_lm import trace_image_to_text, trace_text_to_text
from exporter.tracing.vision import trace_vision
from exporter.triton_config import model_entry, triton_config, updated_config
from runtime.bundle import MANIFEST_FILE, GraphSpec, Manifest, encode

if TYPE_CHECKING:
    from exporter.job import Job


def traced_graphs(job: Job, checkpoint: Checkpoint) -> Traced:
    """Trace `checkpoint` and run the passes."""
    islands = float32_parts(job, checkpoint)
    release()  # of the weights, a trace needs the shapes alone
    with job.stages("trace"):
        traced = replace(trace(job, checkpoint), islands=islands)
    release()
    with job.stages("optimise"):
        traced.fusions.update(optimise(traced.graphs, widen=in_float32_on_cpu(job)))
    return traced


def in_float32_on_cpu(job: Job) -> bool:
    """Whether the products of the bundle will be float32 ones on a CPU."""
    return job.precision.name == "fp32" and job.options.device.startswith("cpu")


def float32_parts(job: Job, checkpoint: Checkpoint) -> dict[str, str]:
    """What of a float16 model had to become float32, and why."""
    if checkpoint.model.dtype != torch.float16:
        return {}
    with job.stages("range of float16"):
        return float32_islands(checkpoint, lambda: job.load("float32").model)


def write_bundle(job: Job, checkpoint: Checkpoint, traced: Traced, staging: Path) -> Manifest:
    """Quantise the graphs where the precision asks for it; write `staging/config.pbtxt` and `staging/<version>/`."""
    bundle = staging / str(job.options.version)
    quantisation = quantize(job, checkpoint, traced, bundle)
    with job.stages("write"):
        graphs = save_graphs(traced.graphs, bundle, traced.fusions)
        manifest = describe(job, checkpoint, traced, bundle, graphs, quantisation)
        (bundle / MANIFEST_FILE).write_bytes(encode(manifest))
        (bundle / "model.py").write_text(model_entry())
        (staging / "config.pbtxt").write_text(config_text(job, manifest))
    return manifest


def config_text(job: Job, manifest: Manifest) -> str:
    """Triton's configuration; what an owner has set in that of an earlier version stays."""
    versions = job.options.triton.version_policy
    new, old = triton_config(manifest, versions=versions), job.options.output / job.name / "config.pbtxt"
    return updated_config(new, old.read_text(), versions) if old.is_file() else new


def quantize(job: Job, checkpoint: Checkpoint, traced: Traced, scratch: Path) -> dict[str, Any]:
    """Rewrite the graphs; what was done, for the manifest. The weights are computed when they are written."""
    if job.precision.quantize is None:
        return {}
    with job.stages("quantise"):
        data = job.options.calibration_data
        feeds = calibration_feeds(checkpoint, traced.graphs, read_samples(data) if data else None)
        report = job.precision.quantize(traced.graphs, job.options.request(GraphProbe(feeds, scratch)))
        release()
    return {"quantisation": report.as_json()}


def trace(job: Job, checkpoint: Checkpoint) -> Traced:
    """The graphs of the task's kind of model."""
    if job.row.kind == "causal-lm":
        return trace_causal_lm(checkpoint.model, job.options.opset, job.options.max_length)
    if job.row.kind == "captioning":
        image = describe_image_processor(checkpoint.processor)
        return trace_image_to_text(checkpoint.model, image, job.options.opset, job.options.max_length)
    if job.row.kind == "vision":
        image = describe_image_processor(checkpoint.processor)
        return trace_vision(checkpoint.model, image, job.row.outputs, job.options.opset)
    names = [name for name in checkpoint.tokenizer.model_input_names if accepts(checkpoint, name)]
    if job.row.kind == "seq2seq":
        return trace_text_to_text(checkpoint.model, names, job.options.opset, job.options.max_length)
    return trace_encoder(checkpoint.model, names, job.row.outputs, job.options.opset)


def accepts(checkpoint: Checkpoint, name: str) -> bool:
    """Whether the model's forward takes an input of this name (DistilBERT has no token types)."""
    return name in inspect.signature(checkpoint.model.forward).parameters


def describe(
    job: Job, checkpoint: Checkpoint, traced: Traced, bundle: Path, graphs: dict[str, Any], quantisation: dict[str, Any]
) -> Manifest:
    """Save tokenizer and configs; everything the runtime must know, resolved."""
    model, config = checkpoint.model, checkpoint.config
    config.save_pretrained(bundle)
    generation = {}
    seq2seq: dict[str, Any] = {}
    if job.row.kind in ("causal-lm", "seq2seq", "captioning"):
        model.generation_config.save_pretrained(bundle)
        generation = resolve_generation(model, checkpoint.tokenizer, job.row.name)
    if job.row.kind == "captioning" and steps_language_model(model):
        seq2seq = {"takes_prompt": True}
    if job.row.kind == "seq2seq":
        tasks = resolve_tasks(model, checkpoint.tokenizer)
        seq2seq = {"tasks": tasks, "checkpoint_generation": generation}
        if languages := language_table(checkpoint.tokenizer):
            seq2seq["languages"] = languages
        generation = tasks[job.row.name]["generation"]
    return Manifest(
        name=job.name,
        version=job.options.version,
        task=job.row.name,
        architecture=type(model).__name__,
        model_type=config.model_type,
        precision=job.precision.name,
        path=traced.path,
        path_reason=traced.reason,
        opset=job.options.opset,
        graphs=graphs,
        cache=traced.cache,
        candidates=save_candidates(bundle, graphs, traced.cache),
        tokenizer=save_tokenizer(checkpoint.tokenizer, bundle) if checkpoint.tokenizer is not None else None,
        image=save_image_processor(checkpoint.processor, bundle) if checkpoint.processor is not None else None,
        labels=labels(config) if job.row.kind in ("encoder", "vision") else [],
        postprocess=postprocess(config, checkpoint, graphs) if job.row.kind in ("encoder", "vision") else seq2seq,
        generation=generation,
        provenance=provenance(job.source) | quantisation | ({"islands": traced.islands} if traced.islands else {}),
    )


def labels(config: Any) -> list[str]:
    """id2label in the order of the logits."""
    return [str(config.id2label[index]) for index in range(config.num_labels)]


def postprocess(config: Any, checkpoint: Checkpoint, graphs: dict[str, GraphSpec]) -> dict[str, Any]:
    """What turns logits into an answer, and how long a text may be."""
    shapes = {output.name: output.shape for output in graphs["model"].outputs}
    if "pred_boxes" in shapes:
        _, queries, classes = shapes["logits"]
        return resolve_detection(checkpoint.processor, queries, classes)
    facts = {
        "problem_type": getattr(config, "problem_type", None),
        "function_to_apply": getattr(config, "function_to_apply", None),
        "max_positions": max_positions(checkpoint.model, checkpoint) if checkpoint.tokenizer is not None else None,
    }
    if checkpoint.row.name == "sentence-similarity":
        facts |= sentence_facts(Path(checkpoint.source.location))
    return {name: value for name, value in facts.items() if value is not None}


def max_positions(model: Any, checkpoint: Checkpoint) -> int | None:
    """Longest text of a model with a table of learned positions, None for others (relative, rotary).

    Tables with a padding row start counting behind it (RoBERTa: 514 rows, 512 tokens).
    """
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    words = model.get_input_embeddings()
    embeddings = [
        module for module in model.modules() if isinstance(module, torch.nn.Embedding) and module is not words
    ]
    tables = [table for table in embeddings if table.num_embeddings == own]
    if not tables:
        return None
    padding = tables[0].padding_idx
    rows = tables[0].num_embeddings - (0 if padding is None else padding + 1)
    return int(min(rows, checkpoint.tokenizer.model_max_length))
