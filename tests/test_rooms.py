"""The rooms of the package: a room imports only itself and the rooms before it (`dlmlab.ROOMS`)."""

import ast
from collections import Counter
from pathlib import Path

import pytest

import dlmlab
from dlmlab.study import TABLES

PACKAGE, TESTS = Path(dlmlab.__file__).parent, Path(__file__).parent
FILES = {path.relative_to(PACKAGE).parts: path for path in PACKAGE.rglob("*.py")}
OPEN_TO_ALL = {"paths", "limits", "guard"}  # where things lie and what may be asked for: they import no room


def imported(path: Path) -> set[tuple[str, ...]]:
    """List what a file imports of the package, `dlmlab.a.b` as (a, b)."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
    return {tuple(name.split(".")[1:]) for name in names if name.startswith("dlmlab.")}


@pytest.mark.parametrize("room", dlmlab.ROOMS)
def test_a_room_imports_only_itself_and_the_rooms_before_it(room):
    allowed = {*dlmlab.ROOMS[: dlmlab.ROOMS.index(room) + 1], *OPEN_TO_ALL}
    files = {parts: path for parts, path in FILES.items() if parts[0] == room}
    assert files
    for parts, path in files.items():
        assert {name[0] for name in imported(path)} <= allowed, "/".join(parts)


def test_the_model_and_its_decoders_do_not_know_the_task():
    """What trains and decodes sees ids. The stream of batches makes them; a checkpoint compares its tokenizer's."""
    for parts, path in FILES.items():
        if parts[0] in ("network", "objective", "decode") and parts[-1] not in ("batches.py", "checkpoint.py"):
            assert "task" not in {name[0] for name in imported(path)}, "/".join(parts)


def test_a_lab_imports_no_other_lab():
    labs = {parts[-1].removesuffix(".py"): path for parts, path in FILES.items() if parts[:2] == ("study", "labs")}
    assert len(labs) > 1
    for name, path in labs.items():
        others = {found[-1] for found in imported(path) if found[:2] == ("study", "labs")}
        assert {other.split("_")[0] for other in others} <= {name.split("_")[0]}, name


def test_a_short_name_means_one_module():
    inside = Counter(
        parts[-1]
        for parts in FILES
        if parts[0] in dlmlab.ROOMS and parts[-1] != "__init__.py" and parts[-2] not in dlmlab.CLOSED
    )
    assert max(inside.values()) == 1, inside.most_common(3)
    packages = {part for parts in FILES for part in parts[:-1]}
    assert packages.isdisjoint(name.removesuffix(".py") for name in inside)
    assert dlmlab.sampling.__name__ == "dlmlab.decode.sampling"
    assert dlmlab.gptq.__name__ == "dlmlab.compress.quant.gptq"  # a package of a room
    assert dlmlab.quant.__name__ == "dlmlab.compress.quant"


TOGETHER = {  # test files about a room's modules together
    "network": {"other_tools"},
    "decode": {"company", "logits"},
    "compress": {"devices"},
    "study": {"tables"},  # every stored table, repeated in part
}
PROVEN_ELSEWHERE = {"checks": "by tests/mutants"}


PARTS = [("compress", "quant"), ("compress", "joint"), ("study", "labs")]
FOLDERS = [*((room,) for room in dlmlab.ROOMS), *PARTS]  # `bench` has one test file for all


@pytest.mark.parametrize("folder", FOLDERS, ids="/".join)
def test_every_module_has_a_test_file_and_every_test_file_a_module(folder):
    """Modules of `study` that make tables are proven by `test_tables`; what else they have, one file a notebook."""
    inside = {parts[len(folder)].removesuffix(".py") for parts in FILES if parts[: len(folder)] == folder}
    apart = {below[-1] for below in FOLDERS if below[:-1] == folder}
    modules = inside - {"__init__", *PROVEN_ELSEWHERE} - apart
    tables = {name for name in modules if folder[0] == "study" and name in TABLES.values()}
    files = {path.stem.removeprefix("test_") for path in TESTS.joinpath(*folder).glob("test_*.py")}
    strangers = files - modules - TOGETHER.get(folder[-1], set()) - {name.split("_")[0] for name in tables}
    assert (sorted(modules - tables - files), sorted(strangers)) == ([], [])


def test_every_module_lives_in_a_room():
    outside = {parts[0] for parts in FILES if parts[0] not in dlmlab.ROOMS}
    assert outside == {"__init__.py", "__main__.py", "cli.py"} | {f"{name}.py" for name in OPEN_TO_ALL}
