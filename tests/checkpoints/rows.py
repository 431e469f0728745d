"""The architectures of the tiny random-weight checkpoints: one row per model type, in its own config's words.

Every row means the same: width 64, 2 layers, 4 heads of 16, 2 key/value heads where the config has them, 128 positions.
Sliding windows are 8 tokens, so that a prompt of a dozen tokens already leaves them.
The initial standard deviation of 0.3 makes logits spread over several units at this width; the usual 0.02 would make
them nearly equal, and greedy decoding a matter of rounding.
"""

from typing import Any

Row = dict[str, Any]

POSITIONS = 128
_STD: Row = {"initializer_range": 0.3}
_BASE: Row = _STD | {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": POSITIONS,
}
_GROUPED: Row = _BASE | {"num_key_value_heads": 2}
_GROUPED_HEAD_DIM: Row = _GROUPED | {"head_dim": 16}
_GPT2: Row = _STD | {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": POSITIONS}
# Gemma multiplies embeddings by sqrt(width): random tied ones would make it repeat its last token for ever.
_GEMMA: Row = _GROUPED_HEAD_DIM | {"query_pre_attn_scalar": 16, "sliding_window": 8, "tie_word_embeddings": False}
_ALTERNATING: Row = {"layer_types": ["sliding_attention", "full_attention"]}
_YARN: Row = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}

CAUSAL_ROWS: dict[str, Row] = {
    "gpt2": _GPT2,
    "llama": _GROUPED,
    "qwen2": _GROUPED,
    "qwen3": _GROUPED_HEAD_DIM,
    "gemma2": _GEMMA | _ALTERNATING,
    "gemma3_text": _GEMMA | _ALTERNATING,
    "mistral": _GROUPED_HEAD_DIM | {"sliding_window": 8},
    "opt": {
        "hidden_size": 64,
        "word_embed_proj_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 128,
        "max_position_embeddings": POSITIONS,
        "init_std": 0.3,
    },
    "gpt_neox": _BASE,
    "phi3": _GROUPED | {"original_max_position_embeddings": POSITIONS},
    # Bloom normalises its embeddings; only larger weights after them keep it from repeating its last token.
    "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.4},
    "mamba": _STD | {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 16, "time_step_rank": 4},
    "mixtral": _GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": _GROUPED_HEAD_DIM
    | _ALTERNATING
    | {"sliding_window": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": _YARN},
    # A shared expert beside the chosen ones; shares that do not sum to one.
    "qwen2_moe": _GROUPED
    | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 96, "shared_expert_intermediate_size": 64},
    "qwen3_moe": _GROUPED_HEAD_DIM | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 96},
    "olmoe": _GROUPED | {"num_experts": 4, "num_experts_per_tok": 2},
    "falcon": _STD
    | {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_kv_heads": 2,
        "new_decoder_architecture": True,
        "ffn_hidden_size": 128,
        "max_position_embeddings": POSITIONS,
    },
    "gptj": _GPT2 | {"rotary_dim": 8},
    "codegen": _GPT2 | {"n_ctx": POSITIONS, "rotary_dim": 8},
    "stablelm": _GROUPED,
    "olmo": _GROUPED,
    "starcoder2": _GROUPED,
    "phi": _GROUPED,
    "gpt_neo": _STD
    | {
        "hidden_size": 64,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 8,
        "max_position_embeddings": POSITIONS,
    },
    "mpt": _STD | {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": POSITIONS},
}

CLASSIFIER_ROWS: dict[str, Row] = {
    "bert": _BASE,
    # RoBERTa counts positions from the padding id + 1, so its table has two rows more than positions.
    "roberta": _BASE | {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1},
    "distilbert": _STD
    | {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "max_position_embeddings": POSITIONS},
    "albert": _BASE | {"embedding_size": 32},
    "electra": _BASE | {"embedding_size": 32},
    # The disentangled attention of the published DeBERTa-v3 models.
    "deberta-v2": _BASE
    | {
        "type_vocab_size": 0,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "position_buckets": 32,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
    },
    "modernbert": _BASE | {"global_attn_every_n_layers": 2, "local_attention": 8, "initializer_cutoff_factor": 2.0},
    "xlm-roberta": _BASE | {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1},
    "mpnet": _BASE | {"max_position_embeddings": POSITIONS + 2, "relative_attention_num_buckets": 32},
    "gpt2": _GPT2,
    "llama": _GROUPED,
}

# The same spread of logits as above needs a smaller deviation at a larger width: 1.6 / sqrt(width).
REAL_ROWS: dict[str, Row] = {
    "gpt2_124m": {"vocab_size": 50257, "n_positions": 1024, "initializer_range": 0.058},
    "llama_160m": {
        "vocab_size": 32000,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 3,
        "intermediate_size": 2048,
        "max_position_embeddings": 2048,
        "initializer_range": 0.058,
    },
    "qwen2_05b": {
        "vocab_size": 151936,
        "hidden_size": 896,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "intermediate_size": 4864,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        "tie_word_embeddings": True,
        "initializer_range": 0.053,
    },
    "bert_base": {"vocab_size": 30522, "max_position_embeddings": 512, "initializer_range": 0.058},
}
REAL_ROWS["llama_160m_8k"] = REAL_ROWS["llama_160m"] | {"max_position_embeddings": 8192}
