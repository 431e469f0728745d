"""Small trained checkpoints kept in the repository, the scripts that train them, and random-weight builders."""

from pathlib import Path

HERE = Path(__file__).parent
TINY_GPT2 = HERE / "tiny-gpt2-python-docs"
TINY_BERT = HERE / "tiny-bert-sentiment"
LM_HELDOUT = HERE / "data" / "lm_heldout.txt"
SENTIMENT_HELDOUT = HERE / "data" / "sentiment_heldout.jsonl"
