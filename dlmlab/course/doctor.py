"""What this machine is and how long the course takes on it.

`data/timing.json` holds the seconds of every notebook on the machine that refreshed it, beside the time one forward
took there. The projection scales by the ratio of forward times: good to a factor of about 1.5.
"""

import os
import platform
import statistics
import time
from pathlib import Path

import torch

from dlmlab.measure import hardware, store
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.paths import DATA

TIMING = DATA / "timing.json"


def forward_milliseconds(rounds: int = 9) -> float:
    """Time one forward of a model of LLaDA-mini's shape, 16 rows of 64 tokens, random weights: median of `rounds`."""
    model = LLaDAModelLM(LLaDAConfig()).eval()
    ids = torch.ones(16, 64, dtype=torch.long)
    seconds = []
    with torch.inference_mode():
        for _ in range(rounds + 2):
            start = time.perf_counter()
            model(ids)
            seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[2:])


def memory_gigabytes() -> float | None:
    """Physical memory, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return None


def machine() -> dict[str, str]:
    """Versions and hardware that can change a result in its last digits."""
    import transformers

    memory = memory_gigabytes()
    return hardware.fingerprint() | {
        "transformers": transformers.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "memory": f"{memory:.1f} GB" if memory else "unknown",
    }


def report(timing: Path = TIMING) -> str:
    """Describe this machine and project the time of each notebook on it.

    Notebooks that were never timed are not listed.
    """
    here = forward_milliseconds()
    lines = [f"{key:15} {value}" for key, value in machine().items()]
    lines.append(f"{'one forward':15} {here:.1f} ms (16 x 64 tokens)")
    if known := store.load(timing, None):
        ratio = here / known["forward_ms"]
        lines += [
            "",
            f"notebook run times, projected: a forward takes {ratio:.1f} x as long here as where they were timed",
        ]
        lines += [f"{name:28} {seconds * ratio:5.0f} s" for name, seconds in sorted(known["notebooks"].items())]
    return "\n".join(lines)


def write_timing(seconds: dict[str, float], timing: Path = TIMING) -> None:
    """Store how long notebooks took here; entries of other notebooks stay only if made on a machine of the same speed
    (within a third)."""
    here, old = forward_milliseconds(), store.load(timing, None)
    same = old is not None and 0.75 < here / old["forward_ms"] < 1.33
    notebooks = (old["notebooks"] if same else {}) | {name: round(s, 1) for name, s in seconds.items()}
    store.save(timing, {"forward_ms": round(here, 2), "notebooks": notebooks}, indent=2, sort_keys=True)
