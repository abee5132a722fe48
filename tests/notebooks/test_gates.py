"""Every notebook passes every gate; every gate rejects a notebook that is bad in its way.

The bad notebooks are the good one with one small mutation each. A gate without a bad notebook fails a test of its own:
a gate that nobody has seen rejecting anything is decoration.
"""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dlmlab import paths
from tests.notebooks import gates, gates_code, gates_text
from tests.notebooks.cells import read

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = paths.notebooks(ROOT)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def good_notebook() -> NotebookNode:
    """Build the smallest notebook that every gate accepts; cell 5 prints, cell 6 shows a figure."""
    figure = {"image/png": PNG, "text/plain": "accuracy rises from 1 to 9 steps"}
    metadata = {"image/png": {"alt": "a line that rises"}}
    cells = [
        new_markdown_cell("# Sampling\n\n**Claim.** More steps give better text than fewer steps."),
        new_markdown_cell("Minutes: 20 · difficulty: 2 of 5 · prerequisites: none · memory: below 1 GB"),
        new_markdown_cell("## Objectives\n\nSee [limits](#Limits) and [the readme](../README.md).\n\n## Exercise 1.1"),
        new_markdown_cell("LLaDA reaches 70.3 % on GSM8K (arXiv 2502.09992, Table 1). `dl.ledger.record` checks ours."),
        new_code_cell(
            "import torch\nimport dlmlab as dl\nprint(torch.ones(2), dl.ledger.LedgerError)",
            execution_count=1,
            outputs=[new_output("stream", name="stdout", text="tensor([1., 1.])\n")],
        ),
        new_code_cell(
            "torch.ones(1)",
            execution_count=2,
            outputs=[new_output("display_data", data=figure, metadata=metadata)],
        ),
        new_markdown_cell("## Signature result\n\n## Limits\n\n## Recap"),
    ]
    spec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": spec, "language_info": {"name": "python"}})


# Sentences with a result that nothing on the page quotes or cites.
UNSOURCED = (
    "17 of 32 came out right",
    "the bound equals all 43 equations",
    "it finds forty wrong answers",
    "it is right in nine of the ten runs",
    "seven in ten of them are masks",
    "that is 12 points more",
    "it gains two points",
    "three nats of it are slack",
    "it is 2.4 × as fast",
    "it takes ×3",
    "four times as many forwards",
    "a quarter of the weights suffice",
    "it is twice as fast",
    "the error halves",
    "as [notebook 01](01_sampling.ipynb) shows, 41 % are right",
    "<!--stored:t:a:.0%-->40%<!--/--> against 41 %",
)


# What a mutation may do: set the source, the metadata or the outputs of one cell (counted from 0), or anything else.


def says(cell: int, source: str) -> Callable:
    return lambda nb: nb.cells[cell].update(source=source)


def adds(cell: int, text: str) -> Callable:
    return lambda nb: nb.cells[cell].update(source=nb.cells[cell].source + text)


def tagged(*tags: str) -> Callable:
    return lambda nb: nb.cells[4].metadata.update(tags=list(tags))


def outputs(cell: int, *made: NotebookNode) -> Callable:
    return lambda nb: nb.cells[cell].update(outputs=list(made))


def image(**metadata: dict) -> NotebookNode:
    return new_output("display_data", data={"image/png": PNG, "text/plain": "<Figure size 640x480>"}, metadata=metadata)


def stream(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def same_ids(nb: NotebookNode) -> None:
    nb.cells[1].id = nb.cells[0].id


def old_format(nb: NotebookNode) -> None:
    nb.nbformat_minor = 4


def no_cell_type(nb: NotebookNode) -> None:
    nb.cells[4].pop("outputs")


def cleared(nb: NotebookNode) -> None:
    for cell in nb.cells[4:6]:
        cell.update(execution_count=None, outputs=[])


def swapped(nb: NotebookNode) -> None:
    nb.cells[4].execution_count, nb.cells[5].execution_count = 2, 1


def no_code(nb: NotebookNode) -> None:
    del nb.cells[4:6]


def many_outputs(nb: NotebookNode) -> None:
    nb.cells[4].outputs = [stream("x" * 90_000) for _ in range(4)]


def attached(nb: NotebookNode) -> None:
    nb.cells[1].attachments = {"a.png": {"image/png": PNG}}


def reordered(nb: NotebookNode) -> None:
    nb.cells[6].source = "## Limits\n\n## Signature result\n\n## Recap"


ERROR = new_output("error", ename="NameError", evalue="x", traceback=["NameError: x"])
ECHO = image(**{"image/png": {"alt": "a line"}})
ECHO.data["text/plain"] = "<figure: a line>"
MISLEADING = new_output("display_data", data={"text/html": "<img src='a.png' alt=''>"})

# gate, the mutation, what its message must say
BAD = [
    (gates.gate_nbformat, same_ids, "occurs twice"),
    (gates.gate_nbformat, old_format, "no cell ids"),
    (gates.gate_nbformat, no_cell_type, "not valid"),
    (gates.gate_kernelspec, lambda nb: nb.metadata.kernelspec.update(name="my-env"), "my-env"),
    (gates.gate_counts, cleared, "None"),
    (gates.gate_counts, swapped, "[2, 1]"),
    (gates.gate_counts, no_code, "no code cell"),
    (gates.gate_errors, outputs(4, ERROR), "NameError"),
    (gates.gate_stderr, outputs(4, stream("UserWarning: old", name="stderr")), "UserWarning"),
    (gates.gate_size, outputs(4, stream("x" * 100_001)), "an output of"),
    (gates.gate_size, many_outputs, "the notebook has"),
    (gates.gate_base64, adds(1, f"\n![dot](data:image/png;base64,{PNG})"), "embeds a picture"),
    (gates.gate_base64, attached, "embeds a picture"),
    (gates.gate_alt_text, outputs(5, image(), stream("the line rises")), "without alt text"),
    (gates.gate_alt_text, outputs(5, image(**{"image/png": {"alt": "a line"}})), "text twin"),
    (gates.gate_alt_text, outputs(5, ECHO), "text twin"),
    (gates.gate_alt_text, adds(1, "\n![](../README.md)"), "without alt text"),
    (gates.gate_alt_text, adds(1, "\n<img src='../README.md'>"), "without alt text"),
    (gates.gate_alt_text, outputs(4, MISLEADING), "<img> without alt text"),
    (gates.gate_headings, says(0, "## Sampling\n\nMore steps give better text."), "must be an H1"),
    (gates.gate_headings, adds(0, "\n\n### Too deep"), "jumps from H1 to H3"),
    (gates.gate_links, adds(1, "\n[next](02_missing.ipynb)"), "no such file"),
    (gates.gate_links, adds(1, "\n[up](#No-such-heading)"), "no such heading"),
    (gates.gate_links, adds(1, "\n[limits](#limits)"), "no such heading"),
    (gates.gate_links, adds(1, "\n[readme](../README.md#nowhere)"), "no such heading"),
    (gates.gate_imports, adds(4, "\nimport pandas as pd"), "imports pandas"),
    (gates.gate_imports, adds(4, "\ndef f():\n    from scipy.stats import norm"), "imports scipy"),
    (gates.gate_imports, says(5, "x = = 1"), "does not parse"),
    (gates.gate_dlmlab_names, says(5, "dl.ledger.no_such_name(1)"), "dlmlab.ledger.no_such_name does not exist"),
    (gates.gate_dlmlab_names, says(5, "from dlmlab.ledger import nothing"), "dlmlab.ledger.nothing does not exist"),
    (gates.gate_dlmlab_names, says(5, "import dlmlab.ledger as L\nL.no_such_name"), "dlmlab.ledger.no_such_name"),
    (gates.gate_dlmlab_names, says(5, "dl.ledger._write"), "private"),
    (gates.gate_dlmlab_names, says(5, "dl.ledger.LedgerError.no_such_name"), "does not exist"),
    (gates.gate_dlmlab_names, adds(3, " See `dl.nothing.here`."), "dlmlab.nothing does not exist"),
    (gates.gate_network, says(5, "!ls"), "runs '!ls'"),
    (gates.gate_network, says(5, "files = !ls"), "runs"),
    (gates.gate_network, says(5, "%pip install torch"), "runs '%pip"),
    (gates.gate_network, says(5, "import urllib.request"), "imports urllib"),
    (gates.gate_network, says(5, "dl.load('GSAI-ML/LLaDA-8B-Instruct')"), "GSAI-ML"),
    (gates.gate_network, says(5, "dl.load('hub:GSAI-ML/LLaDA-8B-Instruct')"), "GSAI-ML"),
    (gates.gate_network, says(5, "import os\nos.system('ls')"), "calls system"),
    (gates.gate_network, says(5, "torch.hub.load_state_dict_from_url('https://x.org/w.pt')"), "https://x.org"),
    (gates.gate_private, says(5, "open('/home/anna/x.txt')"), "absolute path"),
    (gates.gate_private, outputs(4, stream(r"C:\Users\anna\x.txt")), "absolute path"),
    (gates.gate_private, outputs(4, stream(f"saved in {ROOT}/data")), "path of this machine"),
    (gates.gate_private, adds(4, "\ntoken = 'hf_" + "a1B2" * 8 + "'"), "access token"),
    (gates.gate_private, lambda nb: nb.metadata.update(source="/home/anna/course"), "metadata contains an absolute"),
    (gates.gate_skips, tagged("nbval-skip"), "marked skip"),
    (gates.gate_skips, tagged("raises-exception"), "marked raises-exception"),
    (gates.gate_skips, says(4, "# NBVAL_SKIP\n1"), "marked skip"),
    (gates.gate_skips, tagged("nbval-ignore-output"), "ignore their output"),
    (gates.gate_skips, says(4, "# NBVAL_IGNORE_OUTPUT\n1"), "ignore their output"),
    (gates.gate_contract, says(0, "# Sampling"), "one-sentence claim"),
    (gates.gate_contract, says(1, "Minutes: 20, memory: 1 GB, prerequisites: none"), "does not say: difficulty"),
    (gates.gate_contract, says(6, "## Signature result\n\n## Recap"), "'limits'"),
    (gates.gate_contract, says(2, "## Objectives"), "'exercise'"),
    (gates.gate_contract, reordered, "in the order"),
    (gates.gate_cell_length, says(4, "1\n" * 26), "26 lines"),
    (gates.gate_answers, adds(3, "\n\n**Question.** Why?"), "asks without an answer: 'Why?'"),
    (gates.gate_answers, adds(3, "\n\n**Question.** Why?\n\n<details><summary>Answer</summary>\n</details>"), "asks"),
    (gates.gate_prose_numbers, adds(3, " Ours reaches 93 %."), "'93 %'"),
    (gates.gate_prose_numbers, says(3, "- Ours is `fast`.\n- It gains 1.8 points."), "'1.8'"),
    *((gates.gate_prose_numbers, says(3, f"Measured: {said}."), "no source") for said in UNSOURCED),
    (gates.gate_prose_numbers, says(3, "Two rules:\n\n| rule | score |\n|--|--|\n| random | 0.41 |"), "'0.41'"),
]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Give a folder `notebooks` beside a README, so that the relative links of the good notebook resolve."""
    (tmp_path / "README.md").write_text("# Course\n\n## How to start\n", encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    return tmp_path / "notebooks"


def test_there_is_a_notebook():
    assert NOTEBOOKS, "notebooks/ is empty: no gate has checked anything"


@pytest.mark.parametrize("gate", gates.ALL, ids=lambda gate: gate.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_passes(gate, path):
    problems = gate(read(path), path)
    assert not problems, "\n".join(["", f"{path.name}: {gate.__doc__}", *problems])


@pytest.mark.parametrize("gate", gates.ALL, ids=lambda gate: gate.__name__)
def test_gate_accepts_the_good_notebook(gate, folder):
    assert gate(good_notebook(), folder / "01_good.ipynb") == []


@pytest.mark.parametrize("gate, mutate, message", BAD, ids=lambda value: getattr(value, "__name__", None))
def test_gate_rejects_the_bad_notebook(gate, mutate, message, folder):
    nb = deepcopy(good_notebook())
    mutate(nb)
    problems = gate(nb, folder / "01_bad.ipynb")
    assert any(message in problem for problem in problems), f"{message!r} is not in {problems}"


def test_every_gate_is_listed_and_has_a_bad_notebook():
    modules = (gates, gates_code, gates_text)
    defined = {value for module in modules for name, value in vars(module).items() if name.startswith("gate_")}
    assert defined == set(gates.ALL)
    assert defined == {gate for gate, _, _ in BAD}


def test_objects_that_only_look_bad_are_accepted(folder):
    nb = good_notebook()
    nb.cells[3].source += "\n\nExercise 1.2 uses `t = 0.5`, torch 2.6 and $p = 0.25$.\n\n```\naccuracy 0.93\n```"
    nb.cells[4].source = 'text = """why?\n% of what\n# Not a heading\n"""'
    nb.cells[5].source = "dl.load('../README.md')\nprint('https://arxiv.org/abs/2502.09992')"
    path = folder / "01_good.ipynb"
    assert [problem for gate in gates.ALL if gate is not gates.gate_dlmlab_names for problem in gate(nb, path)] == []


def test_signature_result_is_not_demanded_of_the_first_notebook(folder):
    nb = good_notebook()
    nb.cells[6].source = "## Limits\n\n## Recap"
    assert gates.gate_contract(nb, folder / "00_start_here.ipynb") == []
    assert gates.gate_contract(nb, folder / "01_sampling.ipynb") == ["no heading says 'signature result'"]


def test_a_missing_id_in_a_file_is_not_repaired_before_the_gate_sees_it(folder):
    path = folder / "01_bad.ipynb"
    nb = good_notebook()
    path.write_text(nbformat.writes(nb).replace(f'"id": "{nb.cells[0].id}",', ""), encoding="utf-8")
    assert any("None is missing" in problem for problem in gates.gate_nbformat(read(path), path))


def test_ignored_output_needs_a_reason(folder, monkeypatch):
    nb = good_notebook()
    tagged("nbval-ignore-output")(nb)
    monkeypatch.setitem(gates.IGNORED_OUTPUTS, "01_good.ipynb", ["prints the date"])
    assert gates.gate_skips(nb, folder / "01_good.ipynb") == []


def test_all_reasons_belong_to_existing_notebooks():
    assert set(gates.IGNORED_OUTPUTS) <= {path.name for path in NOTEBOOKS}


def test_the_sanitizer_is_live():
    assert gates.sanitizer_problems((Path(__file__).parent / "sanitize.cfg").read_text(encoding="ascii")) == []


@pytest.mark.parametrize(
    "text, message",
    [
        ("regex: a\nreplace: b\n\nregex: c\nreplace:\n", "2 rules are declared, 1 are live"),
        ("regex: a\n\nreplace: b\nregex: c\nreplace: d\n", "2 rules are declared, 1 are live"),
        ("regex: (a\nreplace: b\n", "does not compile"),
        ("", "no live rule"),
    ],
    ids=["no space after replace", "blank line between", "bad regex", "empty"],
)
def test_a_dead_sanitizer_rule_is_reported(text, message):
    assert any(message in problem for problem in gates.sanitizer_problems(text))


def test_the_gate_about_private_paths_works_for_a_user_without_name_and_home(monkeypatch):
    def unknown(*args):
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", unknown)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert gates_code.gate_private(good_notebook(), ROOT / "notebooks" / "00_a.ipynb") == []


@pytest.mark.parametrize(
    "said",
    [
        "<!--stored:01_sampling:a:.1f-->5.0<!--/--> points, which is <!--ledger:b:.0%-->40%<!--/--> of it",
        "a matrix of 5 × 5, five rows of them, and 500 problems",
        "a 2:4 pattern keeps two of every four weights",
        "they report 70.3 % (arXiv 2502.09992, Table 1)",
        "a perfect model pays exactly **0 nats** for it",
        "one of them, in two blocks, of which a third mixes both",
    ],
)
def test_what_is_quoted_cited_or_a_setting_needs_no_source(said, folder):
    nb = good_notebook()
    nb.cells[3].source = f"Here is what {said}."
    assert not gates.gate_prose_numbers(nb, folder / "01_good.ipynb")
