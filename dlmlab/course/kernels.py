"""How many kernels one machine carries: a notebook runs once alone, then in several kernels at the same time.

    python -m dlmlab load --kernels 25 --notebook 03      written into data/load.json, quoted by teaching/README.md

Decisions
* Memory is the proportional set size: what a kernel has for itself and its share of what several map, such as the
  libraries of torch. The sum over kernels is then what the machine needs; the resident size would count the libraries
  once a kernel. Where a system does not tell (macOS, Windows) it is the resident size, and the record says so.
* A kernel's memory is its largest in samples of half a second, taken from outside while the cells run; of many kernels
  it is read less often, since a reading walks through all their pages and would take the time that it watches.
* Kernels share the cores: each gets its part of them in threads (`OMP_NUM_THREADS`), at least one, as a hub should set
  it. Two threads in each of 25 kernels on two cores spend their time waiting for one another.
* Time is told as a ratio to the run alone, on this machine, in this hour.

Source: proportional set size, Linux kernel documentation, filesystems/proc, `smaps_rollup`.
"""

import asyncio
import os
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient

from dlmlab import paths
from dlmlab.measure import hardware, store

LOAD = paths.DATA / "load.json"
EVERY = 0.5  # seconds between two samples
MB = 2**20


def memory(pid: int) -> float:
    """Measure a process in MB: its proportional set size, or its resident size where that is all there is."""
    process = psutil.Process(pid)
    try:
        full = process.memory_full_info()
        return getattr(full, "pss", full.rss) / MB
    except psutil.AccessDenied:
        return process.memory_info().rss / MB


def measure(notebook: Path, kernels: int) -> dict:
    """Run a notebook once alone, then in `kernels` kernels at once.

    Returns seconds and peak MB of each kernel, of all together at their worst moment, and of the one alone. Raises
    `nbclient.exceptions.CellExecutionError` when a cell fails.
    """
    alone = asyncio.run(_together(notebook, 1))
    many = asyncio.run(_together(notebook, kernels))
    return {
        "notebook": notebook.name,
        "kernels": kernels,
        "alone": {"seconds": alone["seconds"][0], "mb": alone["mb"][0]},
        "unit": "pss" if hasattr(psutil.Process().memory_full_info(), "pss") else "rss",
        "machine": hardware.fingerprint() | {"memory_gb": round(psutil.virtual_memory().total / MB / 1024, 1)},
    } | many


async def _together(notebook: Path, kernels: int) -> dict:
    clients = [_client(notebook) for _ in range(kernels)]
    peaks, total = [0.0] * kernels, 0.0

    async def watch() -> None:
        nonlocal total
        while True:
            start = time.perf_counter()
            now = [_now(client) for client in clients]
            peaks[:] = map(max, peaks, now)
            total = max(total, sum(now))
            await asyncio.sleep(max(EVERY, 4 * (time.perf_counter() - start)))

    watching = asyncio.create_task(watch())
    try:
        threads = max(1, (os.cpu_count() or 1) // kernels)
        seconds = await asyncio.gather(*(_run(client, threads) for client in clients))
    finally:
        watching.cancel()
    return {"seconds": [round(s, 1) for s in seconds], "mb": [round(p) for p in peaks], "total_mb": round(total)}


def _client(notebook: Path) -> NotebookClient:
    return NotebookClient(
        nbformat.read(notebook, as_version=4),
        timeout=None,  # with many kernels a cell takes as long as it takes
        kernel_name="python3",
        resources={"metadata": {"path": str(notebook.parent)}},
        extra_arguments=["--log-level=ERROR"],
    )


async def _run(client: NotebookClient, threads: int) -> float:
    start = time.perf_counter()
    await client.async_execute(env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)})
    return time.perf_counter() - start


def _now(client: NotebookClient) -> float:
    """Measure the kernel of a client, 0 before it has one and after it has ended."""
    pid = getattr(getattr(client.km, "provisioner", None), "pid", None) if client.km else None
    try:
        return memory(pid) if pid else 0.0
    except psutil.NoSuchProcess:
        return 0.0


def keep(found: dict, path: Path = LOAD) -> None:
    """Store a measurement beside those of other notebooks and numbers of kernels."""
    others = [row for row in read(path) if (row["notebook"], row["kernels"]) != (found["notebook"], found["kernels"])]
    rows = sorted([*others, found], key=lambda row: (row["notebook"], row["kernels"]))
    store.save(paths.to_write(path), rows, indent=1)


def read(path: Path = LOAD) -> list[dict]:
    """Read what was measured; nothing yet is an empty list."""
    return store.load(path, [])


def table(rows: list[dict]) -> str:
    """Write the measurements, a line a row."""
    if not rows:
        return "not measured on any machine yet (python -m dlmlab load --kernels 25 --notebook 03)"
    lines = [f"{'notebook':36} kernels   MB a kernel, largest   all together   slowest, times alone   machine"]
    for row in rows:
        slow = max(row["seconds"]) / row["alone"]["seconds"]
        here = f"{row['machine']['processor']}, {row['machine']['cores']} cores, {row['machine']['memory_gb']:.0f} GB"
        lines.append(
            f"{row['notebook']:36} {row['kernels']:7}   {max(row['mb']):>20,}   {row['total_mb'] / 1024:9.1f} GB   "
            f"{slow:17.1f} x   {here}"
        )
    return "\n".join(lines)
