"""Run the tests as other processors and other numbers of threads would, one setting after the other (`make test-cpus`).

torch, MKL and oneDNN choose their kernels by what the processor can do, and each adds in an order of its own, so the
last bits differ. The variables below make this machine choose as an older one would; `sse` sets all of them. Nothing
here can make a processor choose newer instructions than it has.

    python -m tests.cpus --only sse --only threads-1 notebooks/01_sampling.ipynb
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "runs" / "cpus"
SETTINGS = {
    "sse": {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "aten-default": {"ATEN_CPU_CAPABILITY": "default"},
    "aten-avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "mkl-compatible": {"MKL_CBWR": "COMPATIBLE"},
    "onednn-sse41": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "onednn-avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "threads-1": {"OMP_NUM_THREADS": "1"},
    "threads-2": {"OMP_NUM_THREADS": "2"},
}
SCALE = {"DLMLAB_BUDGET_SCALE": "8"}  # old instructions are several times slower; whoever set a scale keeps it


def counted(output: str, outcome: str) -> int:
    """Read a count from the last line of pytest.

    >>> counted("== 1 failed, 189 passed in 800.00s ==", "passed"), counted("== 2 passed in 1.00s ==", "failed")
    (189, 0)
    """
    found = re.findall(rf"(\d+) {outcome}", output.rstrip().rpartition("\n")[2])
    return int(found[0]) if found else 0


def failures(output: str) -> Iterator[str]:
    """Name what failed, what could not run, and what took too long.

    >>> list(failures("FAILED a.py::test_x - assert 1 == 2\\nOVER BUDGET b.ipynb Cell 3 took 30.0 s, the budget"))
    ['a.py::test_x', 'b.ipynb Cell 3']
    """
    yield from (m[1] for m in re.finditer(r"(?m)^(?:FAILED|ERROR|OVER BUDGET) (.*?)(?: - .*| took .*)?$", output))


def run(name: str, pytest_args: list[str]) -> bool:
    """Run pytest under one setting, keep its output in `runs/cpus`, print a row; True when all is green."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *pytest_args]
    done = subprocess.run(
        command, cwd=ROOT, env={**SCALE, **os.environ, **SETTINGS[name]}, capture_output=True, encoding="utf-8"
    )
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS / f"{name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    names = ", ".join(failures(done.stdout)) or ("" if done.returncode == 0 else f"pytest ended with {done.returncode}")
    failed = counted(done.stdout, "failed") + counted(done.stdout, "error")
    print(f"{name:<16} {counted(done.stdout, 'passed'):>6} {failed:>6}  {names}".rstrip(), flush=True)
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], epilog="The rest goes to pytest.")
    parser.add_argument("--only", action="append", choices=SETTINGS, help="a setting, may be given again; default: all")
    given, pytest_args = parser.parse_known_args()
    print(f"{'setting':<16} passed failed  what failed", flush=True)
    green = [run(name, pytest_args) for name in given.only or SETTINGS]
    print(f"full output: {LOGS.relative_to(ROOT)}/SETTING.log")
    return 0 if all(green) else 1


if __name__ == "__main__":
    sys.exit(main())
