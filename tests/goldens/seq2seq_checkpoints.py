"""The checkpoints that `record_seq2seq.py` asks, built in the tests' own environment.

`python -m tests.goldens.seq2seq_checkpoints DIRECTORY` builds all of them in a form that transformers 4.57 reads.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.checkpoints import TINY_MARIAN
from tests.checkpoints.seq2seq import tiny_captioner, tiny_seq2seq

# Random weights may never say the end token, and the default is 256 new tokens.
ROOM = {"max_position_embeddings": 300}
SUMMARY = {"max_length": 24, "min_length": 8, "length_penalty": 2.0, "num_beams": 3, "no_repeat_ngram_size": 3}


def _bart(folder: Path) -> Path:
    """As published: generation parameters in config.json, forced tokens at both ends, some for one task only."""
    specific = {"summarization": SUMMARY}
    return tiny_seq2seq("bart", folder, **ROOM, forced_bos_token_id=0, task_specific_params=specific)


def _marian(folder: Path) -> Path:
    shutil.copytree(TINY_MARIAN, folder)
    return folder


BUILDERS: dict[str, Callable[[Path], Path]] = {
    # With weights as small as usual, a random T5 has nothing to say.
    "t5": lambda folder: tiny_seq2seq("t5", folder, feed_forward_proj="gated-gelu", initializer_factor=2.0),
    "bart": _bart,
    "mbart": lambda folder: tiny_seq2seq("mbart", folder, **ROOM),
    "nllb": lambda folder: tiny_seq2seq("m2m_100", folder, **ROOM),
    "marian": _marian,
    "captioner": lambda folder: tiny_captioner(folder, **ROOM),
}


def as_457(folder: Path) -> None:
    """Rewrite what 5.x writes into tokenizer_config.json and 4.57 cannot read."""
    path = folder / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "extra_special_tokens" in config:
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Build all."""
    for name, build in BUILDERS.items():
        as_457(build(Path(sys.argv[1]) / name))
        print(name)


if __name__ == "__main__":
    main()
