"""Notebook 03: whether the strongest receivers move, and what hiding them does."""

from functools import cache

import torch
from torch import Tensor

from dlmlab.attention import interventions, sinks
from dlmlab.attention.trajectories import KINDS, Trajectory, denoising, generation, renoising, token_kinds
from dlmlab.decode.run import decode
from dlmlab.decode.sampling import left_pad
from dlmlab.measure.evaluate import digits
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.task import tasks
from dlmlab.task.layout import decode_answer, encode_prompt, encode_rows

MOVED, LEVELS, DRAWS = 48, tuple(round(0.05 + 0.1 * i, 2) for i in range(10)), 10


def sources(model, tokenizer, problem: tasks.Problem, *, seed: int = 0) -> dict[str, Trajectory]:
    """Make the trajectories of one problem: as decoded, and for a diffusion model its solution under fresh noise, at
    ten levels (one draw each) and at one level (ten draws: the noise floor).

    Of a causal run the question is kept, which every state has; and once more the first half of it, which many queries
    see, with the column sums divided by those of uniform attention.
    """
    prompt = encode_prompt(tokenizer, problem.question)
    if model.config.attention == "causal":
        run, P = generation(model, prompt), len(prompt)
        lengths = range(P, P + len(run.ids))
        uniform = torch.stack([sinks.uniform_sums(L, causal=True)[:P] for L in lengths])  # (S, P)
        lift = run.sums[..., :P] / uniform[:, None, None]
        return {
            "written": Trajectory(run.ids[:, :P], run.sums[..., :P], run.visible[:, :P]),
            "written, over uniform": Trajectory(run.ids[:, : P // 2], lift[..., : P // 2], run.visible[:, : P // 2]),
        }
    rows = encode_rows(tokenizer, [problem], side="left")
    x0, is_answer = rows.x0[0], rows.answer[0]
    generator = torch.Generator().manual_seed(seed)
    levels = renoising(model, x0, LEVELS, draws=1, maskable=is_answer, generator=generator)
    (floor,) = renoising(model, x0, [0.5], draws=DRAWS, maskable=is_answer, generator=generator)
    return {"denoised": denoising(model, prompt), "ten noise levels": Trajectory.join(levels), "one level": floor}


def stays(m: Tensor) -> float:
    """Share of states whose strongest receiver is that of the state before."""
    top = m.argmax(-1)
    return float((top[1:] == top[:-1]).float().mean()) if len(top) > 1 else 1.0


def centroid_spread(m: Tensor) -> tuple[float, float]:
    """Estimate the variance of the centroid of `above_spread` without bias, so that runs of unequal length compare, and
    the share of states it rests on. NaN for fewer than two such states."""
    variance, coverage = sinks.centroid_variance(m, sinks.above_spread(m))
    n = round(coverage * len(m))
    return variance * n / (n - 1) if n > 1 else float("nan"), coverage


@cache
def movement(name: str, index: int, seed: int = 0) -> dict[str, dict]:
    """Measure each source of a validation problem: does the strongest receiver stay, does the centroid of the sinks
    move?"""
    model, tokenizer = load(name)
    problem, rows = tasks.load_split("validation")[index], {}
    for source, run in sources(model, tokenizer, problem, seed=seed).items():
        m, kinds = run.mass, token_kinds(run.ids, tokenizer)
        variance, coverage = centroid_spread(m)
        null = sinks.permutation_null(m, draws=20, generator=torch.Generator().manual_seed(seed))
        layers = run.sums.mean(2).unbind(1)  # (S, L) each
        row = {
            "centroid": variance,
            "coverage": coverage,
            "null": float(null.mean()) * len(m) / max(len(m) - 1, 1),
            "stays": stays(m),
            "overlap5": float(sinks.overlap(m, 5).mean()),
            "formula": sinks.one_minus_argmax_frequency(m),
            "strongest": float(m.amax(-1).mean()),
            "stands_out": float(sinks.stands_out(run.sums.mean(2)).float().sum(-1).mean()),
            "layers": [centroid_spread(layer)[0] for layer in layers],
            "layer_stays": [stays(layer) for layer in layers],
        }
        rounded = {k: [round(x, 6) for x in v] if isinstance(v, list) else round(v, 6) for k, v in row.items()}
        kind = KINDS[int(kinds.gather(1, m.argmax(-1, keepdim=True)).flatten().mode().values)]
        rows[source] = rounded | {"states": len(m), "kind": kind}
    return rows


SOURCES = {
    "llada-mini": ("denoised", "ten noise levels", "one level"),
    "llama-mini": ("written", "written, over uniform"),
}
SMALL = (0.0001, 0.03)  # a variance of positions

MOVEMENT = Table(
    "03_movement",
    lambda: [
        {"problem": i, "model": model, "source": source}
        for model, of_model in SOURCES.items()
        for i in range(MOVED)
        for source in of_model
    ],
    lambda problem, model, source, size=None: movement(model, problem)[source],
    live=[{"problem": 0, "model": model, "source": source} for model, found in SOURCES.items() for source in found],
    tolerance={"centroid": SMALL, "null": SMALL, "layers": SMALL}
    | {name: (0.03, 0.02) for name in ("stays", "layer_stays", "overlap5", "stands_out", "coverage", "formula")},
)


# ------------------------------------------------------------------------------------------------ are they needed?

PROBLEMS, STATES, COUNTS, SEEDS = 48, 12, (1, 5), (0, 1, 2)


def choice(model: str, name: str, k: int, seed: int = 0) -> interventions.Choice:
    """Say which keys a line of the table hides: k by a rule, or (k = -1) the tokens of a kind."""
    _, tokenizer = load(model)
    generator = torch.Generator().manual_seed(seed)
    if k == -1:
        return interventions.OfKind(name, tokenizer)
    return {
        "nothing": interventions.Strongest(0),
        "strongest": interventions.Strongest(k),
        "random": interventions.RandomKeys(k, generator),
        "same kind": interventions.SameKind(k, tokenizer, generator),
    }[name]


def hidings() -> list[dict]:
    """List what is hidden, for both models: k keys by three rules, and each mark that stands alone."""
    lines = [("nothing", 0, 0), ("start mark", -1, 0), ("answer mark", -1, 0)]
    for k in COUNTS:
        lines.append(("strongest", k, 0))
        lines += [(name, k, seed) for name in ("random", "same kind") for seed in SEEDS]
    columns = ("model", "name", "k", "seed")
    return [dict(zip(columns, (m, *line), strict=True)) for m in ("llada-mini", "llama-mini") for line in lines]


def hide(model: str, name: str, k: int, seed: int = 0, size: int | None = None) -> dict:
    """Answer test problems without the keys, and compare predictions on the states of the first dense runs."""
    network, tokenizer = load(model)
    problems = tasks.load_split("test")[: size or PROBLEMS]
    prompts = [encode_prompt(tokenizer, p.question) for p in problems]
    blind = interventions.WithoutKeys(network, choice(model, name, k, seed))
    out = decode(blind, prompts, cache=False)  # one token a forward, both models
    verdicts = [
        tasks.verify(p.question, decode_answer(tokenizer, ids)) for p, ids in zip(problems, out.answers, strict=True)
    ]
    kl = [
        float(interventions.divergence(network, *dense_states(model, tuple(p)), choice(model, name, k, seed)).mean())
        for p in prompts[:STATES]
    ]
    return {
        "correct": digits(v.correct for v in verdicts),
        "kl": [round(value, 5) for value in kl],
        "nfe": sum(out.trace.nfe) / len(prompts),
    }


@cache
def dense_states(name: str, prompt: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Read the states of a run in which nothing is hidden: ids (S, L), real tokens (S, L), and where predictions count
    (S, L): at masks, or at the last token of a causal prefix."""
    model, _ = load(name)
    if model.config.attention != "causal":
        ids = denoising(model, prompt).ids
        return ids, torch.ones_like(ids, dtype=torch.bool), ids == model.config.mask_token_id
    trajectory = generation(model, prompt)
    prefixes = [row[seen].tolist() for row, seen in zip(trajectory.ids, trajectory.visible, strict=True)]
    ids, real = left_pad(prefixes, model.config.eos_token_id, model.device)
    at = torch.zeros_like(real)
    at[:, -1] = True
    return ids, real, at


def needed(rows: list[dict]) -> dict[str, float]:
    """Give the exact match of every line, over problems and seeds."""
    lines: dict[str, list[float]] = {}
    for row in rows:
        share = row["correct"].count("1") / len(row["correct"])
        lines.setdefault(f"{row['model']} without {row['k']} {row['name']}", []).append(share)
    return {line: sum(shares) / len(shares) for line, shares in lines.items()}


NECESSITY = Table(
    "03_necessity",
    hidings,
    hide,
    live=(
        {"model": "llama-mini", "name": "nothing", "k": 0, "seed": 0},
        {"model": "llama-mini", "name": "start mark", "k": -1, "seed": 0},
        {"model": "llada-mini", "name": "strongest", "k": 1, "seed": 0},
    ),
    size=3,
    flips=0.34,  # of three problems, one
    tolerance={"kl": (0.02, 0.05), "nfe": (1.0, 0.5)},  # `nfe` is a mean over the problems
    headlines=needed,
)
