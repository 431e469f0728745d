"""Writes GPT-2, Llama and Qwen2 checkpoints as GGUF, without a vocabulary: token ids go in and come out.

Names of fields and tensors: the GGUF specification (ggml/docs/gguf.md) and the `gguf` package's own tables.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def write_gguf(checkpoint: Path, target: Path, kind: str) -> None:
    """kind: "F32", "Q8_0" or "Q4_0", of every matrix; vectors stay F32."""
    import gguf
    from safetensors import safe_open

    config = json.loads((checkpoint / "config.json").read_text())
    architecture = config["model_type"]
    writer = gguf.GGUFWriter(str(target), architecture)
    write_header(writer, config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], sizes(config)["layers"])
    quantised = gguf.GGMLQuantizationType[kind]
    with safe_open(checkpoint / "model.safetensors", "np") as weights:
        for source in sorted(weights.keys()):
            name = names.get_name(source.removeprefix("transformer."), try_suffixes=(".weight", ".bias"))
            name = name or names.get_name(source, try_suffixes=(".weight", ".bias"))
            if name is None:
                continue
            array = arranged(source, weights.get_tensor(source).astype(np.float32), config)
            matrix = array.ndim == 2 and not name.startswith("position_embd")
            dtype = quantised if matrix else gguf.GGMLQuantizationType.F32
            writer.add_tensor(name, gguf.quants.quantize(array, dtype), raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def sizes(config: dict[str, Any]) -> dict[str, Any]:
    """The sizes under one set of names."""
    if config["model_type"] == "gpt2":
        width = config["n_embd"]
        return {
            "layers": config["n_layer"],
            "width": width,
            "inner": config.get("n_inner") or 4 * width,
            "heads": config["n_head"],
            "kv_heads": config["n_head"],
            "context": config["n_positions"],
        }
    return {
        "layers": config["num_hidden_layers"],
        "width": config["hidden_size"],
        "inner": config["intermediate_size"],
        "heads": config["num_attention_heads"],
        "kv_heads": config["num_key_value_heads"],
        "context": config["max_position_embeddings"],
    }


def write_header(writer: Any, config: dict[str, Any]) -> None:
    """Sizes, norms, rotary settings; a vocabulary of nothing but its size."""
    size = sizes(config)
    writer.add_block_count(size["layers"])
    writer.add_context_length(size["context"])
    writer.add_embedding_length(size["width"])
    writer.add_feed_forward_length(size["inner"])
    writer.add_head_count(size["heads"])
    writer.add_head_count_kv(size["kv_heads"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    if config["model_type"] == "gpt2":
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        return
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(size["width"] // size["heads"])
    writer.add_rope_freq_base((config.get("rope_parameters") or config).get("rope_theta", 10000.0))


def arranged(name: str, array: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """GPT-2's matrices lie transposed; Llama's queries and keys are interleaved for llama.cpp's rotary embedding."""
    if config["model_type"] == "gpt2" and array.ndim == 2 and ".h." in f".{name}":
        return np.ascontiguousarray(array.T)
    if config["model_type"] == "llama" and (".q_proj." in name or ".k_proj." in name):
        heads = sizes(config)["heads" if ".q_proj." in name else "kv_heads"]
        halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(array.shape))
    return array
