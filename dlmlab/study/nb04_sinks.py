"""Notebook 04: does it help to weigh calibration tokens by how much of a sink they are? A grid, with its controls.

One row is one pruned model. Everything but the token weight is fixed inside a group (model, method, sparsity, seed).
The seed draws the calibration texts, the shuffles, and the masks under which the likelihood is taken, so an interval
over seeds holds all three. All statistics are those of the dense model (one shot), as in the released sink-aware Wanda:
one pass serves all sparsities.
"""

from collections.abc import Sequence
from functools import cache

import torch

from dlmlab.compress import activations, calibration, methods, pruning, removal
from dlmlab.compress.pruning import Recipe
from dlmlab.measure import difference, store
from dlmlab.measure.difference import Difference
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import GRID_TEXTS, SEEDS, TOLERANCE, answer_bound, dense, texts
from dlmlab.study.stand_in import load

MODELS = ("llada-mini", "llama-mini")
MAIN = ("ones", "sink", "shuffled", "preserve", "preserve shuffled")
HEADS = ("heads", "heads shuffled")  # each head judged on its own
FLAGGED = ("inverted", "inverted shuffled")  # the flagged tokens alone, and as few tokens of any kind
ALIKE = tuple(calibration.ALIKE)  # controls that deal out among masks, and among visible tokens
SPARSITIES, MOST = (0.5, 0.6, 0.7), 0.7  # below a half nothing is lost, and nothing can differ
PROBLEMS, CLEAN_TEXTS = 128, 64  # a clean text is one state, a text of the grid ten
CONTROL = {kind: control for control, kind in calibration.SHUFFLED.items()} | {"heads": "heads shuffled"}
RELEASED = [name for name in methods.names() if name.startswith("sink-")]


def states(model: str, seed: int) -> calibration.CalibrationSet:
    """Texts a model is calibrated on: ten noise levels of each, or clean ones for the twin, which never sees a mask."""
    return texts("grid", seed, n=GRID_TEXTS) if model == "llada-mini" else texts("clean", seed, n=CLEAN_TEXTS)


@cache
def phi(model: str, seed: int, each_head: bool = False) -> torch.Tensor:
    """Score the tokens of the calibration texts with the released constants."""
    return calibration.sink_scores(dense(model), states(model, seed), each_head=each_head)


def token_weights(model: str, weight: str, seed: int) -> torch.Tensor:
    """Weigh the tokens of the calibration texts; `heads` is `sink` with each head judged on its own."""
    kind = {"heads": "sink", "heads shuffled": "shuffled"}.get(weight, weight)
    found = None if kind == "ones" else phi(model, seed, weight != kind)
    generator = torch.Generator().manual_seed(1000 + seed)
    return calibration.token_weights(kind, states(model, seed), phi=found, generator=generator)


@cache
def moments(model: str, weights: tuple[str, ...], seed: int) -> dict[str, dict]:
    """Collect the statistics of the dense model under several token weights at once."""
    each = [token_weights(model, weight, seed) for weight in weights]
    found = activations.collect_each(dense(model), states(model, seed), each)
    return dict(zip(weights, found, strict=True))


# ------------------------------------------------------------------------------------------------ one pruned model


def pruned(model: str, method: str, weight: str, sparsity: float, seed: int, *, alone: bool = False):
    """Prune a model; `alone` collects the statistics of this weight only, not of its whole group in one pass."""
    if method == "dense":
        return dense(model)
    (group,) = (weights for weights in (MAIN, HEADS, FLAGGED, ALIKE) if weight in weights)
    found = moments(model, (weight,) if alone else group, seed)[weight]
    if method == "neurons":
        return without_neurons(model, sparsity, found)
    return pruning.prune(dense(model), Recipe(method, sparsity, sequential=False), statistics=found)


def without_neurons(model: str, share: float, statistics: dict) -> LLaDAModelLM:
    """Remove the share of MLP neurons with the lowest Wanda sums in every layer, without a refit."""
    chosen = removal.choose_units(dense(model), "neurons", share, "wanda", statistics=statistics)
    return removal.remove_units(dense(model), "neurons", chosen)


def settings() -> list[dict]:
    """List every row: the dense models, Wanda's grid, then what could overturn it, where there is most to lose, and
    the flagged tokens alone; last the stricter controls of the model whose texts have masks."""
    arms = [(model, "dense", "ones", 0.0) for model in MODELS]
    for model in MODELS:
        arms += [(model, "wanda", weight, s) for weight in MAIN for s in SPARSITIES]
    tried = MAIN[1:]  # pairs of a weight and its control
    arms += [("llada-mini", "neurons", weight, s) for weight in tried for s in (0.5, MOST)]
    arms += [("llada-mini", "wanda", weight, MOST) for weight in HEADS]
    arms += [(model, "wanda", weight, s) for model in MODELS for weight in FLAGGED for s in SPARSITIES]
    arms += [("llada-mini", "wanda", weight, s) for weight in ALIKE for s in SPARSITIES]
    return [arm(*names, seed=seed) for names in arms for seed in SEEDS]


def arm(model: str, method: str, weight: str, sparsity: float, *, seed: int) -> dict:
    """Write the key of a row."""
    names = ("model", "method", "weight", "sparsity", "seed")
    return dict(zip(names, (model, method, weight, sparsity, seed), strict=True))


def run(model: str, method: str, weight: str, sparsity: float, seed: int, size: int | None = None) -> dict:
    """Measure the likelihood of one pruned model, one draw of masks a problem, drawn with the seed."""
    small = pruned(model, method, weight, sparsity, seed, alone=size is not None)
    return {"nats": answer_bound(small, problems=PROBLEMS, draws=1, seed=seed, size=size)}


def over_sparsities(rows: Sequence[dict], weight: str, against: str, **arm) -> dict[str, Difference]:
    """Compare two token weights at every sparsity that both were measured at, all else (`arm`) equal: by "60 %"."""
    at = [{row["sparsity"] for row in store.select(rows, weight=w, **arm)} for w in (weight, against)]
    both = [(s, *({"weight": w, "sparsity": s} | arm for w in (weight, against))) for s in sorted(at[0] & at[1])]
    return {f"{100 * s:.0f} %": difference.of_rows(rows, a, b) for s, a, b in both}


def against_controls(rows: Sequence[dict], name: str, **arm) -> dict[str, float | str]:
    """Name the headlines of a model's differences to the shuffled controls that were measured: "NAME sink 60 %",
    "NAME sink alike 60 %" and so on."""
    found = {}
    for weight in ("sink", "preserve", "inverted"):
        for how in ("", " alike"):
            if store.measured(rows, weight=(control := CONTROL[weight] + how), **arm):
                found |= difference.headlines(f"{name} {weight}{how}", over_sparsities(rows, weight, control, **arm))
    return found


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote: both models, Wanda, one shot."""
    wanda = {"method": "wanda"}
    return {k: v for name in MODELS for k, v in against_controls(rows, name, **wanda, model=name).items()}


GRID = Table(
    "04_sinks",
    settings,
    run,
    live=[
        arm("llama-mini", "wanda", "sink", 0.7, seed=0),
        arm("llada-mini", "neurons", "preserve", 0.5, seed=1),
        arm("llada-mini", "wanda", "preserve", 0.7, seed=0),
        arm("llama-mini", "wanda", "inverted shuffled", 0.6, seed=0),
    ],
    size=10,
    tolerance=TOLERANCE,
    headlines=headlines,
)


# ------------------------------------------------------------------------------------------------ as released

BASELINES = {  # method and calibration texts
    "wanda": ("wanda", "clean"),
    "wanda, ten levels": ("wanda", "grid"),
    "sparsegpt": ("sparsegpt", "clean"),
    "sparsegpt, ten levels": ("sparsegpt", "grid"),
}


def run_released(name: str, seed: int, size: int | None = None) -> dict:
    """Prune half of the weights by the criterion as released, as in the paper, consistently, or by a baseline."""
    model, tokenizer = load("llada-mini")
    method, mode = BASELINES.get(name, (name, "clean"))
    chosen = methods.Texts(tokenizer, calibration.calibration_problems(GRID_TEXTS, seed=seed), mode, seed=seed)
    small = methods.apply(model, method, 0.5, texts=chosen)
    return {"nats": answer_bound(small, size=size)}


RELEASED_TABLE = Table(
    "04_released",
    lambda: [{"name": name, "seed": seed} for name in (*RELEASED, *BASELINES) for seed in SEEDS],
    run_released,
    live=[{"name": name, "seed": 0} for name in RELEASED[:2]],
    size=6,
    tolerance=TOLERANCE,
)
