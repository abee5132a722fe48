"""Lab 18: what this machine reaches, and how many rows a matrix of few bits stays ahead.

Two kinds of rows, `what`:
* "peaks": `bandwidth`, bytes a second when an array of so many bytes is added up; `operations` a second of each way at
  512 rows of a matrix of 1024 x 1024, which stays in the caches.
* "rows": one matrix (`matrix`, K x N), each way against float32 in the same round, by number of rows that go through:
  `ratio`, time of float32 over that of the way (median and quartiles: above 1 the way is faster), and `ratio bf16`,
  time of bfloat16 over it. `reached`: operations a second of float32, which fewer rows let it reach less of. `bytes`
  of each way.
A setting changes one thing: threads, the processor's instructions (`isa`, "AVX2": as one without AVX512 and AMX would
compute), the `group` of int4, or how many `copies` of the matrix are used in turn, so that none stays in the caches.
Every setting is timed in a process of its own. "int8 x int8" is torch's kernel as it is: without AVX512 it adds up
wrong (`dlmlab.int8` refuses it there), so its times under "AVX2" are of no use to anybody. Ratios belong to the machine
that is stored beside them; bytes do not.
"""

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile

import torch
from torch import Tensor

from dlmlab.measure import hardware, lowbit
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network import cost, roofline
from dlmlab.network.roofline import Kernel, crossing, wins_below

ISA: dict[str, dict[str, str]] = {
    "all": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
LARGE, MIDDLE, MINI = "4096 x 4096", "1024 x 1024", "192 x 512"
ROWS = {LARGE: (1, 2, 4, 8, 16, 32, 64, 128), MIDDLE: (1, 4, 16, 32, 64, 128), MINI: (1, 4, 16, 32, 96, 768)}
ROUNDS, ENOUGH = {LARGE: 9, MIDDLE: 15, MINI: 21}, 2e-3  # ENOUGH: seconds that one timing of float32 takes, at least
WAYS = {
    "bfloat16": lowbit.bfloat16,
    "int8 weights": lowbit.int8_weights,
    "int4 weights": lowbit.int4_weights,
    "int8 x int8": partial(lowbit.int8_both, checked=False),
}
SIZES = tuple(4**k * 2**14 for k in range(8)) + (2**29,)  # bytes of the arrays that are added up, 16 KB to 512 MB
AS_LARGE, BEYOND = 2**26, 2**28  # bytes: as many as the large matrix has in float32; four times as many
BASE = {"matrix": LARGE, "threads": 1, "isa": "all", "group": 32, "copies": 1}


def settings() -> list[dict]:
    """List the rows: the peaks, and what is changed one by one."""
    changes: list[dict] = [{}, {"threads": 2}, {"isa": "AVX2"}, {"group": 128}, {"matrix": MIDDLE}]
    changes += [{"matrix": MINI} | more for more in ({}, {"threads": 2}, {"isa": "AVX2"}, {"copies": 512})]
    return [{"what": "peaks", "threads": n} for n in (1, 2)] + [{"what": "rows"} | BASE | c for c in changes]


def weights(matrix: str) -> Tensor:
    """Draw a matrix W (N, K) as `matrix` says, K x N."""
    k, n = map(int, matrix.split(" x "))
    return torch.randn(n, k, generator=torch.Generator().manual_seed(0)) / k**0.5


def made(matrix: str, group: int) -> dict[str, lowbit.Made]:
    """Make every way of a matrix, float32 first."""
    W = weights(matrix)
    found = {"float32": lowbit.float32(W)}
    for name, make in WAYS.items():
        found[name] = lowbit.int4_weights(W, group) if name == "int4 weights" else make(W)
    return found


def quartiles(values: Sequence[float]) -> list[float]:
    """Median and quartiles, rounded."""
    low, middle, high = statistics.quantiles(values, n=4)
    return [float(f"{value:.4g}") for value in (middle, low, high)]


@torch.inference_mode()
def peaks(threads: int) -> dict:
    """Measure bandwidth by size and operations by way."""
    torch.set_num_threads(threads)
    bandwidth, operations = {}, {}
    for size in SIZES:
        array = torch.ones(size // 4)
        times = max(1, 2**24 // size)
        seconds = cost.interleaved({"s": lambda a=array, t=times: [a.sum() for _ in range(t)]}, rounds=7)["s"]
        bandwidth[str(size)] = float(f"{times * size / statistics.median(seconds):.4g}")
    x, ways = torch.randn(512, 1024, generator=torch.Generator().manual_seed(1)), made(MIDDLE, 32)
    seconds = cost.interleaved({name: lambda f=f: f(x) for name, (f, _) in ways.items()}, rounds=9, warmup=2)
    for name, each in seconds.items():
        operations[name] = float(f"{2 * 512 * 1024**2 / statistics.median(each):.4g}")
    return {"bandwidth": bandwidth, "operations": operations, "machine": hardware.fingerprint()}


@torch.inference_mode()
def rows(matrix: str, threads: int, group: int, copies: int) -> dict:
    """Time every way against float32, by number of rows."""
    torch.set_num_threads(threads)
    ways = made(matrix, group)
    more = [made(matrix, group) for _ in range(copies - 1)]
    turns = {name: [ways[name][0], *(other[name][0] for other in more)] for name in ways}
    ratio: dict[str, dict[str, list[float]]] = {name: {} for name in WAYS}
    reached: dict[str, float] = {}
    against: dict[str, dict[str, list[float]]] = {name: {} for name in WAYS if name != "bfloat16"}
    for m in ROWS[matrix]:
        x = torch.randn(m, int(matrix.split()[0]), generator=torch.Generator().manual_seed(1))

        def repeated(f: Callable, times: int, x: Tensor = x) -> None:
            for _ in range(times):
                f(x)

        def in_turn(fs: list[Callable], x: Tensor = x) -> None:
            for f in fs:
                f(x)

        if copies > 1:
            functions = {name: lambda fs=fs: in_turn(fs) for name, fs in turns.items()}
        else:
            first = turns["float32"][0]
            once = min(cost.interleaved({"s": lambda f=first: repeated(f, 1)}, rounds=5)["s"])
            times = max(1, round(ENOUGH / once))
            functions = {name: lambda f=fs[0], t=times: repeated(f, t) for name, fs in turns.items()}
        n = ROUNDS[matrix] if copies == 1 else 7
        seconds = cost.interleaved(functions, rounds=n, warmup=1)
        work = 2 * m * ways["float32"][1] // 4 * (times if copies == 1 else copies)
        reached[str(m)] = float(f"{work / statistics.median(seconds['float32']):.4g}")
        for name in WAYS:
            for base, into in (("float32", ratio), ("bfloat16", against)):
                if name != base:
                    each = [a / b for a, b in zip(seconds[base], seconds[name], strict=True)]
                    into[name][str(m)] = quartiles(each)
    return {"ratio": ratio, "ratio bf16": against, "reached": reached, "machine": hardware.fingerprint()}


def apart(code: str, isa: str = "all") -> dict:
    """Run a call of this module in a process of its own, with these instructions; gives what it returns."""
    whole = f"import json; from dlmlab.study.labs import lab18_rows as r; print(json.dumps(r.{code}))"
    done = subprocess.run(
        [sys.executable, "-c", whole], env=os.environ | ISA[isa], capture_output=True, encoding="utf-8", check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def run(
    what: str,
    threads: int,
    matrix: str = LARGE,
    isa: str = "all",
    group: int = 32,
    copies: int = 1,
    size: int | None = None,
) -> dict:
    """Measure one row; given a size, only what does not depend on the machine: bytes."""
    if what == "peaks":
        return apart(f"peaks({threads})")
    found = {"bytes": {name: held for name, (_, held) in made(matrix, group).items()}}
    return found if size else found | apart(f"rows({matrix!r}, {threads}, {group}, {copies})", isa)


# ------------------------------------------------------------------------------------------------ what is read off


def name_of(row: dict) -> str:
    """Name a row by its matrix and what is changed.

    >>> name_of({"what": "rows"} | BASE | {"isa": "AVX2"})
    '4096 x 4096, AVX2'
    """
    words = [row["matrix"]]
    words += [f"{row['threads']} threads"] if row["threads"] > 1 else []
    words += [row["isa"]] if row["isa"] != "all" else []
    words += [f"groups of {row['group']}"] if row["group"] != 32 else []
    return ", ".join(words + (["not in the caches"] if row["copies"] > 1 else []))


def swept(table: Sequence[dict]) -> dict[str, dict]:
    """Give the rows of kind "rows" by name."""
    return {name_of(row): row for row in select(table, what="rows")}


def between(row: dict, way: str = "int4 weights", base: str = "float32") -> tuple[int, int]:
    """Say between which numbers of rows a way falls behind: the last m up to which it is ahead at every m, with its
    quartiles (0: not at any), and the first m from which it is behind at every m, with its quartiles (0: nowhere)."""
    found = row["ratio" if base == "float32" else "ratio bf16"][way]
    words = [(int(m), word(three)) for m, three in found.items()]
    ahead = [m for m, _ in takewhile(lambda one: one[1] == "faster", words)]
    behind = [m for m, _ in takewhile(lambda one: one[1] == "slower", reversed(words))]
    return max(ahead, default=0), min(behind, default=0)


def crossed(row: dict, way: str = "int4 weights", base: str = "float32") -> float:
    """Estimate the rows at which the median is 1: along a straight line in the logarithms of both, between the last m
    at which it is above and the next. The first m where it never is, the last where it always is."""
    found = {int(m): three[0] for m, three in row["ratio" if base == "float32" else "ratio bf16"][way].items()}
    above = [m for m, value in found.items() if value > 1]
    if not above or max(above) == max(found):
        return float(max(found) if above else min(found))
    low, high = max(above), min(m for m in found if m > max(above))
    share = math.log(found[low]) / (math.log(found[low]) - math.log(found[high]))
    return low * (high / low) ** share


def word(three: Sequence[float]) -> str:
    """Say "faster" or "slower" where median and quartiles are on one side of 1.

    >>> word([1.2, 1.1, 1.3]), word([1.1, 0.9, 1.3])
    ('faster', 'no difference shown')
    """
    _, low, high = three
    return "faster" if low > 1 else "slower" if high < 1 else "no difference shown"


def kernels(table: Sequence[dict], array: int = AS_LARGE) -> tuple[dict[str, Kernel], float]:
    """Read off the peaks of one thread: what each way holds, bits a weight, and reaches; and the bandwidth of arrays of
    so many bytes, by default as many as the large matrix has in float32."""
    (row,) = select(table, what="peaks", threads=1)
    held = swept(table)[LARGE]["bytes"]
    found = {name: Kernel(8 * held[name] / 4096**2, row["operations"][name]) for name in held}
    return found, row["bandwidth"][str(array)]


def foreseen(
    table: Sequence[dict], base: str = "float32", way: str = "int4 weights", array: int = AS_LARGE
) -> tuple[float, float]:
    """Foresee the rows up to which a way is ahead, from peaks alone: by the maximum, and by the sum."""
    known, bandwidth = kernels(table, array)
    return tuple(f(known[base], known[way], bandwidth) for f in (wins_below, crossing))


def by_curve(
    table: Sequence[dict], base: str = "float32", way: str = "int4 weights", array: int = AS_LARGE
) -> tuple[float, float]:
    """Foresee the same with a curve in place of a peak: the operations a second that each way reached at each number of
    rows of the *middle* matrix, which the large one does not enter."""
    known, bandwidth = kernels(table, array)
    row, found = swept(table)[MIDDLE], []
    for overlap in (True, False):
        ratio = {}
        for m, speed in row["reached"].items():
            reached = {"float32": speed} | {name: speed * by[m][0] for name, by in row["ratio"].items()}
            a, b = (
                roofline.seconds(int(m), 1, Kernel(known[name].bits, reached[name]), bandwidth, overlap=overlap)
                for name in (base, way)
            )
            ratio[m] = [a / b]
        found.append(crossed({"ratio": {way: ratio}}, way))
    return tuple(found)


def headlines(table: list[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {"machine": table[0]["machine"]["processor"]}
    for name, row in swept(table).items():
        for base, column in (("", "ratio"), (" against bfloat16", "ratio bf16")):
            for way, by in row[column].items():
                for m, three in by.items():
                    key = f"{name}: {way}{base}, {m}"
                    found |= {
                        key: three[0],
                        f"{key}, low": three[1],
                        f"{key}, high": three[2],
                        f"{key}, word": word(three),
                    }
        for base in ("float32", "bfloat16"):
            last, then = between(row, base=base)
            found |= {f"{name}: ahead of {base} up to": last, f"{name}: behind {base} from": then}
            found[f"{name}: crossed {base}"] = crossed(row, base=base)
        mids = [three[0] for three in row["ratio"]["int4 weights"].values()]
        found |= {f"{name}: best": max(mids), f"{name}: worst": min(mids)}
        for m, speed in row["reached"].items():
            found[f"{name}: float32 reached, {m}"] = speed / 1e9
        for way, size in row["bytes"].items():
            found[f"{name}: {way}, bytes"] = size
    known, bandwidth = kernels(table)
    found["bandwidth"] = bandwidth / 1e9
    for name, kernel in known.items():
        found |= {f"{name}, operations": kernel.operations / 1e9, f"{name}, bits": kernel.bits}
    found["bandwidth, beyond"] = kernels(table, BEYOND)[1] / 1e9
    for base in ("float32", "bfloat16"):
        for array, far in ((AS_LARGE, ""), (BEYOND, ", beyond")):
            for name, foresee in (("foreseen", foreseen), ("by curve", by_curve)):
                both = zip(("maximum", "sum"), foresee(table, base, array=array), strict=True)
                found |= {f"{name}, {base}, {how}{far}": rows for how, rows in both}
    return found


TABLE = Table(
    "18_rows",
    settings,
    run,
    live=({"what": "rows"} | BASE | {"matrix": MINI}, {"what": "rows"} | BASE | {"matrix": MIDDLE}),
    size=1,
    headlines=headlines,
)
