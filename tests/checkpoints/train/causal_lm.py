"""Train the small GPT-2 of this folder: ``python -m tests.checkpoints.train.causal_lm`` (about 10 minutes of one core).

Text: the Python language reference and the standard library's docstrings, as found in the running Python
(see ``corpus.py``), under the PSF License Agreement, version 2.
Writes ``tiny-gpt2-python-docs/`` and the held-out text ``data/lm_heldout.txt``.
"""

import math
import platform

import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

from tests.checkpoints import LM_HELDOUT, TINY_GPT2
from tests.checkpoints.train.bpe import gpt2_tokenizer
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.corpus import training_and_heldout
from tests.checkpoints.train.optimise import muon, train

VOCAB_SIZE = 2048
POSITIONS = 256
STEPS = 1400
BATCH = 8
SEED = 20240
PROMPTS = ("The with statement", "Return the number of", "If the class defines", "A function is")


def main() -> None:
    """Train, report losses, save the checkpoint with its model card."""
    torch.manual_seed(SEED)
    training, heldout = training_and_heldout()
    LM_HELDOUT.write_text("".join(heldout), encoding="utf-8")
    tokenizer = gpt2_tokenizer(training, VOCAB_SIZE, POSITIONS)
    model = GPT2LMHeadModel(_config(tokenizer))
    print(f"{model.num_parameters():,} parameters, {sum(map(len, training)):,} training characters")
    _train(model, stream(tokenizer, training), stream(tokenizer, heldout))
    model.eval()
    _save(model, tokenizer, stream(tokenizer, training), heldout)


def heldout_loss(model: GPT2LMHeadModel, stream: torch.Tensor) -> float:
    """Mean cross-entropy in nats per token over ``stream`` (1-D ids), in windows of ``POSITIONS`` tokens."""
    windows = [window for window in stream.split(POSITIONS) if len(window) > 1]
    with torch.no_grad():
        losses = [(next_token_loss(model, window[None]).item(), len(window) - 1) for window in windows]
    return sum(loss * count for loss, count in losses) / sum(count for _, count in losses)


def next_token_loss(model: GPT2LMHeadModel, ids: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats of every token of ``ids`` [batch, tokens] after the first of its row."""
    logits = model(ids, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def _config(tokenizer: GPT2Tokenizer) -> GPT2Config:
    """4 layers, 4 heads of 32, about 1.1 million parameters with tied embeddings."""
    shape = {"vocab_size": len(tokenizer), "n_positions": POSITIONS, "n_embd": 128, "n_layer": 4, "n_head": 4}
    # No attention dropout: it would force PyTorch's slow attention path on a CPU.
    return GPT2Config(**shape, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0, pad_token_id=0)


def stream(tokenizer: GPT2Tokenizer, blocks: list[str]) -> torch.Tensor:
    """All ids in one row [tokens], each block followed by ``<|endoftext|>``."""
    rows = tokenizer(blocks, verbose=False).input_ids
    return torch.tensor([token for row in rows for token in [*row, tokenizer.eos_token_id]])


def _train(model: GPT2LMHeadModel, training: torch.Tensor, heldout: torch.Tensor) -> None:
    """``STEPS`` updates on random windows of ``POSITIONS`` tokens."""
    generator = torch.Generator().manual_seed(SEED)

    def loss() -> torch.Tensor:
        starts = torch.randint(len(training) - POSITIONS, (BATCH,), generator=generator)
        batch = torch.stack([training[start : start + POSITIONS] for start in starts])
        return next_token_loss(model, batch)

    def note() -> str:
        return f", held out {heldout_loss(model.eval(), heldout):.3f}"

    optimizer = muon(model, peak=0.02, adamw_peak=3e-3, steps=STEPS)
    train(model, optimizer, loss, every=100, note=note)


def _save(model: GPT2LMHeadModel, tokenizer: GPT2Tokenizer, training: torch.Tensor, heldout: list[str]) -> None:
    """Write model, tokenizer and card; print losses and greedy continuations."""
    train_loss = heldout_loss(model, training[: 100 * POSITIONS])
    loss = heldout_loss(model, stream(tokenizer, heldout))
    print(f"train loss {train_loss:.3f} (perplexity {math.exp(train_loss):.1f})")
    print(f"held-out loss {loss:.3f} (perplexity {math.exp(loss):.1f})")
    samples = [continuation(model, tokenizer, prompt) for prompt in PROMPTS]
    print("\n".join(samples))
    model.save_pretrained(TINY_GPT2)
    tokenizer.save_pretrained(TINY_GPT2)
    facts = {"loss": f"{loss:.3f}", "perplexity": f"{math.exp(loss):.1f}", "python": platform.python_version()}
    facts |= {"parameters": f"{model.num_parameters():,}", "samples": "\n".join(f"> {text}\n" for text in samples)}
    write_card(TINY_GPT2, "gpt2_card.md", facts)


def continuation(model: GPT2LMHeadModel, tokenizer: GPT2Tokenizer, prompt: str, new_tokens: int = 40) -> str:
    """``prompt`` with its greedy continuation, on one line."""
    inputs = tokenizer(prompt, return_tensors="pt")
    output = model.generate(**inputs, do_sample=False, max_new_tokens=new_tokens)
    return " ".join(tokenizer.decode(output[0]).split())


if __name__ == "__main__":
    main()
