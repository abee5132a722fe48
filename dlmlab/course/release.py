"""What a class gets, made from the one source: student copies, solution copies, nbgrader assignments.

    python -m dlmlab release --out DIR     DIR/student, DIR/solution, DIR/nbgrader/source/01_sampling/01_sampling.ipynb

Decisions
* The notebooks of the course hold stubs, so a student copy is the notebook without outputs. Nothing has to be taken
  out, and nothing can be forgotten: no solution is written in a notebook.
* A solution is the function of the package. It stands in the notebook as source, with the names that it uses imported
  inside it, so that the cell runs anywhere.
* nbgrader's source notebook has the solution between its marks, a locked cell with the check, and a locked cell with
  `use`, so that everything after an unsolved exercise still runs when it is graded.
* The visible test is the specification. The hidden one asks nothing new: the same check, with other random inputs.
* Points are the difficulty of the exercise.

Source of the format: nbgrader's documentation, metadata schema 3.
"""

import ast
import copy
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from dlmlab import paths
from dlmlab.course.exercises import Exercise, registry

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HIDDEN_BEGIN, HIDDEN_END = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
SHIFTS = (1, 2, 3)  # of the random inputs in the hidden test
USE = re.compile(r"^(\w+) = dl\.exercises\.use\(\s*\"([\d.]+)\",\s*(\w+)\s*\)[^\n]*$", re.MULTILINE)


def student(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook without outputs and execution counts."""
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return made


def solved(notebook: NotebookNode) -> NotebookNode:
    """Return a student copy in which every stub is the course's own function."""
    return _filled(notebook, lambda exercise: answer(exercise))


def answered(notebook: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """Return a student copy with the functions of somebody: source text by exercise, a whole `def` each."""
    return _filled(notebook, lambda exercise: answers.get(exercise.id))


def _filled(notebook: NotebookNode, source: Callable[[Exercise], str | None]) -> NotebookNode:
    made = student(notebook)
    for cell, exercise, start, stop in stubs(made):
        if (text := source(exercise)) is not None:
            cell.source = _replace(cell.source, start, stop, text)
    return made


def stubs(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, Exercise, int, int]]:
    """Go through the stub cells: cell, exercise, and the lines of the function, from `start` to before `stop`."""
    known = {ast.parse(e.stub).body[-1].name: e for e in registry().values() if e.stub.strip()}
    used = {id for cell in notebook.cells for _, id, _ in USE.findall(cell.source)}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for node in ast.parse(cell.source).body:
            exercise = known.get(node.name) if isinstance(node, ast.FunctionDef) else None
            if exercise and exercise.id in used:
                yield cell, exercise, node.lineno - 1, node.end_lineno
                break  # a cell holds one exercise


def _replace(source: str, start: int, stop: int, text: str) -> str:
    lines = source.split("\n")
    return "\n".join([*lines[:start], *text.rstrip("\n").split("\n"), *lines[stop:]])


# ------------------------------------------------------------------------------------------------ the solution


def answer(exercise: Exercise, marks: tuple[str, str] | None = None) -> str:
    """Give the course's own function as source that runs in a notebook: signature and docstring of the stub, then what
    it imports, then the body. `marks` stand around what is not in the stub.

    Where the course's function has more parameters than the stub, its own signature is shown, without annotations.
    """
    fn = inspect.unwrap(exercise.course())
    source = textwrap.dedent(inspect.getsource(fn))
    own, given = ast.parse(source).body[0], ast.parse(exercise.stub).body[-1]
    head = exercise.stub.split("\n")[given.lineno - 1 : given.body[0].end_lineno]
    if [a.arg for a in _parameters(own)] != [a.arg for a in _parameters(given)]:
        head = [f"def {own.name}({', '.join(_plain(fn))}):", *head[given.body[0].lineno - given.lineno :]]
    body = own.body[1:] if ast.get_docstring(own) else own.body
    lines = source.split("\n")[body[0].lineno - 1 : own.end_lineno]
    inner = [*imports(fn, body), *textwrap.dedent("\n".join(lines)).split("\n")]
    inner = [marks[0], *inner, marks[1]] if marks else inner
    return "\n".join([*head, *textwrap.indent("\n".join(inner), "    ").split("\n")]) + "\n"


def _parameters(node: ast.FunctionDef) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def _plain(fn: Callable) -> Iterator[str]:
    keyword = False
    for p in inspect.signature(fn).parameters.values():
        if p.kind is p.KEYWORD_ONLY and not keyword:
            keyword = True
            yield "*"
        yield p.name if p.default is p.empty else f"{p.name}={p.default!r}"


def imports(fn: Callable, body: list[ast.stmt]) -> list[str]:
    """List the import lines for the names of its module that the body of a function reads."""
    module, found = inspect.getmodule(fn), []
    walked = [node for statement in body for node in ast.walk(statement)]
    read = {node.id for node in walked if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for name in sorted(read & vars(module).keys()):
        value = vars(module)[name]
        if isinstance(value, ModuleType):
            whole, _, last = value.__name__.rpartition(".")
            plain = f"import {value.__name__}" + (f" as {name}" if name != value.__name__ else "")
            found.append(f"from {whole} import {last}" if whole and last == name else plain)
        else:
            home = sys.modules.get(getattr(value, "__module__", None) or "", module)
            home = home if getattr(home, name, None) is value else module
            found.append(f"from {home.__name__} import {name}")
    return found


# ------------------------------------------------------------------------------------------------ nbgrader


def assignment(notebook: NotebookNode) -> NotebookNode:
    """Return nbgrader's source notebook: solutions between its marks, locked cells with the tests."""
    made, cells = student(notebook), []
    places = {id(cell): (exercise, start, stop) for cell, exercise, start, stop in stubs(made)}
    for cell in made.cells:
        if id(cell) not in places:
            cells.append(_locked(cell))
            continue
        exercise, start, stop = places[id(cell)]
        lines = cell.source.split("\n")
        before, after = "\n".join(lines[:start]).strip(), "\n".join(lines[stop:]).strip()
        if before:
            cells.append(_locked(new_code_cell(before, id=f"{cell.id}-before"[:64])))
        name, grade_id = ast.parse(exercise.stub).body[-1].name, exercise.id.replace(".", "-")
        cell.source = answer(exercise, marks=(BEGIN, END))
        cell.metadata["nbgrader"] = _metadata(f"answer-{grade_id}", solution=True)
        test = new_code_cell(_test(exercise.id, name), id=f"test-{grade_id}")
        test.metadata["nbgrader"] = _metadata(f"test-{grade_id}", grade=True, points=exercise.difficulty)
        cells += [cell, test]
        if after:
            cells.append(_locked(new_code_cell(after, id=f"{cell.id}-after"[:64])))
    made.cells = cells
    return made


def _test(id: str, name: str) -> str:
    hidden = "\n".join(f'dl.exercises.grade("{id}", {name}, shift={shift})' for shift in SHIFTS)
    return f'dl.exercises.grade("{id}", {name})\n{HIDDEN_BEGIN}\n{hidden}\n{HIDDEN_END}'


def _locked(cell: NotebookNode) -> NotebookNode:
    if cell.cell_type == "code":
        cell.metadata["nbgrader"] = _metadata(f"cell-{cell.id}")
    return cell


def _metadata(grade_id: str, *, grade: bool = False, solution: bool = False, points: int | None = None) -> dict:
    kind = {"schema_version": 3, "grade_id": grade_id, "grade": grade, "solution": solution, "task": False}
    return kind | {"locked": not solution} | ({} if points is None else {"points": points})


# ------------------------------------------------------------------------------------------------ all of it


def leaks(made: NotebookNode) -> list[str]:
    """List the exercises whose solution stands in a notebook, whatever its comments, names of layout and blanks."""
    texts = [cell.source if cell.cell_type != "code" else ast.unparse(ast.parse(cell.source)) for cell in made.cells]
    whole, found = _squeezed("\n".join(texts)), []
    for exercise in registry().values():
        own = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(exercise.course())))).body[0]
        body = own.body[1:] if ast.get_docstring(own) else own.body
        if _squeezed("\n".join(map(ast.unparse, body))) in whole:
            found.append(exercise.id)
    return found


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def write(folder: Path, names: list[str] | None = None) -> list[Path]:
    """Write all three kinds for the notebooks of the course, or for those that begin with one of `names`.

    Returns the files. Raises `ValueError` outside a checkout, for a folder that holds something, and for a name that no
    notebook begins with.
    """
    sources = paths.notebooks(paths.checkout())
    for name in names or []:
        if not any(path.name.startswith(name) for path in sources):
            raise ValueError(f"no notebook begins with {name!r}; there are {', '.join(p.stem for p in sources)}")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: a release is written into a new folder, so that nothing old stays")
    written = []
    for path in sources:
        if names and not path.name.startswith(tuple(names)):
            continue
        notebook = nbformat.read(path, as_version=4)
        kinds = {
            folder / "student" / path.name: student(notebook),
            folder / "solution" / path.name: solved(notebook),
            folder / "nbgrader" / "source" / path.stem / path.name: assignment(notebook),
        }
        if found := leaks(kinds[folder / "student" / path.name]):
            raise ValueError(f"{path.name} holds the solution of {', '.join(found)}")
        for target, made in kinds.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            nbformat.validate(made)
            nbformat.write(made, target)
            written.append(target)
    (folder / "nbgrader" / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8", newline="\n")
    return written


CONFIG = """c = get_config()
c.CourseDirectory.course_id = "dlm"
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError"}
c.ExecutePreprocessor.timeout = 600
c.ExecutePreprocessor.kernel_name = "python3"
"""
