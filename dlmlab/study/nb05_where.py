"""Notebook 05: where rounding hurts: by layer, by matrix, by noise level; and mixed precision that follows from it.

`05_where`: RTN of one part (`only`), or of all. Likelihood by thirds of the share of
masks: `low`, `middle` and `high` are nats an answer, and their mean is `nats`.

`05_mixed`: bits by matrix at a mean of 3. `trace` weighs the squared rounding error of a column by its second moment
(the diagonal of the Hessian of its layer). The control deals the same bits out anew among matrices of one size.
"""

from collections.abc import Callable, Sequence

import torch

from dlmlab.compress import activations, registry
from dlmlab.compress.quant.grids import fake_quantize
from dlmlab.measure import difference, store
from dlmlab.measure.table import Table
from dlmlab.network import parts
from dlmlab.network.checkpoint import load
from dlmlab.objective import noise
from dlmlab.study.judging import CHUNK, SEEDS, dense, texts
from dlmlab.study.nb05_methods import BOUND_PROBLEMS, TEXTS, TOLERANCE, bound, spec
from dlmlab.task import layout, tasks

THIRDS, DRAWS = ("low", "middle", "high"), 3
MASKS = {"high": "most masks", "middle": "some", "low": "fewest masks"}
LAYERS = tuple(f"layer {i}" for i in range(6))
LINEARS = tuple(name for names in parts.READERS for name in names)
WIDTHS = (2, 3, 4, 6, 8)  # what a matrix may get in mixed precision


def by_thirds(model, size: int | None = None) -> dict[str, list[float]]:
    """Bound the likelihood of answers, one number a problem, whole and by thirds of the share of masks.

    The draws of a problem are evenly spread: the one with the fewest masks is in the lowest third.
    """
    rows = layout.encode_rows(load("llada-mini").tokenizer, tasks.load_split("test")[:BOUND_PROBLEMS], side="right")
    masked, weight = noise.count_masks(rows.answer, draws=DRAWS, generator=torch.Generator().manual_seed(0))
    few = slice(size)
    x0, valid, masked, weight = rows.x0[few], rows.valid[few], masked[few], weight[few]
    thirds = torch.zeros(len(x0), 3, dtype=torch.float64)
    for at in valid.sum(1).argsort(stable=True).split(CHUNK):  # short problems together
        columns = slice(int(valid[at].sum(1).max()))
        hidden = masked[at][..., columns]
        losses = noise.masked_losses(model, x0[at, columns], hidden, valid=valid[at, columns], batch_size=96).sum(-1)
        order = weight[at].argsort(1, descending=True)  # a large weight is a mask of few tokens
        thirds[at] = (weight[at] * losses).gather(1, order).unflatten(1, (3, -1)).mean(-1)
    found = {name: [round(v, 4) for v in thirds[:, i].tolist()] for i, name in enumerate(THIRDS)}
    return {"nats": [round(v, 4) for v in thirds.mean(1).tolist()]} | found


def inside(part: str) -> Callable[[str], bool]:
    """Return a function that says whether a matrix, by its name in `parts.weights`, is of "layer 2", or is `part`."""
    if part.startswith("layer"):
        return lambda name: name.split(".")[1] == part.removeprefix("layer ")
    return lambda name: name.split(".")[2] == part


def rounded(kind: str, part: str, bits: int):
    """Round all of LLaDA-mini, or one part only."""
    if kind == "float":
        return dense()
    if kind == "all":
        return registry.compress(dense(), "rtn", spec(bits))
    among = inside(part)
    return registry.compress(dense(), "rtn", lambda name: spec(bits) if among(name) else None)


def settings() -> list[dict]:
    """List the float model, all in few bits, then every layer and linear alone."""
    arms = [("float", "", 16), *(("all", "", bits) for bits in (2, 3, 4))]
    arms += [("only", part, 2) for part in (*LAYERS, *LINEARS)]
    return [dict(zip(("kind", "part", "bits"), arm, strict=True)) for arm in arms]


def run(kind: str, part: str, bits: int, size: int | None = None) -> dict:
    """Measure the likelihood of one model, by thirds of the share of masks."""
    return by_thirds(rounded(kind, part, bits), size)


def loss_of(rows: Sequence[dict], kind: str, part: str, bits: int, *, column: str = "nats") -> difference.Difference:
    """Nats an answer that a row loses to the float model."""
    return difference.of_rows(rows, {"kind": kind, "part": part, "bits": bits}, {"kind": "float"}, column=column)


def rivals(rows: Sequence[dict], part: str, group: Sequence[str]) -> dict[str, difference.Difference]:
    """Nats that one part, alone at two bits, costs more than each other one of its group."""
    keys = {other: {"kind": "only", "part": other, "bits": 2} for other in {part, *group}}
    return {other: difference.of_rows(rows, keys[part], keys[other]) for other in group if other != part}


def times_float(rows: Sequence[dict], bits: int, third: str) -> float:
    """Loss with all matrices rounded, as a multiple of what the float model loses in the same states."""
    (row,), (base,) = store.select(rows, kind="all", bits=bits), store.select(rows, kind="float")
    return sum(row[third]) / sum(base[third])


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: nats lost by part, the worst parts, and where on the way from masks to text."""
    found: dict[str, float | str] = {}
    gaps = {part: loss_of(rows, "only", part, 2) for part in (*LAYERS, *LINEARS)}
    found |= difference.headlines("only, 2 bits,", gaps)
    for name, group in (("layer", LAYERS), ("linear", LINEARS)):
        worst = max(group, key=lambda part: gaps[part].mean)
        found[f"worst {name}, only, 2 bits"] = worst.removeprefix("layer ")
        found |= difference.headlines(f"{worst} minus,", rivals(rows, worst, group))
    for bits in (2, 3, 4):
        lost = {
            f"{third} share of masks": loss_of(rows, "all", "", bits, column=third) for third in THIRDS
        }  # a name of one word, "low", would be that of the end of an interval
        found |= difference.headlines(f"all, {bits} bits,", lost)
        (row,), (base,) = store.select(rows, kind="all", bits=bits), store.select(rows, kind="float")
        more = [[a - b for a, b in zip(row[k], base[k], strict=True)] for k in ("high", "low")]
        found |= difference.headlines(f"all, {bits} bits, lost,", {"high - low": difference.between(*more)})
        found |= {f"all, {bits} bits, times float, {MASKS[third]}": times_float(rows, bits, third) for third in THIRDS}
    return found


TABLE = Table(
    "05_where",
    settings,
    run,
    live=({"kind": "only", "part": parts.DOWN, "bits": 2}, {"kind": "all", "part": "", "bits": 3}),
    size=10,
    tolerance=dict.fromkeys(("nats", *THIRDS), (0.02, 0.05)),
    headlines=headlines,
)


# ------------------------------------------------------------------------------------------------ mixed precision

MEANS = (3,)
PLANS = ("uniform", "trace", "trace shuffled")


@torch.no_grad()
def trace_costs(seed: int) -> dict[str, dict[int, float]]:
    """Estimate what each matrix costs at each width: squared rounding errors times second moments of their column."""
    found = activations.collect(dense(), texts("uniform", seed, "answer", n=TEXTS))
    costs: dict[str, dict[int, float]] = {}
    for name, W in parts.weights(dense()).items():
        moments = (found[name].sum_sq / found[name].tokens).to(W)
        costs[name] = {b: float(((fake_quantize(W, spec(b)) - W).square() * moments).sum()) for b in WIDTHS}
    return costs


def allocate(costs: dict[str, dict[int, float]], sizes: dict[str, int], mean: float) -> dict[str, int]:
    """Give every matrix a width: from the smallest up, always the step that saves most a bit, while the mean allows."""
    bits, left = dict.fromkeys(costs, WIDTHS[0]), (mean - WIDTHS[0]) * sum(sizes.values())
    while True:
        steps = []
        for name, now in bits.items():
            for more in WIDTHS[WIDTHS.index(now) + 1 :]:
                price = (more - now) * sizes[name]
                if price <= left:
                    steps.append(((costs[name][now] - costs[name][more]) / price, name, more, price))
        if not steps:
            return bits
        _, name, more, price = max(steps)
        bits[name], left = more, left - price


def shuffled(bits: dict[str, int], sizes: dict[str, int], seed: int) -> dict[str, int]:
    """Deal the widths out anew among matrices of one size: the same mean, at other places."""
    generator, new = torch.Generator().manual_seed(seed), dict(bits)
    for size in set(sizes.values()):
        names = [name for name in bits if sizes[name] == size]
        order = torch.randperm(len(names), generator=generator).tolist()
        new |= {name: bits[names[i]] for name, i in zip(names, order, strict=True)}
    return new


def plan_of(plan: str, mean: int, seed: int) -> dict[str, int]:
    """Choose the bits of every matrix."""
    sizes = {name: W.numel() for name, W in parts.weights(dense()).items()}
    if plan == "uniform":
        return dict.fromkeys(sizes, mean)
    bits = allocate(trace_costs(seed), sizes, mean)
    return shuffled(bits, sizes, seed) if plan.endswith("shuffled") else bits


def run_mixed(plan: str, bits: int, seed: int, size: int | None = None) -> dict:
    """Round every matrix to its bits; `widths` in the order of the matrices, `mean` over the weights."""
    chosen = plan_of(plan, bits, seed)
    model = registry.compress(dense(), "rtn", lambda name: spec(chosen[name]))
    sizes = [W.numel() for W in parts.weights(dense()).values()]
    mean = sum(b * n for b, n in zip(chosen.values(), sizes, strict=True)) / sum(sizes)
    return {"nats": bound(model, seed, size), "widths": [float(b) for b in chosen.values()], "mean": round(mean, 4)}


def mixed_headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: each plan against uniform bits and against its shuffled control, in nats."""
    found: dict[str, float | str] = {}
    for plan, against in (("trace", "uniform"), ("trace shuffled", "uniform"), ("trace", "trace shuffled")):
        gaps = {
            f"{bits} bits": difference.of_rows(rows, {"plan": plan, "bits": bits}, {"plan": against, "bits": bits})
            for bits in MEANS
        }
        found |= difference.headlines(f"{plan} - {against},", gaps)
    return found


MIXED = Table(
    "05_mixed",
    lambda: [{"plan": plan, "bits": bits, "seed": seed} for bits in MEANS for plan in PLANS for seed in SEEDS],
    run_mixed,
    live=({"plan": "trace", "bits": 3, "seed": 0}, {"plan": "trace shuffled", "bits": 3, "seed": 1}),
    size=10,
    tolerance=TOLERANCE | {"widths": (1.0, 0.0), "mean": (0.02, 0.0)},
    headlines=mixed_headlines,
)
