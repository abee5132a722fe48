"""pyproject.toml, environment.yml and constraints.txt say the same, and the code imports what they declare."""

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from dlmlab import paths
from tests.notebooks.cells import labelled, parsed, read
from tests.notebooks.gates_code import imported_modules

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = [Requirement(text) for text in PROJECT["dependencies"]]
TEST_EXTRA = [Requirement(text) for text in PROJECT["optional-dependencies"]["test"]]
BROWSER_EXTRA = [Requirement(text) for text in PROJECT["optional-dependencies"]["browser"]]  # may be absent
HARNESS_EXTRA = [Requirement(text) for text in PROJECT["optional-dependencies"]["harness"]]  # may be absent
CONSTRAINTS_EXTRA = [Requirement(text) for text in PROJECT["optional-dependencies"]["constraints"]]
DEVICE_EXTRA = [Requirement(text) for text in PROJECT["optional-dependencies"]["device"]]
DEVICE_EXTRA += [Requirement("torchao"), Requirement("optimum")]  # in no extra: notebook 18 says why
OPTIONAL = (
    HARNESS_EXTRA + CONSTRAINTS_EXTRA + DEVICE_EXTRA
)  # imported inside functions, with a sentence where they are absent
DECLARED = DEPENDENCIES + TEST_EXTRA
OURS = {"dlmlab", "tests", "conftest"}

# Declared without an import, because a command, a plugin or a library of the list needs it.
TOOLS = {
    "jupyterlab": "make lab",
    "ipykernel": "the kernel of every notebook",
    "numpy": "torch needs it for tensor.numpy()",
    "ruff": "make lint",
    "pytest-xdist": "the processes of make test",
    "peft": "LoRA adapters on our models, as other people's code adds them",
}


# Reads the metadata of every installed distribution: a second each time.
distributions_of = functools.cache(packages_distributions)


def conda_environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def constraints() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    assert all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin in pins), "every constraint is one exact version"
    return {canonicalize_name(pin.name): Version(str(pin.specifier)[2:]) for pin in pins}


def oldest_python() -> Version:
    """Read the minimum of `requires-python`, as the version that a pip of that Python compares: 3.11 is 3.11.0."""
    [minimum] = [s.version for s in SpecifierSet(PROJECT["requires-python"]) if s.operator == ">="]
    return Version(minimum)


def refusing(pins: dict[str, Version], python: Version, installed) -> list[str]:
    """Name the pins whose distribution, installed in just that version, says that it does not run on this Python."""
    metadata = [d.metadata for d in installed if pins.get(canonicalize_name(d.metadata["Name"])) == Version(d.version)]
    asked = {f"{m['Name']}=={m['Version']}": m["Requires-Python"] for m in metadata}
    return [f"{name} asks for {spec}" for name, spec in asked.items() if python not in SpecifierSet(spec or "")]


def imports_by_file() -> dict[str, set[str]]:
    """Collect the third-party modules that each Python file and each notebook imports."""
    files = [ROOT / "conftest.py", *(ROOT / "dlmlab").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    found = {path: imported_modules(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    for path in paths.notebooks(ROOT):
        found[path] = set().union(*(imported_modules(parsed(cell)) for _, cell in labelled(read(path), "code")))
    local = OURS | sys.stdlib_module_names | {"."}
    return {str(path.relative_to(ROOT)): modules - local for path, modules in found.items()}


def undeclared(modules: set[str], declared: list[Requirement]) -> set[str]:
    """Keep the modules that no declared distribution provides."""
    names = {canonicalize_name(requirement.name) for requirement in declared}
    providers = distributions_of()
    return {m for m in modules if not names & {canonicalize_name(name) for name in providers.get(m, [m])}}


def test_conda_installs_what_pip_installs():
    packages = conda_environment()["dependencies"]
    [pip] = [entry["pip"] for entry in packages if isinstance(entry, dict)]
    assert pip == [*PROJECT["dependencies"], "-e .[test]"]


def test_conda_itself_brings_only_python_and_pip():
    environment = conda_environment()
    assert set(environment) == {"name", "channels", "dependencies"}
    assert environment["channels"] == ["conda-forge"]
    python, pip = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert pip == "pip"
    assert Version(python.removeprefix("python=")) in SpecifierSet(PROJECT["requires-python"])


@pytest.mark.parametrize("requirement", DECLARED + BROWSER_EXTRA, ids=str)
def test_tested_version_is_in_the_allowed_range(requirement):
    tested = constraints()[canonicalize_name(requirement.name)]
    assert tested in requirement.specifier, f"constraints.txt tests {tested}, pyproject.toml allows {requirement}"


def test_every_pin_installs_on_the_oldest_python_we_declare():
    bad = refusing(constraints(), oldest_python(), distributions())
    assert not bad, f"pip on Python {oldest_python()} refuses them: {bad}"


def test_a_pin_that_needs_a_later_patch_of_python_is_found(tmp_path):
    for name, asked in {"late": ">=3.11.5", "fine": ">=3.9", "other": ">=3.12", "silent": ""}.items():
        line = f"Requires-Python: {asked}\n" * bool(asked)
        (tmp_path / f"{name}-1.dist-info").mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{line}"
        (tmp_path / f"{name}-1.dist-info" / "METADATA").write_text(text, encoding="utf-8")
    pins = {"late": Version("1"), "fine": Version("1"), "other": Version("2"), "silent": Version("1")}
    bad = refusing(pins, Version("3.11.0"), distributions(path=[str(tmp_path)]))
    assert bad == ["late==1 asks for >=3.11.5"]


def test_torch_has_an_upper_bound():
    [torch] = [requirement for requirement in DEPENDENCIES if requirement.name == "torch"]
    assert Version("2.14.1") not in torch.specifier and Version("99") not in torch.specifier
    assert Version("2.6") in torch.specifier


def test_every_import_of_the_package_and_the_notebooks_is_a_dependency():
    files = imports_by_file()
    missing = {
        path: bad
        for path, modules in files.items()
        if not path.startswith(("tests", "conftest")) and (bad := undeclared(modules, DEPENDENCIES + OPTIONAL))
    }
    assert not missing


def test_the_solver_is_part_of_what_the_tests_install():
    assert set(map(str, CONSTRAINTS_EXTRA)) <= set(map(str, TEST_EXTRA))


def test_every_import_of_the_tests_is_declared():
    declared = DECLARED + BROWSER_EXTRA + HARNESS_EXTRA + DEVICE_EXTRA
    missing = {path: bad for path, modules in imports_by_file().items() if (bad := undeclared(modules, declared))}
    assert not missing


def test_every_dependency_is_imported_or_a_tool():
    providers = distributions_of()
    modules = set().union(*imports_by_file().values())
    used = {canonicalize_name(name) for module in modules for name in providers.get(module, [])} | set(TOOLS)
    unused = [str(requirement) for requirement in DECLARED if canonicalize_name(requirement.name) not in used]
    assert not unused, f"nothing imports {', '.join(unused)}: remove it, or give the reason in TOOLS"


def test_an_import_that_nobody_declared_is_found():
    modules = imported_modules(ast.parse("import pandas\ndef f():\n    from yaml import load\n    import torch.nn"))
    assert undeclared(modules, DEPENDENCIES) == {"pandas", "yaml"}
    assert undeclared(modules, DECLARED) == {"pandas"}
