"""Gates about what a reader sees: Markdown, links, figures and the numbers in prose."""

import re
from pathlib import Path
from urllib.parse import unquote

from nbformat import NotebookNode

from tests.notebooks.cells import headings, images, labelled, markdown_text, output_texts, read, without_code

# A repr that tells a reader who cannot see the figure nothing.
EMPTY_TWIN = re.compile(r"\s*(<(Figure|Axes|IPython|PIL|matplotlib)[^>]*>|Image\(.*\)|\[<.*>\])?\s*", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)[^)]*\)|(?:href|src)=[\"']([^\"']+)[\"']")
IMG_TAG = re.compile(r"<img\b[^>]*>")
SPAN = re.compile(r"<!--(?:ledger|stored|contents):[^\n]*?-->[^\n]*?<!--/-->")
CITATION = re.compile(r"\b\d{4}\.\d{4,5}\b|https?://|\bTable\s+\w|§|\bmeasure 0\d_")
UNITS, TENS = (
    "one two three four five six seven eight nine ten eleven twelve",
    "twenty thirty forty fifty sixty seventy",
)
NUMBER = rf"(?:\d+(?:[.,]\d+)?|{'|'.join([*UNITS.split(), *TENS.split(), 'eighty', 'ninety'])})"
# What reads like a result: shares, decimals, so many points, so many of so many, so many times as much.
RESULT = re.compile(
    rf"""(?<![\w.])(?:\d+(?:[.,]\d+)?\s?%|\d+\.\d+(?!\d|\.\d)
    |{NUMBER}\ (?:points?|percent|nats?)\b
    |(?:\d\d+|{"|".join(TENS.split())})\ (?:\w+\ )?(?:equations|answers|errors|results|sinks|heads)\b
    |{NUMBER}\ (?:of|out\ of)\ (?:the\ |every\ )?{NUMBER}\b|{NUMBER}\ in\ (?:three|four|five|ten|twenty|a\ hundred)\b
    |{NUMBER}(?:\s?×(?!\s?\d)|\ times\ (?:as(?!\ (?:large|long)\b)|more|less|fewer|the)\b|-fold\b)
    |(?<!\d)(?<!\d\s)×\s?\d+(?!\w)
    |(?:a|one|two|three)\ (?:third|quarter|fifth|tenth)s?\b(?!\ (?:mixes|control|way|kind|question))
    |half\ as\ (?:many|much|fast|good)\b|twice\ (?:as|the)\b|(?:halves|doubles)\b(?!\ of))""",
    re.IGNORECASE | re.VERBOSE,
)
SETTING = re.compile(
    r"\bdifficulty\W+\d of \d|\btwo of (?:every|each) four\b|\b(?:one|two) of (?:the )?three\b"
    r"|\b(?:exactly|under|at least|at most) \**0 nats",
    re.IGNORECASE,
)
# Dotted numbers that count something instead of measuring it.
NUMBERING = re.compile(
    r"\b(exercises?|sections?|notebooks?|hints?|checks?|equations?|figures?|version|python|torch|transformers)"
    r"\s+`?\d+(\.\d+)+",
    re.IGNORECASE,
)
BOX = {
    "minutes": "minutes|min",
    "difficulty": "difficulty",
    "prerequisites": "prerequisites?|needs",
    "memory": "memory|[MG]B",
}


def gate_base64(nb: NotebookNode, path: Path) -> list[str]:
    """7. No picture is embedded in Markdown as base64 or as an attachment."""
    return [
        f"{name} embeds a picture"
        for name, cell in labelled(nb, "markdown")
        if "base64," in cell.source or "(attachment:" in cell.source or cell.get("attachments")
    ]


def gate_alt_text(nb: NotebookNode, path: Path) -> list[str]:
    """8. Every image has alt text, and a figure's cell or the next one says in text what it shows."""
    problems = []
    for name, cell in labelled(nb, "markdown"):
        text = without_code(cell.source)
        alts = re.findall(r"!\[([^\]]*)\]\(", text) + [_alt(tag) for tag in IMG_TAG.findall(text)]
        problems += [f"{name} has an image without alt text" for alt in alts if not alt.strip()]
    code = list(labelled(nb, "code"))
    following = [cell for _, cell in code[1:]] + [None]
    for (name, cell), after in zip(code, following, strict=True):
        problems += [f"{name}: {problem}" for problem in _figure_problems(cell, after)]
    return problems


def _figure_problems(cell: NotebookNode, after: NotebookNode | None) -> list[str]:
    problems, alts = [], []
    for output in cell.outputs:
        alts += [str(output.metadata.get(mime, {}).get("alt", "")).strip() for mime in images(output)]
        tags = IMG_TAG.findall(output.get("data", {}).get("text/html", ""))
        problems += ["<img> without alt text" for tag in tags if not _alt(tag)]
    problems += ["an image without alt text; use dlmlab.plotting.show(fig, alt=...)" for alt in alts if not alt]
    if alts and not any(_has_text_twin(c, alts) for c in (cell, after) if c is not None):
        problems.append("a figure without a text twin in this code cell or the next")
    return problems


def _alt(tag: str) -> str:
    match = re.search(r"\balt=([\"'])(.*?)\1", tag, re.DOTALL)
    return match[2].strip() if match else ""


def _has_text_twin(cell: NotebookNode, alts: list[str]) -> bool:
    # An alt text names the picture; its twin gives the numbers. Repeating the one does not make the other.
    texts = (text for output in cell.outputs for text in output_texts(output))
    return any(not EMPTY_TWIN.fullmatch(text) and not any(alt and alt in text for alt in alts) for text in texts)


def gate_headings(nb: NotebookNode, path: Path) -> list[str]:
    """9. Headings start at H1 and skip no level, so that a screen reader's outline is the outline."""
    found = headings(nb)
    problems = [] if found and found[0][0] == 1 else ["the first heading must be an H1"]
    for (above, _), (level, text) in zip(found, found[1:], strict=False):
        if level > above + 1:
            problems.append(f"heading {text!r} jumps from H{above} to H{level}")
    return problems


def gate_links(nb: NotebookNode, path: Path) -> list[str]:
    """10. Relative links and anchors resolve (JupyterLab's anchor: the heading with hyphens for blanks)."""
    problems = []
    for name, cell in labelled(nb, "markdown"):
        for link in LINK.finditer(without_code(cell.source)):
            target = unquote(link[1] or link[2])
            if not re.match(r"[a-z]+:|//", target):
                problems += [f"{name}: {problem}" for problem in _broken(target, nb, path)]
    return problems


def _broken(target: str, nb: NotebookNode, path: Path) -> list[str]:
    file, _, anchor = target.partition("#")
    there = (path.parent / file) if file else path
    if file and not there.exists():
        return [f"link to {target!r}: no such file"]
    if anchor and anchor not in _anchors(nb if not file else there):
        return [f"link to {target!r}: no such heading"]
    return []


def _anchors(source: NotebookNode | Path) -> set[str]:
    if isinstance(source, Path) and source.suffix == ".md":
        titles = re.findall(r"(?m)^#{1,6}\s+(.+?)\s*$", source.read_text(encoding="utf-8"))
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}  # as code hosts make them
    if isinstance(source, Path):
        source = read(source)
    plain = [re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", text) for _, text in headings(source)]
    return {text.replace(" ", "-") for text in plain} | set(re.findall(r"\bid=[\"']([^\"']+)", markdown_text(source)))


def gate_contract(nb: NotebookNode, path: Path) -> list[str]:
    """17. Title and claim, box, objectives, exercises, signature result, limits and recap are there, in order."""
    first = nb.cells[0].source if nb.cells and nb.cells[0].cell_type == "markdown" else ""
    title, _, claim = first.strip().partition("\n")
    stated = re.match(r"# \S", title) and len(claim.split()) >= 5
    problems = [] if stated else ["the first cell must be an H1 title and a one-sentence claim"]
    opening = _opening(nb)
    silent = [word for word, pattern in BOX.items() if not re.search(rf"(?i)\b({pattern})\b", opening)]
    problems += [f"the box before the first code cell does not say: {word}" for word in silent]
    titles = [text.lower() for _, text in headings(nb)]
    signature = [] if path.name.startswith("00") else ["signature result"]
    sections = ["objectives", *signature, "limits", "recap"]
    found = [next((i for i, text in enumerate(titles) if word in text), None) for word in sections]
    missing = [word for word, i in zip(sections, found, strict=True) if i is None]
    missing += [] if any("exercise" in text for text in titles) else ["exercise"]
    problems += [f"no heading says {word!r}" for word in missing]
    if not missing and found != sorted(found):
        problems.append(f"sections must come in the order {', '.join(sections)}")
    return problems


def _opening(nb: NotebookNode) -> str:
    code = next((i for i, cell in enumerate(nb.cells) if cell.cell_type == "code"), len(nb.cells))
    return "\n".join(cell.source for cell in nb.cells[:code])


def gate_prose_numbers(nb: NotebookNode, path: Path) -> list[str]:
    """What reads like a result (a share, a decimal, "seven of nine", "three points", "twice as") stands in a span that
    quotes a table, or its sentence cites a source (arXiv id, address, Table, §)."""
    return [
        f"{name}: no source for {match[0]!r} in {' '.join(sentence.split())[:100]!r}"
        for name, cell in labelled(nb, "markdown")
        for sentence in sentences(SPAN.sub("", cell.source))
        if not CITATION.search(sentence) and (match := RESULT.search(SETTING.sub("", NUMBERING.sub("", sentence))))
    ]


def gate_answers(nb: NotebookNode, path: Path) -> list[str]:
    """A question in bold has its answer below it, folded, in the same cell."""
    return [
        f"{name} asks without an answer: {' '.join(question.split())[:60]!r}"
        for name, cell in labelled(nb, "markdown")
        for question in cell.source.split("**Question.**")[1:]
        if not re.search(r"<details>\s*<summary>.*?</summary>\s*\S.*?</details>", question, re.DOTALL)
    ]


def sentences(markdown: str) -> list[str]:
    """Split Markdown into sentences, without code, formulas and headings; a table goes with the paragraph before it."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", "", without_code(markdown), flags=re.DOTALL)
    text = re.sub(r"\n\s*\n(?=\s*\|)", "\n", text)
    text = re.sub(r"(?m)^#{1,6}\s.*$", "\n", text)
    found = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.)\s)", text):
        whole = re.search(r"(?m)^\s*\|", block)
        found += [block] if whole else re.split(r"(?<=[.!?])\s+(?=[A-Z(*_\[`])", re.sub(r"^\s*\d+\.\s", "", block))
    return [sentence for sentence in found if sentence.strip()]
