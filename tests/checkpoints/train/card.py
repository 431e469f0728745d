"""Model cards: a Markdown template beside this file, filled with measured numbers."""

from pathlib import Path


def write_card(folder: Path, template: str, facts: dict[str, str]) -> None:
    """Fill ``{name}`` places of ``template`` (a file beside this one) with ``facts`` and save it as README.md."""
    text = (Path(__file__).parent / template).read_text(encoding="utf-8")
    (folder / "README.md").write_text(text.format(**facts), encoding="utf-8")
