"""The course as pages to read without a kernel: what Jupyter Book builds them from.

    make site                                         build/site/_build/html/index.html
    make site ARGS="--repository https://github.com/OWNER/NAME"      with links to Colab and Binder

Decisions
* Jupyter Book makes the pages, navigation and search, from the stored outputs; nothing is executed. It lives in an
  environment of its own (`requirements-site.txt`), because it needs an older parser of Markdown than JupyterLab does.
* Alternative texts stand at the outputs of a notebook, where Jupyter Book does not look; they are copied to the cells.
* A widget without a kernel is a dead picture: its view is left out, and the picture and text beneath it, which show one
  of its states, stay.
* Formulas become MathML when the pages are made, so that nothing is fetched when they are read.
* The address of the repository is asked for and never guessed: without it there are no links to services.

Source: MyST-NB, cell metadata `mystnb`; Jupyter Book 1, `_toc.yml` and `launch_buttons`.
"""

import re
import shutil
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode, v4

from dlmlab import paths
from dlmlab.measure import store

WIDGET = "application/vnd.jupyter.widget-view+json"
REPOSITORY = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?")
CARDS = ("llada-mini", "llada-mini-b", "llama-mini", "llama-mini-b")  # model cards that pages refer to
RUNNING = """# Run it yourself

These pages show stored outputs. To change something, a kernel is needed.

* **Your machine:** two cores, 2 GB of disk, Python 3.11 or newer: `make lab`. No network afterwards.
* **Colab** needs a Google account and the network. It opens one notebook without the course, so put a first cell above
  it: `!git clone ADDRESS dlm-course && pip install ./dlm-course`, wait some minutes, restart the runtime.
* **Binder** needs the network and patience: it builds an image of about 2 GB from `environment.yml`, which takes many
  minutes the first time, gives one or two cores and forgets everything when it is closed.

Neither service was tried when this was written.
"""
FORMULAS = '''"""Formulas as MathML, which browsers show by themselves: MathJax would have to be fetched."""

from docutils import nodes
from latex2mathml.converter import convert


def inline(self, node):
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(self, node):
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True}
'''


def page(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook as its page shows it: alternative texts at the cells, widgets as the text of what they are.

    A cell has place for one such text: each further figure stands in a cell of its own, whose code is not shown.
    """
    made = nbformat.from_dict(notebook)
    made.metadata.pop("widgets", None)
    made.cells = [part for cell in made.cells for part in (_parts(cell) if cell.cell_type == "code" else [cell])]
    for cell in made.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                cell.metadata["mystnb"] = {"image": {"alt": output.metadata["image/png"]["alt"]}}
            if output.get("data", {}).pop(WIDGET, None) is not None:
                what = output.data.get("text/plain", "a widget")
                output.data["text/plain"] = f"{what}: moves where a kernel runs; one of its states is shown below."
            if "image/png" in output.get("data", {}):
                output.data.pop("text/plain", None)  # it repeats the alternative text
    return made


def _parts(cell: NotebookNode) -> list[NotebookNode]:
    """Cut a cell where its second figure begins, its third, and so on."""
    parts, figures = [cell], 0
    outputs, cell.outputs = cell.outputs, []
    for output in outputs:
        if "image/png" in output.get("data", {}):
            figures += 1
            if figures > 1:
                parts.append(v4.new_code_cell(metadata={"tags": ["remove-input"]}))
        parts[-1].outputs.append(output)
    return parts


def config(repository: str | None) -> str:
    """Write Jupyter Book's `_config.yml`. Raises `ValueError` for an address that is not one of a GitHub repository."""
    lines = [
        "title: Efficient diffusion language models",
        "author: ''",
        "copyright: ''",
        "only_build_toc_files: true",
        "execute: {execute_notebooks: 'off'}",
        "exclude_patterns: [_build, '**.ipynb_checkpoints']",
        "html: {use_issues_button: false, use_repository_button: false, home_page_in_navbar: true}",
        "parse: {myst_heading_anchors: 4}",
        "sphinx:",
        "  local_extensions: {formulas: _ext}",
        "  config:",
        "    language: en",
        "    html_math_renderer: mathml",
        "    suppress_warnings: [myst.header, myst.xref_missing, misc.highlighting_failure, mystnb.unknown_mime_type]",
    ]
    if repository is not None:
        _owner(repository)
        address = repository.removesuffix("/").removesuffix(".git")
        lines += [f"repository: {{url: '{address}', branch: main}}"]
        lines += [
            "launch_buttons: {colab_url: 'https://colab.research.google.com', binderhub_url: 'https://mybinder.org'"
        ]
        lines[-1] += ", notebook_interface: jupyterlab}"
    return "\n".join(lines) + "\n"


def _owner(repository: str) -> str:
    match = REPOSITORY.fullmatch(repository)
    if match is None:
        raise ValueError(f"--repository {repository!r}: https://github.com/OWNER/NAME is needed")
    return f"{match[1]}/{match[2]}"


def running(names: list[str], repository: str | None) -> str:
    """Write the page that says where the notebooks can be run, what each place needs, and links where there are any."""
    text = RUNNING.split("\n")
    if repository is None:
        return "\n".join([*text, "This copy of the pages was built without the address of a repository: no links.", ""])
    owner = _owner(repository)
    text += ["| notebook | Colab | Binder |", "|---|---|---|"]
    for name in names:
        colab = f"https://colab.research.google.com/github/{owner}/blob/main/notebooks/{name}.ipynb"
        binder = f"https://mybinder.org/v2/gh/{owner}/main?urlpath=" + quote(
            f"lab/tree/notebooks/{name}.ipynb", safe=""
        )
        text.append(f"| {name} | [open {name} in Colab]({colab}) | [open {name} in Binder]({binder}) |")
    return "\n".join([*text, ""])


def contents(names: list[str], guides: list[str]) -> str:
    """Write Jupyter Book's `_toc.yml`."""
    teaching = ["teaching/README", *guides, "teaching/misconceptions", "teaching/exam", "teaching/complaints"]
    parts = {
        "Notebooks": [f"notebooks/{name}" for name in names],
        "Teaching": teaching,
        "Models": [f"data/{name}/README" for name in CARDS],
        "Running": ["running"],
    }
    lines = ["format: jb-book", "root: README", "parts:"]
    for caption, files in parts.items():
        lines += [f"- caption: {caption}", "  chapters:", *(f"  - file: {file}" for file in files)]
    return "\n".join(lines) + "\n"


def write(folder: Path, repository: str | None = None) -> list[str]:
    """Write the source of the pages into a folder, which is emptied first if it is one of ours. Returns the pages.

    Raises `ValueError` outside a checkout, for a folder that holds something else, and for a wrong address.
    """
    root = paths.checkout()
    if folder.exists() and any(folder.iterdir()) and not (folder / "_toc.yml").exists():
        raise ValueError(f"{folder} holds something else: give a new folder")
    made = {"_config.yml": config(repository)}
    shutil.rmtree(folder, ignore_errors=True)
    notebooks = paths.notebooks(root)
    names, guides = [path.stem for path in notebooks], sorted((root / "teaching" / "guides").glob("*.md"))
    for path in notebooks:
        made[f"notebooks/{path.name}"] = nbformat.writes(page(nbformat.read(path, as_version=4)))
    for path in (
        root / "README.md",
        *(root / "teaching").rglob("*.md"),
        *(paths.DATA / n / "README.md" for n in CARDS),
    ):
        made[path.relative_to(root).as_posix()] = path.read_text(encoding="utf-8")
    made["_toc.yml"] = contents(names, [f"teaching/guides/{path.stem}" for path in guides])
    made["running.md"] = running(names, repository)
    made["_ext/formulas.py"] = FORMULAS
    for name, text in made.items():
        store.replace(folder / name, text)
    for name in ("LICENSE", "LICENSE-docs.md", "teaching/misconceptions.toml", *(f"data/{n}/loss.png" for n in CARDS)):
        shutil.copy(root / name, folder / name)
    return sorted(name for name in made if name.endswith((".md", ".ipynb")))
