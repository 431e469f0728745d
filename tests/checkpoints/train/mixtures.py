"""Train the small mixtures of experts: ``python -m tests.checkpoints.train.mixtures`` (about 10 minutes of one core).

Text and tokenizer: those of the small GPT-2 (see ``causal_lm.py``). Writes ``tiny-mixtral-python-docs/`` (shares that
sum to one) and ``tiny-qwen2-moe-python-docs/`` (a shared expert, shares of any sum).
"""

import math
import platform
import sys
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tests.checkpoints import LM_HELDOUT, TINY_GPT2, TINY_MIXTRAL, TINY_QWEN2_MOE
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.causal_lm import POSITIONS, heldout_loss, stream
from tests.checkpoints.train.corpus import training_and_heldout
from tests.checkpoints.train.optimise import adamw, train

STEPS, BATCH, LENGTH = 1500, 16, 96
SEED = 20241
COMMON: dict[str, Any] = {
    "vocab_size": 2048,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "max_position_embeddings": POSITIONS,
    "tie_word_embeddings": True,
    "sliding_window": None,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
ROWS: dict[str, dict[str, Any]] = {
    "mixtral": COMMON | {"intermediate_size": 128, "num_local_experts": 4},
    "qwen2_moe": COMMON
    | {
        "intermediate_size": 128,
        "moe_intermediate_size": 64,
        "shared_expert_intermediate_size": 64,
        "num_experts": 8,
    },
}
FOLDERS = {"mixtral": TINY_MIXTRAL, "qwen2_moe": TINY_QWEN2_MOE}


def main() -> None:
    """Train those named on the command line, all by default; report losses; save checkpoints with their cards."""
    for model_type in sys.argv[1:] or ROWS:
        torch.manual_seed(SEED)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **ROWS[model_type]))
        tokenizer = AutoTokenizer.from_pretrained(TINY_GPT2)
        print(f"{model_type}: {model.num_parameters():,} parameters", flush=True)
        _train(model, stream(tokenizer, training_and_heldout()[0]))
        _save(model_type, model.eval(), tokenizer)


def _train(model: Any, tokens: torch.Tensor) -> None:
    """``STEPS`` updates on random windows; the loss includes what keeps experts equally busy."""
    generator = torch.Generator().manual_seed(SEED)

    def loss() -> torch.Tensor:
        starts = torch.randint(len(tokens) - LENGTH, (BATCH,), generator=generator)
        batch = torch.stack([tokens[start : start + LENGTH] for start in starts])
        return model(batch, labels=batch, output_router_logits=True, use_cache=False).loss

    train(model, adamw(model, peak=6e-3, steps=STEPS), loss, every=100)


def _save(model_type: str, model: Any, tokenizer: Any) -> None:
    folder = FOLDERS[model_type]
    loss = heldout_loss(model, stream(tokenizer, [LM_HELDOUT.read_text(encoding="utf-8")]))
    print(f"{model_type}: held-out loss {loss:.3f}", flush=True)
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    facts = {"loss": f"{loss:.3f}", "perplexity": f"{math.exp(loss):.1f}", "python": platform.python_version()}
    row = ROWS[model_type]
    facts |= {"experts": str(row.get("num_local_experts", row.get("num_experts"))), "type": model_type}
    write_card(folder, "moe_card.md", facts | {"parameters": f"{model.num_parameters():,}", "name": folder.name})


if __name__ == "__main__":
    main()
