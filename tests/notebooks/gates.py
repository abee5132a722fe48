"""The gates: what every committed notebook must be. Each takes (notebook, path) and lists the problems it finds.

`test_gates.py` applies each to every notebook and shows each a notebook that it must reject. The gates about the form
of the file are here, those about Markdown in `gates_text.py`, those about code in `gates_code.py`. `ALL` lists them.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.validator import iter_validate
from nbval.plugin import get_sanitize_patterns

from tests.notebooks.cells import labelled
from tests.notebooks.gates_code import gate_dlmlab_names, gate_imports, gate_network, gate_private
from tests.notebooks.gates_text import (
    gate_alt_text,
    gate_answers,
    gate_base64,
    gate_contract,
    gate_headings,
    gate_links,
    gate_prose_numbers,
)

NOTEBOOK_BYTES = 300_000
OUTPUT_BYTES = 100_000
CELL_LINES = 25
MARKER = re.compile(r"^\s*#+\s*((?:NBVAL|PYTEST_VALIDATE)_\w+)", re.MULTILINE)

# Outputs that differ between machines: one reason for each cell that nbval may run without comparing.
IGNORED_OUTPUTS = {
    "00_start_here.ipynb": [
        "the first grid commits one token at a time, and the order of near-certain signs depends on the processor",
        "the doctor cell prints this machine's versions, memory and seconds",
    ],
    "01_sampling.ipynb": ["wall-clock ratios of four ways to decode"],
    "08_parallel_decoding_and_caches.ipynb": ["wall-clock ratios of diffusion and twin, by batch and answer length"],
    "04_pruning.ipynb": ["wall-clock ratios of zeros and of smaller matrices"],
    "05_timestep_quantization.ipynb": [
        "wall-clock ratios of a forward in few bits, by way and batch",
        "libraries that are not part of the installation",
    ],
    "06_joint_optimization.ipynb": ["wall-clock ratios of zeros, packed weights and fewer neurons"],
    "18_on_device.ipynb": [
        "libraries of few bits that are not part of the installation",
        "runtimes that are not part of the installation",
    ],
    "03_attention_sinks.ipynb": ["an encoder from a package that is not part of the installation"],
    "02_training_objective.ipynb": ["samples of a model trained in the notebook: another processor, another sample"],
}


def gate_nbformat(nb: NotebookNode, path: Path) -> list[str]:
    """1. The file is valid nbformat 4.5 or newer, every cell has an id and no id occurs twice."""
    problems = [] if nb.nbformat_minor >= 5 else [f"nbformat 4.{nb.nbformat_minor} has no cell ids, 4.5 is needed"]
    ids = [cell.get("id") for cell in nb.cells]
    repeated = {id for id in ids if not id or ids.count(id) > 1}
    problems += [f"cell id {id!r} is missing or occurs twice" for id in repeated]
    errors = iter_validate(json.loads(json.dumps(nb)))  # unlike `nbformat.validate`, it repairs nothing
    return problems + [f"not valid nbformat: {str(error).splitlines()[0]}" for error in errors]


def gate_kernelspec(nb: NotebookNode, path: Path) -> list[str]:
    """2. The kernel is `python3`, which every installation has."""
    name = nb.metadata.get("kernelspec", {}).get("name")
    return [] if name == "python3" else [f"kernelspec is {name!r}, must be 'python3'"]


def gate_counts(nb: NotebookNode, path: Path) -> list[str]:
    """3. Execution counts are exactly 1..n: run once, in order (nbval compares nothing in a cell without a count)."""
    counts = [cell.execution_count for cell in nb.cells if cell.cell_type == "code"]
    if not counts:
        return ["there is no code cell"]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"execution counts are {counts}, not 1..{len(counts)}"]


def gate_errors(nb: NotebookNode, path: Path) -> list[str]:
    """4. No stored output is a traceback."""
    return [
        f"{name} stores the error {output.ename}"
        for name, cell in labelled(nb, "code")
        for output in cell.outputs
        if output.output_type == "error"
    ]


def gate_stderr(nb: NotebookNode, path: Path) -> list[str]:
    """5. No stored output is on stderr: warnings and progress bars change from run to run."""
    return [
        f"{name} stores stderr: {output.text.strip()[:80]}"
        for name, cell in labelled(nb, "code")
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]


def gate_size(nb: NotebookNode, path: Path) -> list[str]:
    """6. The notebook has at most 300 kB and each output at most 100 kB."""
    size = len(nbformat.writes(nb).encode())
    problems = [f"the notebook has {size:,} bytes, at most {NOTEBOOK_BYTES:,}"] if size > NOTEBOOK_BYTES else []
    for name, cell in labelled(nb, "code"):
        sizes = [len(json.dumps(output, ensure_ascii=False).encode()) for output in cell.outputs]
        big = [size for size in sizes if size > OUTPUT_BYTES]
        problems += [f"{name} has an output of {size:,} bytes, at most {OUTPUT_BYTES:,}" for size in big]
    return problems


def gate_skips(nb: NotebookNode, path: Path) -> list[str]:
    """15. No cell is skipped or may raise; as many cells ignore their output as IGNORED_OUTPUTS has reasons."""
    problems, ignored = [], []
    for name, cell in labelled(nb, "code"):
        found = [*cell.metadata.get("tags", []), *MARKER.findall(cell.source)]
        marks = {re.sub(r"^(nbval|pytest-validate)-", "", mark.lower().replace("_", "-")) for mark in found}
        problems += [f"{name} is marked {mark}" for mark in sorted(marks & {"skip", "raises-exception"})]
        if "ignore-output" in marks:
            ignored.append(name)
    allowed = len(IGNORED_OUTPUTS.get(path.name, []))
    if len(ignored) > allowed:
        problems.append(f"{len(ignored)} cells ignore their output, IGNORED_OUTPUTS has {allowed} reasons: {ignored}")
    return problems


def gate_cell_length(nb: NotebookNode, path: Path) -> list[str]:
    """A code cell has at most 25 lines: one idea, visible at once."""
    lengths = [(name, len(cell.source.strip().splitlines())) for name, cell in labelled(nb, "code")]
    return [f"{name} has {n} lines, at most {CELL_LINES}" for name, n in lengths if n > CELL_LINES]


def sanitizer_problems(text: str) -> list[str]:
    """16. Every declared sanitizer rule is live: nbval silently drops one without the space after `replace:`."""
    live = get_sanitize_patterns(text)
    declared = len(re.findall(r"(?m)^\s*regex\s*:", text))
    problems = [] if declared == len(live) else [f"{declared} rules are declared, {len(live)} are live"]
    for pattern, _ in live:
        try:
            re.compile(pattern)
        except re.error as error:
            problems.append(f"regex {pattern!r} does not compile: {error}")
    return problems + ([] if live else ["there is no live rule"])


ALL: list[Callable[[NotebookNode, Path], list[str]]] = [
    gate_nbformat,
    gate_kernelspec,
    gate_counts,
    gate_errors,
    gate_stderr,
    gate_size,
    gate_base64,
    gate_alt_text,
    gate_headings,
    gate_links,
    gate_imports,
    gate_dlmlab_names,
    gate_network,
    gate_private,
    gate_skips,
    gate_contract,
    gate_cell_length,
    gate_prose_numbers,
    gate_answers,
]
