"""Real English text that every CPython install carries, split into a training and a held-out part.

Sources: ``pydoc_data.topics`` (the Python language reference) and the prose docstrings of the standard library.
Both are part of CPython and are covered by the PSF License Agreement, version 2.
The text differs a little between Python releases; the checkpoint in the repository was trained with Python 3.11.
"""

import ast
import inspect
import re
import sysconfig
from pathlib import Path
from pydoc_data import topics

HELDOUT_CHARS = 20_000
BLOCK_CHARS = 2_000
SKIPPED_FOLDERS = frozenset({"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"})


def training_and_heldout() -> tuple[list[str], list[str]]:
    """Training and held-out blocks of about ``BLOCK_CHARS`` characters; no paragraph occurs twice in the two together.

    Held-out blocks are taken at even distances, so that both parts mix the reference and the docstrings alike.
    """
    blocks = _blocks(_unique_paragraphs())
    step = len(blocks) * BLOCK_CHARS // HELDOUT_CHARS
    heldout = [block for index, block in enumerate(blocks) if index % step == step // 2]
    training = [block for index, block in enumerate(blocks) if index % step != step // 2]
    return training, heldout


def _blocks(paragraphs: list[str]) -> list[str]:
    """Join successive paragraphs until each block has at least ``BLOCK_CHARS`` characters."""
    blocks: list[str] = []
    current = ""
    for paragraph in paragraphs:
        current += paragraph + "\n\n"
        if len(current) >= BLOCK_CHARS:
            blocks.append(current)
            current = ""
    return blocks


def _unique_paragraphs() -> list[str]:
    """Prose paragraphs in reading order, each once: the reference repeats whole sections under several topics."""
    documents = [*topics.topics.values(), *_library_docstrings()]
    paragraphs = (_unwrap(piece) for document in documents for piece in re.split(r"\n\s*\n", document))
    return list(dict.fromkeys(paragraph for paragraph in paragraphs if _is_prose(paragraph)))


def _unwrap(paragraph: str) -> str:
    """One line per paragraph: hard-wrapped lines would teach a small model line lengths instead of sentences."""
    return re.sub(r"\s+", " ", paragraph).strip().lstrip("*•- ")


def _is_prose(paragraph: str) -> bool:
    """True for text of sentences, as opposed to code, grammar, tables and doctests."""
    if len(paragraph) < 60 or re.search(r">>>|::=|\.\. |https?:|[|+=\\]{2}|\$", paragraph):
        return False
    letters = sum(char.isalpha() or char == " " for char in paragraph)
    return letters / len(paragraph) > 0.88 and paragraph[0].isupper() and paragraph[-1] in '.:!?”)"'


def _library_docstrings() -> list[str]:
    """Docstrings of modules, classes and functions of the standard library, in order of file path."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = (path for path in sorted(root.rglob("*.py")) if not SKIPPED_FOLDERS & set(path.relative_to(root).parts))
    return [docstring for path in files for docstring in _docstrings(path)]


def _docstrings(path: Path) -> list[str]:
    """Cleaned docstrings of one source file, outermost first."""
    tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, nodes)]
    return [inspect.cleandoc(docstring) for docstring in found if docstring]
