"""Onward's runtime: answers from a bundle, without torch or transformers.

>>> from runtime import pipeline
>>> pipe = pipeline("text-generation", "model_repository/gpt2")
>>> pipe("Hello", max_new_tokens=20)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.generation.cancellation import Cancellation as Cancellation
    from runtime.pipelines import pipeline as pipeline

__all__ = ["Cancellation", "pipeline"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: `import runtime` alone stays instant for the CLI."""
    if name == "pipeline":
        from runtime.pipelines import pipeline

        return pipeline
    if name == "Cancellation":
        from runtime.generation.cancellation import Cancellation

        return Cancellation
    raise AttributeError(f"module 'runtime' has no attribute {name!r}")
