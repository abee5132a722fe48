"""What this machine is, what is wrong with it, the command that mends it, and how long the course takes here.

Decisions
* Nothing but the standard library is imported before it was looked at: the doctor is asked when things are broken.
* A finding stops the course or it warns. The exit status is 0, or the code of the first finding that stops it; codes
  stay the same for ever, so that a script of the IT can ask for them.
* torch is tried in a process of its own, unless this one has it already: a build for another processor raises no error,
  it kills.
* `data/timing.json` holds for every notebook its seconds on the machine that refreshed it, beside the time one forward
  took there and then. The projection scales by the ratio of forward times: good to a factor of about 1.5.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dlmlab import paths

TIMING = paths.DATA / "timing.json"
PYTHON = (3, 11)
GB = 2**30
KERNEL_GB = 1.0  # of memory for one kernel with any notebook
INSTALL = "in a checkout: rm -rf .venv && make lab; else: python -m pip install -c constraints.txt ."
TRY_TORCH = (
    "import torch; x = torch.ones(64, 64); assert float((x @ x).sum()) == 64**3; print(torch.version.cuda or '')"
)


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and the command or step that mends it: empty where nothing is wrong."""

    name: str
    says: str
    mend: str = ""
    stops: bool = False

    def __str__(self) -> str:
        mark = "STOPS" if self.stops else "warns" if self.mend else "ok"
        line = f"{mark:5} {self.name:12} {self.says}"
        return f"{line}\n{'':18} mend: {self.mend}" if self.mend else line


def look_at_python() -> Finding:
    """Is Python new enough?"""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= PYTHON:
        return Finding("Python", version)
    wanted = ".".join(map(str, PYTHON))
    return Finding("Python", f"{version}, {wanted} or newer is needed", f"make PYTHON=python{wanted} lab", stops=True)


def look_at_packages() -> Finding:
    """Is everything installed that the course needs, in versions it allows?"""
    try:
        asked = importlib.metadata.requires("dlmlab") or []
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", "dlmlab is not installed for this Python", INSTALL, stops=True)
    if importlib.util.find_spec("packaging") is None:
        return Finding("packages", "packaging is missing", INSTALL, stops=True)
    from packaging.requirements import Requirement

    wrong = []
    for line in asked:
        need = Requirement(line)
        if need.marker is None:  # those with one belong to extras
            try:
                found = importlib.metadata.version(need.name)
                wrong += [] if need.specifier.contains(found, prereleases=True) else [f"{need.name} {found}"]
            except importlib.metadata.PackageNotFoundError:
                wrong.append(f"{need.name} missing")
    if wrong:
        return Finding("packages", f"not as asked: {', '.join(wrong)}", INSTALL, stops=True)
    return Finding("packages", f"all {len([line for line in asked if 'extra' not in line])} in their ranges")


def look_at_torch() -> Finding:
    """Does torch start and calculate, and is it the small build?"""
    if importlib.util.find_spec("torch") is None:
        return Finding("torch", "not installed", INSTALL, stops=True)
    version = importlib.metadata.version("torch")
    if "torch" in sys.modules:  # a notebook that asks has started it
        return Finding("torch", version)
    done = subprocess.run([sys.executable, "-c", TRY_TORCH], capture_output=True, encoding="utf-8", check=False)
    if done.returncode < 0:
        says = f"killed by signal {-done.returncode}: a build for another processor?"
        return Finding("torch", says, "python -m pip install --force-reinstall -c constraints.txt torch", stops=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        mend = "python -m pip install --force-reinstall -c constraints.txt torch"
        return Finding("torch", f"does not start: {last[:120]}", mend, stops=True)
    cuda = done.stdout.strip()
    if cuda and not shutil.which("nvidia-smi"):
        mend = "python -m pip install --force-reinstall torch from the CPU index of pytorch.org"
        return Finding("torch", f"{version}, a build for CUDA {cuda} on a machine without such a card", mend)
    return Finding("torch", version)


def usable_cores() -> int:
    """Count the cores this process may use: affinity and the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if not (quota.isdigit() and period.strip().isdigit()):
        return cores
    return min(cores, max(1, round(int(quota) / int(period))))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def look_at_threads() -> Finding:
    """Will torch use the cores it has, and not more?"""
    cores, asked = usable_cores(), os.environ.get("OMP_NUM_THREADS", "")
    if asked and not (asked.isdigit() and int(asked) > 0):
        return Finding("threads", f"OMP_NUM_THREADS is {asked!r}", "unset OMP_NUM_THREADS")
    threads = int(asked) if asked else os.cpu_count() or 1
    says = f"{threads} of {cores} usable core{'s' * (cores > 1)}"
    if threads > cores:
        return Finding("threads", f"{says}: they wait for each other", f"export OMP_NUM_THREADS={cores}")
    if threads == 1 < cores:
        return Finding("threads", f"{says}: slower than it has to be", "export OMP_NUM_THREADS=2")
    return Finding("threads", says)


def memory_gigabytes() -> float | None:
    """Physical memory, or that of the container; None where the system does not tell."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    except (AttributeError, ValueError, OSError):
        return None
    limit = _read("/sys/fs/cgroup/memory.max")
    return min(physical, int(limit) / GB) if limit.isdigit() else physical


def look_at_memory() -> Finding:
    """Is there room for a kernel?"""
    memory = memory_gigabytes()
    if memory is None:
        return Finding("memory", "unknown on this system")
    if memory < KERNEL_GB:
        says = f"{memory:.1f} GB, a kernel needs {KERNEL_GB:.0f}"
        return Finding("memory", says, "give the machine or the container more memory", stops=True)
    if memory < 2 * KERNEL_GB:
        return Finding("memory", f"{memory:.1f} GB: enough for one kernel", "shut kernels down before you start others")
    return Finding("memory", f"{memory:.1f} GB")


def look_at_disk(folder: Path | None = None) -> Finding:
    """Can notebooks be saved here?"""
    folder = folder or paths.PACKAGE.parent
    free = shutil.disk_usage(folder).free / GB
    if free < 0.1:
        return Finding("disk", f"{free:.2f} GB free in {folder}", "make clean, or free some space", stops=True)
    if free < 1:
        return Finding("disk", f"{free:.1f} GB free in {folder}", "make clean, or free some space")
    return Finding("disk", f"{free:.0f} GB free")


def look_at_kernel() -> Finding:
    """Does the kernel `python3`, which every notebook names, start a Python that has the course?"""
    mend = f"{sys.executable} -m ipykernel install --sys-prefix --name python3 --display-name 'Python 3 (ipykernel)'"
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError as error:
        return Finding("kernel", f"jupyter does not start: {error}", INSTALL, stops=True)
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return Finding("kernel", "there is no kernel python3", mend, stops=True)
    starts = spec.argv[0]
    if starts in ("python", "python3") or Path(starts).absolute() == Path(sys.executable).absolute():
        return Finding("kernel", "python3 is this Python")
    there = shutil.which(starts)
    if there is None:
        return Finding("kernel", f"python3 starts {starts}, which is not there", mend, stops=True)
    tried = subprocess.run([there, "-c", "import dlmlab, ipykernel"], capture_output=True, check=False)
    if tried.returncode:
        return Finding("kernel", f"python3 starts {there}, which has no dlmlab", mend, stops=True)
    return Finding("kernel", f"python3 starts {there}")


def look_at_models(folder: Path | None = None) -> Finding:
    """Are the models and tables those that the manifest lists?"""
    folder = folder or paths.DATA
    mend = "git restore data (in a checkout), or install again"
    try:
        listed = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Finding("models", f"no manifest: {error}", mend, stops=True)
    wrong = []
    for name, entry in listed.items():
        file = folder / name
        if not file.exists():
            wrong.append(f"{name} is missing")
        elif hashlib.sha256(file.read_bytes()).hexdigest() != entry["sha256"]:
            pointer = file.read_bytes()[:40].startswith(b"version https://git-lfs")
            wrong.append(f"{name} is a pointer of git-lfs" if pointer else f"{name} is not the file that was shipped")
    if wrong:
        return Finding("models", "; ".join(wrong[:3]) + " ..." * (len(wrong) > 3), mend, stops=True)
    return Finding("models", f"{len(listed)} files as listed")


# The exit status of each, for scripts: never renumbered.
LOOKS: dict[int, Callable[[], Finding]] = {
    10: look_at_python,
    11: look_at_packages,
    12: look_at_torch,
    13: look_at_memory,
    14: look_at_disk,
    15: look_at_kernel,
    16: look_at_models,
    17: look_at_threads,
}


def examine() -> dict[int, Finding]:
    """Look at everything, in the order of the codes."""
    return {code: look() for code, look in LOOKS.items()}


class Report(str):
    """The text of a report; `code` is the exit status, 0 when nothing stops the course."""

    code: int = 0


def report(timing: Path | None = None) -> Report:
    """Describe this machine, say what is wrong, and project the time of each notebook on it.

    Notebooks that were never timed are not listed; nothing is timed where torch does not start.
    """
    findings = examine()
    stopped = [code for code, finding in findings.items() if finding.stops]
    lines = [*map(str, findings.values())]
    if not {10, 11, 12} & set(stopped):
        lines += ["", *_times(timing or TIMING)]
    lines += ["", f"the course does not run here yet (exit status {stopped[0]})" if stopped else "the course runs here"]
    text = Report("\n".join(lines))
    text.code = stopped[0] if stopped else 0
    return text


def _times(timing: Path) -> list[str]:
    from dlmlab.measure import store

    here = forward_milliseconds()
    lines = [f"{key:15} {value}" for key, value in machine().items()]
    lines.append(f"{'one forward':15} {here:.1f} ms (16 x 64 tokens)")
    if known := store.load(timing, None):
        lines += ["", "notebook run times, projected from the time of a forward here and where each was timed"]
        lines += [
            f"{name:40} {timed['seconds'] * here / timed['forward_ms']:5.0f} s" for name, timed in sorted(known.items())
        ]
    return lines


def forward_milliseconds(rounds: int = 9) -> float:
    """Time one forward of a model of LLaDA-mini's shape, 16 rows of 64 tokens, random weights: median of `rounds`."""
    import torch

    from dlmlab.network.config import LLaDAConfig
    from dlmlab.network.model import LLaDAModelLM

    model = LLaDAModelLM(LLaDAConfig()).eval()
    ids = torch.ones(16, 64, dtype=torch.long)
    seconds = []
    with torch.inference_mode():
        for _ in range(rounds + 2):
            start = time.perf_counter()
            model(ids)
            seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[2:])


def machine() -> dict[str, str]:
    """Versions and hardware that can change a result in its last digits."""
    import transformers

    from dlmlab.measure import hardware

    memory = memory_gigabytes()
    return hardware.fingerprint() | {
        "transformers": transformers.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "memory": f"{memory:.1f} GB" if memory else "unknown",
    }


def write_timing(seconds: dict[str, float], timing: Path = TIMING) -> None:
    """Store how long notebooks took here, each with the time of a forward here; other notebooks keep their entries."""
    from dlmlab.measure import store

    here = round(forward_milliseconds(), 2)
    timed = {name: {"forward_ms": here, "seconds": round(s, 1)} for name, s in seconds.items()}
    store.save(timing, (store.load(timing, None) or {}) | timed, indent=2, sort_keys=True)
