"""Gates about the code of a notebook: imports, names, network and what belongs to one person's machine."""

import ast
import getpass
import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from tests.notebooks.cells import labelled, magics, output_texts, parsed

ROOT = Path(__file__).resolve().parents[2]
THIRD_PARTY = {"dlmlab", "torch", "numpy", "matplotlib", "ipywidgets", "IPython"}
NETWORK_MODULES = set("urllib http socket ssl ftplib smtplib requests httpx aiohttp huggingface_hub subprocess".split())
NETWORK_CALLS = set("urlopen urlretrieve snapshot_download hf_hub_download load_dataset system popen".split())
LOADERS = {"load", "from_pretrained"}
SHOWS = {"print", "display", "HTML", "Markdown"}
HUB_ID = re.compile(r"(hub:)?[A-Za-z0-9][\w.\-]*/[\w.\-]+")
ABSOLUTE = re.compile(
    r"(?<![\w./~:<])/(home|Users|root|tmp|private|var|opt|mnt|srv|usr|content|workspace)/\w|(?<!\w)[A-Za-z]:\\\w"
)
TOKEN = re.compile(r"\b(hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_\-]{20,}|AKIA[A-Z0-9]{16})\b")
# Account names that are ordinary words: finding one says nothing about anybody.
COMMON_USERS = set("root user runner jovyan admin test student learner teacher model ubuntu".split())
DOTTED = re.compile(r"(?<![\w./])(?:dl|dlmlab)(?:\.[A-Za-z_]\w*)+")


def _trees(nb: NotebookNode) -> Iterator[tuple[str, ast.Module]]:
    for name, cell in labelled(nb, "code"):
        try:
            yield name, parsed(cell)
        except SyntaxError:
            continue  # gate_imports reports it


def gate_imports(nb: NotebookNode, path: Path) -> list[str]:
    """11. Code parses and imports only dlmlab, torch, numpy, matplotlib, ipywidgets, IPython and the stdlib."""
    problems = []
    for name, cell in labelled(nb, "code"):
        try:
            modules = imported_modules(parsed(cell))
        except SyntaxError as error:
            problems.append(f"{name} does not parse: {error.msg}")
            continue
        problems += [f"{name} imports {module}" for module in sorted(modules - THIRD_PARTY - sys.stdlib_module_names)]
    return problems


def imported_modules(tree: ast.AST) -> set[str]:
    """Collect the top-level names of all modules that a piece of code imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0] if not node.level else ".")
    return found


def gate_dlmlab_names(nb: NotebookNode, path: Path) -> list[str]:
    """12. Every `dlmlab` name in code and prose exists and is public."""
    problems, aliases = [], {"dl": "dlmlab", "dlmlab": "dlmlab"}
    for name, tree in _trees(nb):
        aliases |= {local: full for full, local in _dlmlab_imports(tree) if local}
        chains = [full for full, _ in _dlmlab_imports(tree)] + [_chain(node, aliases) for node in _outermost(tree)]
        problems += [f"{name}: {problem}" for chain in chains if chain and (problem := _unknown(chain))]
    for name, cell in labelled(nb, "markdown"):
        chains = [re.sub(r"^dl\.", "dlmlab.", chain) for chain in DOTTED.findall(cell.source)]
        problems += [f"{name}: {problem}" for chain in chains if (problem := _unknown(chain))]
    return problems


def _dlmlab_imports(tree: ast.AST) -> list[tuple[str, str | None]]:
    # (full dotted name, the local name it is bound to); a plain `import dlmlab.x` binds only `dlmlab`.
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(a.name, a.asname) for a in node.names if a.name.partition(".")[0] == "dlmlab"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dlmlab":
            found += [(f"{node.module}.{a.name}", a.asname or a.name) for a in node.names]
    return found


def _outermost(tree: ast.AST) -> Iterator[ast.Attribute]:
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and id(node) not in inner)


def _chain(node: ast.expr, aliases: dict[str, str]) -> str | None:
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    known = isinstance(node, ast.Name) and node.id in aliases
    return ".".join([aliases[node.id], *reversed(names)]) if known else None


def _unknown(chain: str) -> str | None:
    # Follow the dotted name through modules and classes; what a function or an instance has is for the run to tell.
    if re.search(r"\._(?!_)", chain):
        return f"{chain} is private"
    found = importlib.import_module("dlmlab")
    for depth, name in enumerate(chain.split(".")[1:], 2):
        prefix = ".".join(chain.split(".")[:depth])
        if inspect.ismodule(found):
            try:
                found = getattr(found, name) if hasattr(found, name) else importlib.import_module(prefix)
            except ImportError:
                return f"{prefix} does not exist"
        elif inspect.isclass(found) and not hasattr(found, name) and name not in inspect.get_annotations(found):
            return f"{prefix} does not exist"
        else:
            return None
    return None


def gate_network(nb: NotebookNode, path: Path) -> list[str]:
    """13. No network, no shell: no `!`, only the magics %matplotlib and %config, no download or hub id."""
    problems = []
    for name, cell in labelled(nb, "code"):
        lines = [line for line in magics(cell.source) if not re.match(r"%(matplotlib|config)\b", line)]
        problems += [f"{name} runs {line!r}" for line in lines]
    for name, tree in _trees(nb):
        problems += [f"{name} imports {module}" for module in sorted(imported_modules(tree) & NETWORK_MODULES)]
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        problems += [f"{name} calls {problem}" for call in calls if (problem := _remote(call, path.parent))]
    return problems


def _remote(call: ast.Call, folder: Path) -> str | None:
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    strings = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    if function in NETWORK_CALLS:
        return function
    hubs = [s for s in strings if HUB_ID.fullmatch(s) and not (folder / s).exists()] if function in LOADERS else []
    urls = [s for s in strings if re.match(r"https?://", s)] if function not in SHOWS else []
    return next((f"{function}({s!r})" for s in hubs + urls), None)


def account() -> set[str]:
    try:
        return {getpass.getuser()}
    except (KeyError, OSError):  # the user of a container may have neither name nor home
        return set()


def gate_private(nb: NotebookNode, path: Path) -> list[str]:
    """14. No absolute path, user name or access token in any source, output or metadata."""
    here = {str(ROOT), os.path.expanduser("~"), str(path.resolve().parent)} - {"/", "~"}
    users = account() - COMMON_USERS
    patterns = {
        "an absolute path": ABSOLUTE,
        "what looks like an access token": TOKEN,
        "a path of this machine": re.compile("|".join(rf"{re.escape(folder)}(?!\w)" for folder in here)),
        "the name of this account": re.compile("|".join(rf"\b{re.escape(user)}\b" for user in users) or r"(?!)"),
    }
    return [
        f"{name} contains {what}: {match[0]!r}"
        for name, text in _texts(nb)
        for what, pattern in patterns.items()
        if (match := pattern.search(text))
    ]


def _texts(nb: NotebookNode) -> Iterator[tuple[str, str]]:
    yield "the metadata", json.dumps(nb.metadata)
    for cell_type in ("markdown", "code", "raw"):
        for name, cell in labelled(nb, cell_type):
            yield name, cell.source
            for output in cell.get("outputs", []):
                yield f"an output of {name}", "\n".join([*output_texts(output), *output.get("traceback", [])])
