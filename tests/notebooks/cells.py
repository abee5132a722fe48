"""Reading notebooks for the gates: cells with a name for messages, parsed code, Markdown without its literal parts."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

MAGIC = re.compile(r"^\s*(?:[\w, ]+=\s*)?[%!]|^\s*\?|^\s*[\w.]+\?{1,2}\s*$")
FENCED = re.compile(r"^ *(```|~~~).*?^ *\1[^\n]*$", re.MULTILINE | re.DOTALL)


def read(path: Path) -> NotebookNode:
    """Read a notebook as it is: `nbformat.read` would add missing ids before a gate could see that they are missing."""
    return nbformat.v4.reads(path.read_text(encoding="utf-8"))


def labelled(nb: NotebookNode, cell_type: str) -> Iterator[tuple[str, NotebookNode]]:
    """Yield (name, cell) of one type; the name counts all cells from 1 and quotes the first line."""
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type == cell_type:
            first = cell.source.strip().partition("\n")[0]
            yield f"cell {number} ({first[:40]})", cell


def markdown_text(nb: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")


def magics(source: str) -> list[str]:
    """List the lines that are IPython syntax; a cell that is plain Python has none, whatever its lines look like."""
    try:
        ast.parse(source)
    except SyntaxError:
        return [line.strip() for line in source.splitlines() if MAGIC.search(line)]
    return []


def parsed(cell: NotebookNode) -> ast.Module:
    """Parse a code cell, IPython lines left out; raises SyntaxError."""
    is_magic = set(magics(cell.source))
    return ast.parse("\n".join("" if line.strip() in is_magic else line for line in cell.source.splitlines()))


def without_code(markdown: str) -> str:
    """Take fenced code blocks and the content of inline code out of a Markdown text."""
    return re.sub(r"`[^`\n]*`", "`code`", FENCED.sub("", markdown))


def headings(nb: NotebookNode) -> list[tuple[int, str]]:
    """List (level, text) of all Markdown headings."""
    # Inline code stays: it is part of a heading's text and of its anchor.
    found = re.findall(r"(?m)^(#{1,6})\s+(.+?)\s*#*$", FENCED.sub("", markdown_text(nb)))
    return [(len(marks), text) for marks, text in found]


def output_texts(output: NotebookNode) -> Iterator[str]:
    """Yield the readable texts of one output (streams, text/plain, text/html …), not its images."""
    if output.output_type == "stream":
        yield output.text
    for mime, content in output.get("data", {}).items():
        if mime.startswith("text/") and isinstance(content, str):
            yield content


def images(output: NotebookNode) -> list[str]:
    """List the image types that one output holds."""
    return [mime for mime in output.get("data", {}) if mime.startswith("image/")]
