"""Notebook 04: exact match and likelihood of pruned models, the ablation of sink-awareness, schedules, recovery.

Every table is resumable row by row. Problems: the first `PROBLEMS` of the test split; likelihood: the bound of the
answer by mask count with common random masks (`noise.bound_by_count`), in nats, one mean for each problem. A row keeps
the numbers of all problems, so that notebooks can pair them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from dlmlab.compress import activations, calibration, levels, methods, pruning, recovery, removal, scores
from dlmlab.compress.pruning import Recipe
from dlmlab.compress.schedules import layer_sparsities
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate, store
from dlmlab.measure.store import Say, fill, select
from dlmlab.network import cost, parts
from dlmlab.network.checkpoint import load
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective import noise
from dlmlab.task import tasks

PROBLEMS = 64  # for exact match
TEXTS = 32  # for calibration
GRID_TEXTS = 16  # for the ablation, at ten levels each; its clean rows see the same 16
BOUND_PROBLEMS, DRAWS = 48, 6  # for the likelihood of the sweep and of structure
BLOCK_PROBLEMS = 128  # for the likelihood of the two blocks, whose difference is small
PAIRED_PROBLEMS = 32  # for the likelihood of the ablations, which compare within one table
SPARSITIES = (0.3, 0.5, 0.6, 0.7, 0.8)
SEEDS = (0, 1, 2)


# ------------------------------------------------------------------------------------------------ measuring


def answer_bound(model, *, problems: int = BOUND_PROBLEMS, split: str = "test", seed: int = 0) -> list[float]:
    """Bound the negative log-likelihood of the solution given the question, in nats, one mean a problem.

    The same seed hides the same tokens from every model. The twin's likelihood is exact instead.
    """
    _, tokenizer = load("llada-mini")
    ids, real, answer = calibration.encode(tokenizer, tasks.load_split(split)[:problems])
    if model.config.attention == "causal":
        return _exact(model, ids, answer, tokenizer.eos_token_id)
    generator = torch.Generator().manual_seed(seed)
    nats = noise.bound_by_count(model, ids, answer, draws=DRAWS, generator=generator, valid=real, batch_size=96)
    return [round(v, 5) for v in nats.mean(1).tolist()]


@torch.inference_mode()
def _exact(model, ids: torch.Tensor, answer: torch.Tensor, eos_id: int) -> list[float]:
    counted = answer & (((ids == eos_id) & answer).cumsum(1) <= 1)  # up to the first end mark
    log_p = model(ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return [round(v, 5) for v in (-(log_p * counted[:, 1:]).sum(1)).tolist()]


def judge(model, *, problems: int = PROBLEMS) -> dict:
    """Answer the first problems of the test split: `correct` one digit a problem, `nfe` forwards a problem."""
    _, tokenizer = load("llada-mini")
    sampler = Sampler(commit=Threshold(0.9))
    result = evaluate.accuracy(model, tokenizer, tasks.load_split("test")[:problems], sampler=sampler)
    correct = "".join(str(int(v.correct)) for v in result.verdicts)
    return {"correct": correct, "nfe": round(result.mean_nfe, 3)}


@cache
def _dense(name: str = "llada-mini") -> LLaDAModelLM:
    return load(name).model


@cache
def texts(mode: str, seed: int, region: str = "all", n: int = TEXTS) -> calibration.CalibrationSet:
    """Make the calibration set of an experiment from n problems drawn with the seed."""
    model, tokenizer = load("llada-mini")
    problems = calibration.calibration_problems(n, seed=seed)
    if mode == "trajectory":
        return calibration.trajectory_set(model, tokenizer, problems)
    generator = torch.Generator().manual_seed(seed)
    return calibration.calibration_set(tokenizer, problems, mode, region=region, generator=generator)


def mean_nats(rows: Sequence[dict]) -> float:
    """Mean bound in nats an answer, over problems and seeds."""
    return sum(sum(row["nats"]) / len(row["nats"]) for row in rows) / len(rows)


def compare(rows: Sequence[dict], a: dict, b: dict) -> dict:
    """Difference a - b in nats an answer: paired over problems, seeds averaged first; and the difference of each seed.

    Only seeds that both have are used. `low`, `high`: 95 % bootstrap interval over problems. `seeds`: one number a
    calibration seed; when their signs differ, the choice of texts matters more than what is compared. Raises
    `ValueError` when no seed is common.
    """
    ours, theirs = ({row.get("seed"): row for row in select(rows, **key)} for key in (a, b))
    common = sorted(ours.keys() & theirs.keys(), key=str)
    if not common:
        raise ValueError(f"{a} and {b} have no seed in common")
    pairs = [(ours[seed], theirs[seed]) for seed in common]
    first, second = (
        [sum(v) / len(v) for v in zip(*(r["nats"] for r in x), strict=True)] for x in zip(*pairs, strict=True)
    )
    mean, low, high = evaluate.paired_difference(first, second)
    return {"mean": mean, "low": low, "high": high, "seeds": [mean_nats([x]) - mean_nats([y]) for x, y in pairs]}


def verdict(difference: dict, margin: float = 0.0) -> str:
    """Put a difference in nats into a word: `lower` and `higher` only when the interval and every seed agree."""
    if difference["high"] < -margin and max(difference["seeds"]) < 0:
        return "lower"
    if difference["low"] > margin and min(difference["seeds"]) > 0:
        return "higher"
    return "no difference shown"


def points(rows: Sequence[dict]) -> list[dict]:
    """Add exact match with its Wilson interval, and the mean bound, to the rows of a table."""
    table = []
    for row in rows:
        share = evaluate.Proportion(row["correct"].count("1"), len(row["correct"]))
        low, high = share.interval
        table.append(row | {"exact_match": share.value, "low": low, "high": high, "bound": mean_nats([row])})
    return table


# ------------------------------------------------------------------------------------------------ sparsity


@dataclass(frozen=True)
class Curve:
    """One line of the signature figure: a recipe without its sparsity, and the texts it looks at."""

    name: str
    method: str
    mode: str | None = None
    sparsities: Sequence[float] = SPARSITIES
    pattern: str = "row"


CURVES = (
    Curve("Wanda, noised texts", "wanda", "uniform"),
    Curve("SparseGPT, noised texts", "sparsegpt", "uniform"),
    Curve("magnitude", "magnitude"),
    Curve("Wanda, clean texts", "wanda", "clean"),
    Curve("Wanda mask, refit", "wanda_refit", "uniform"),
    Curve("random", "random", sparsities=(0.3, 0.5)),
    Curve("Wanda 2:4", "wanda", "uniform", (0.5,), "2:4"),
    Curve("Wanda 4:8", "wanda", "uniform", (0.5,), "4:8"),
    Curve("SparseGPT 2:4", "sparsegpt", "uniform", (0.5,), "2:4"),
)


def pruned(curve: Curve, sparsity: float, seed: int = 0) -> LLaDAModelLM:
    """Make one model of the signature figure."""
    recipe = Recipe(curve.method, sparsity, curve.pattern)
    calib = texts(curve.mode, seed, "answer") if curve.mode else None
    return pruning.prune(_dense(), recipe, calib=calib, generator=torch.Generator().manual_seed(seed))


def sweep(say: Say = print, path: Path = store.RESULTS / "04_sparsity.json") -> None:
    """Measure every curve at every sparsity, and the dense model, with one calibration seed."""

    def measure(model) -> dict:
        return judge(model) | {"nats": answer_bound(model)}

    def jobs():
        yield {"curve": "dense", "sparsity": 0.0}, lambda: measure(_dense())
        for sparsity in (0.5, 0.3, 0.7, 0.6, 0.8):
            for curve in CURVES:
                if sparsity in curve.sparsities:
                    key = {"curve": curve.name, "sparsity": sparsity}
                    yield key, lambda c=curve, s=sparsity: measure(pruned(c, s))

    fill(path, jobs(), say)


# ------------------------------------------------------------------------------------------------ sinks


@cache
def sink_scores(mode: str, seed: int) -> torch.Tensor:
    """Score the tokens of a calibration set with the dense model and the released constants."""
    return calibration.sink_scores(_dense(), texts(mode, seed, n=GRID_TEXTS))


def sink_weights(mode: str, kind: str, seed: int) -> torch.Tensor:
    """Weigh the tokens of a calibration set as in the ablation."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return calibration.token_weights(
        kind, texts(mode, seed, n=GRID_TEXTS), phi=sink_scores(mode, seed), generator=generator
    )


CALIBRATIONS = (
    ("clean", "all"),
    ("uniform", "all"),
    ("uniform", "answer"),
    ("grid", "all"),
    ("t:0.5", "all"),
    ("prefix", "all"),
    ("trajectory", "all"),
)
ABLATION = (
    *(("wanda", "grid", kind, True) for kind in ("ones", "sink", "shuffled", "inverted")),
    *(("wanda", "grid", kind, True) for kind in ("masks", "visible", "preserve")),
    *(("wanda", "clean", kind, True) for kind in ("ones", "sink", "shuffled", "inverted")),
    *(("wanda", mode, kind, False) for mode in ("grid", "clean") for kind in ("ones", "sink")),
    *(("sparsegpt", mode, kind, True) for mode in ("clean", "grid") for kind in ("ones", "sink", "shuffled")),
)


def ablation(say: Say = print, path: Path = store.RESULTS / "04_sinks.json") -> None:
    """Prune half of the weights with every token weight, three calibration seeds; likelihood only."""

    def measure(method: str, mode: str, kind: str, sequential: bool, seed: int) -> dict:
        calib = texts(mode, seed, n=GRID_TEXTS)
        weights = None if kind == "ones" else sink_weights(mode, kind, seed)
        recipe = Recipe(method, 0.5, sequential=sequential)
        return {
            "nats": answer_bound(
                pruning.prune(_dense(), recipe, calib=calib, weights=weights), problems=PAIRED_PROBLEMS
            )
        }

    def jobs():
        for seed in SEEDS:
            for method, mode, kind, sequential in ABLATION:
                key = {"method": method, "mode": mode, "weight": kind, "sequential": sequential, "seed": seed}
                yield key, lambda c=(method, mode, kind, sequential, seed): measure(*c)

    fill(path, jobs(), say)


def released(say: Say = print, path: Path = store.RESULTS / "04_released.json") -> None:
    """Prune half of the weights by the criterion as released, as in the paper, and consistently; likelihood only."""
    model, tokenizer = load("llada-mini")

    def measure(name: str, seed: int) -> dict:
        chosen = methods.Texts(tokenizer, calibration.calibration_problems(GRID_TEXTS, seed=seed), "clean", seed=seed)
        return {"nats": answer_bound(methods.apply(model, name, 0.5, texts=chosen), problems=PAIRED_PROBLEMS)}

    fill(path, (({"name": n, "seed": s}, lambda n=n, s=s: measure(n, s)) for s in SEEDS for n in RELEASED), say)


RELEASED = [name for name in methods.names() if name.startswith("sink-")]
PUBLISHED_BLOCK = 128  # columns whose mask the released SparseGPT chooses together


@cache
def by_block(block: int | None, seed: int) -> LLaDAModelLM:
    """Prune half of the weights by SparseGPT with this block (None: ours)."""
    calib = texts("uniform", seed, "answer", n=GRID_TEXTS)
    return pruning.prune(_dense(), Recipe("sparsegpt", 0.5, block=block), calib=calib)


def blocks(say: Say = print, path: Path = store.RESULTS / "04_blocks.json") -> None:
    """Compare our block of SparseGPT with the published one, three calibration seeds: likelihood, and `moved`, the
    share of weights that one removes and the other keeps, away from ours."""

    def measure(block: int | None, seed: int) -> dict:
        pairs = zip(*(parts.weights(by_block(b, seed)).values() for b in (None, block)), strict=True)
        moved = torch.cat([((a == 0) != (b == 0)).flatten() for a, b in pairs])
        nats = answer_bound(by_block(block, seed), problems=BLOCK_PROBLEMS)
        return {"moved": round(float(moved.double().mean()), 5), "nats": nats}

    keys = [{"block": block, "seed": seed} for seed in SEEDS for block in (None, PUBLISHED_BLOCK)]
    fill(path, ((key, lambda k=key: measure(**k)) for key in keys), say)


def calibrations(say: Say = print, path: Path = store.RESULTS / "04_calibration.json") -> None:
    """Prune half of the weights with Wanda on every kind of calibration text, three seeds; likelihood only."""

    def measure(mode: str, region: str, seed: int) -> dict:
        model = pruning.prune(_dense(), Recipe("wanda", 0.5), calib=texts(mode, seed, region))
        return {"nats": answer_bound(model, problems=PAIRED_PROBLEMS)}

    def jobs():
        for seed in SEEDS:
            for mode, region in CALIBRATIONS:
                yield {"mode": mode, "region": region, "seed": seed}, lambda c=(mode, region, seed): measure(*c)

    fill(path, jobs(), say)


# ------------------------------------------------------------------------------------------------ schedules

SCHEDULES = ("uniform", "earlier is sparser", "deeper is sparser", "OWL", "sensitivity", "shuffled sensitivity")


def twin_texts(name: str, seed: int) -> calibration.CalibrationSet:
    """Texts a model can be calibrated on: noised for the diffusion model, clean for its twin."""
    return texts("uniform", seed, "answer") if name == "llada-mini" else texts("clean", seed)


@cache
def sensitivity(name: str) -> list[float]:
    """How much the validation loss rises, in nats, when Wanda prunes half of one layer and nothing else."""
    model, calib = _dense(name), twin_texts(name, 0)

    def loss(m) -> float:
        return sum(answer_bound(m, problems=16, split="validation")) / 16

    base, layers = loss(model), model.config.n_layers
    only = [[0.5 * (i == j) for i in range(layers)] for j in range(layers)]
    return [loss(pruning.prune(model, Recipe("wanda", 0.5), calib=calib, layers=plan)) - base for plan in only]


def schedule(name: str, kind: str, sparsity: float, seed: int) -> list[float]:
    """Share a sparsity among the layers of a model by one of `SCHEDULES`."""
    model = _dense(name)
    depth = list(range(model.config.n_layers))
    if kind == "OWL":
        ratios = scores.outlier_ratios(model, activations.collect(model, twin_texts(name, seed)))
        return layer_sparsities(sparsity, ratios, width=0.08)
    if "sensitivity" in kind:
        importance = sensitivity(name)
        if kind.startswith("shuffled"):
            order = torch.randperm(len(importance), generator=torch.Generator().manual_seed(seed)).tolist()
            importance = [importance[i] for i in order]
    else:
        sign = {"uniform": 0, "earlier is sparser": 1, "deeper is sparser": -1}[kind]
        importance = [sign * d for d in depth]
    return layer_sparsities(sparsity, importance, width=0.1)


def schedules(say: Say = print, path: Path = store.RESULTS / "04_schedules.json") -> None:
    """Prune both models to the same mean sparsity with every schedule, three calibration seeds; likelihood only."""

    def measure(name: str, kind: str, seed: int) -> dict:
        plan = schedule(name, kind, 0.5, seed)
        model = pruning.prune(_dense(name), Recipe("wanda", 0.5), calib=twin_texts(name, seed), layers=plan)
        return {"layers": plan, "nats": answer_bound(model, problems=PAIRED_PROBLEMS)}

    def jobs():
        for seed in SEEDS:
            for kind in SCHEDULES:
                for name in ("llada-mini", "llama-mini"):
                    yield {"model": name, "schedule": kind, "seed": seed}, lambda c=(name, kind, seed): measure(*c)

    fill(path, jobs(), say)


# ------------------------------------------------------------------------------------------------ noise levels

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def at_level(t: float, seed: int, half: int | None = None) -> LLaDAModelLM:
    """Prune half of the weights with texts of one noise level, all of them or one half."""
    calib = texts(f"t:{t}", seed, "answer")
    calib = calib if half is None else levels.halves(calib)[half]
    return pruning.prune(_dense(), Recipe("wanda", 0.5, sequential=False), calib=calib)


def agreements(seed: int) -> dict:
    """Agreement of masks between noise levels, from disjoint halves of the texts; the diagonal is the floor."""
    first, second = ([at_level(t, seed, half) for t in LEVELS] for half in (0, 1))
    return {"agreement": [[round(levels.removed_agreement(a, b), 4) for b in second] for a in first]}


def adaptive_model(kind: str, seed: int):
    """Make one model of the comparison of time-adaptive masks, at half of the weights, one shot."""
    recipe = Recipe("wanda", 0.5, sequential=False)
    calib = texts("uniform", seed, "answer")
    if kind == "one mask":
        return pruning.prune(_dense(), recipe, calib=calib)
    if kind in ("weight t", "weight 1 - t"):
        weights = levels.time_weights(calib, lambda t: t if kind == "weight t" else 1 - t)
        return pruning.prune(_dense(), recipe, calib=calib, weights=weights)
    if kind == "largest over levels":
        found = [activations.collect(_dense(), texts(f"t:{t}", seed, "answer")) for t in LEVELS]
        return pruning.prune(_dense(), recipe, statistics=levels.robust(found))
    noisy = calib.t > 0.5
    if kind == "two masks, random levels":
        noisy = noisy[torch.randperm(len(noisy), generator=torch.Generator().manual_seed(seed))]
    halves = [calib.rows(pick.nonzero()[:, 0]) for pick in (noisy, ~noisy)]
    return levels.Switched(*(pruning.prune(_dense(), recipe, calib=part) for part in halves), tau=0.5)


ADAPTIVE = ("one mask", "two masks", "two masks, random levels", "largest over levels", "weight t", "weight 1 - t")


def timesteps(say: Say = print, path: Path = store.RESULTS / "04_timesteps.json") -> None:
    """Agreement of masks between noise levels, and what time-adaptive masks gain; three seeds; likelihood only."""

    def measure(kind: str, seed: int) -> dict:
        model = adaptive_model(kind, seed)
        models = [model.noisy, model.clean] if isinstance(model, levels.Switched) else [model]
        return {"nats": answer_bound(model, problems=PAIRED_PROBLEMS), "bytes": levels.union_bytes(models)}

    def jobs():
        for seed in SEEDS:
            yield {"kind": "agreement", "seed": seed}, lambda s=seed: agreements(s)
            for kind in ADAPTIVE:
                yield {"kind": kind, "seed": seed}, lambda k=kind, s=seed: measure(k, s)

    fill(path, jobs(), say)


# ------------------------------------------------------------------------------------------------ structure


def smaller(units: str, method: str, share: float, seed: int = 0) -> LLaDAModelLM:
    """Remove a share of heads or neurons in every layer by a method of `STRUCTURED`."""
    model, calib = _dense(), texts("uniform", seed, "answer")
    refit = method == "wanda, refit"
    statistics = activations.collect(model, calib, gram=refit)
    generator = torch.Generator().manual_seed(seed)
    name = method.split(",")[0]
    chosen = removal.choose_units(model, units, share, name, statistics=statistics, generator=generator)
    return removal.remove_units(model, units, chosen, statistics=statistics if refit else None)


STRUCTURED = [
    (units, method, share)
    for units, shares in (("neurons", (0.25, 0.5)), ("heads", (1 / 3,)))
    for share in shares
    for method in ("random", "magnitude", "wanda", "wanda, refit")
]


def structure(say: Say = print, path: Path = store.RESULTS / "04_structured.json") -> None:
    """Remove neurons, heads and layers; every layer alone, beside its block influence."""
    influence = cache(lambda: removal.block_influence(_dense(), texts("uniform", 0, "answer")))

    def measure(model) -> dict:
        size = {"bytes": cost.model_bytes(model), "mflop": round(cost.forward_flops(model.config, 80) / 1e6, 2)}
        return judge(model) | {"nats": answer_bound(model)} | size

    def jobs():
        yield {"units": "dense", "method": "", "share": 0.0}, lambda: measure(_dense())
        for units, method, share in STRUCTURED:
            key = {"units": units, "method": method, "share": round(share, 4)}
            yield key, lambda c=(units, method, share): measure(smaller(*c))
        for layer in range(_dense().config.n_layers):
            key = {"units": "layer", "method": f"without {layer}", "share": round(1 / 6, 4)}
            yield (
                key,
                lambda i=layer: measure(removal.remove_layers(_dense(), [i])) | {"influence": round(influence()[i], 5)},
            )

    fill(path, jobs(), say)


# ------------------------------------------------------------------------------------------------ recovery

RECOVERY_STEPS = 60


def recoverable(kind: str) -> LLaDAModelLM:
    """Make the models of the recovery table before fine-tuning."""
    if kind == "dense":
        return _dense()
    if kind == "neurons 50 %":
        return smaller("neurons", "wanda, refit", 0.5)
    return pruned(CURVES[0], 0.7)


RECOVERED = ("Wanda 70 %", "dense", "neurons 50 %")


def recoveries(say: Say = print, path: Path = store.RESULTS / "04_recovery.json") -> None:
    """Fine-tune pruned models and, as control, the dense one, for the same steps on the same batches."""

    def measure(kind: str, steps: int) -> dict:
        model = recoverable(kind)
        if steps:
            model = recovery.recover(model, recovery.recipe(steps, rows=16), steps=steps, say=say)
        return judge(model) | {"nats": answer_bound(model), "sparsity": round(pruning.sparsity_of(model), 4)}

    keys = ({"kind": kind, "steps": steps} for kind in RECOVERED for steps in (0, RECOVERY_STEPS))
    fill(path, ((key, lambda k=key: measure(k["kind"], k["steps"])) for key in keys), say)
