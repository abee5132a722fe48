"""Notebook 04: the pairs that pruning papers compare, over sparsities: score, repair and group, three seeds each.

One row is one pruned LLaDA-mini, sequential, calibrated on noised answers (`judging.texts`). The seed draws the
calibration texts and the masks under which the likelihood is taken, one draw a problem.
"""

from dlmlab.compress import pruning
from dlmlab.compress.pruning import Recipe
from dlmlab.measure.table import Table
from dlmlab.study.judging import SEEDS, TOLERANCE, answer_bound, dense, texts

PROBLEMS = 128
SPARSITIES = (0.5, 0.6, 0.7)
METHODS = {  # name: method and the group inside which scores are compared
    "magnitude": ("magnitude", "row"),
    "Wanda": ("wanda", "row"),
    "SparseGPT": ("sparsegpt", "row"),
    "Wanda, refit": ("wanda_refit", "row"),
    "Wanda, one group a matrix": ("wanda", "layer"),
    "Wanda, one group": ("wanda", "global"),
}
PAIRS = (
    ("Wanda", "magnitude"),
    ("SparseGPT", "Wanda"),
    ("Wanda, refit", "Wanda"),
    ("Wanda, refit", "SparseGPT"),
    ("Wanda, one group a matrix", "Wanda"),
    ("Wanda, one group", "Wanda"),
)


def run(method: str, sparsity: float, seed: int, size: int | None = None) -> dict:
    """Measure the likelihood of one pruned model; one group needs all scores at once, so it is one shot."""
    name, pattern = METHODS[method]
    recipe = Recipe(name, sparsity, pattern, sequential=pattern != "global")
    calib = None if name == "magnitude" else texts("uniform", seed, "answer")
    small = pruning.prune(dense(), recipe, calib=calib)
    return {"nats": answer_bound(small, problems=PROBLEMS, draws=1, seed=seed, size=size)}


METHODS_TABLE = Table(
    "04_methods",
    lambda: [{"method": m, "sparsity": s, "seed": seed} for m in METHODS for s in SPARSITIES for seed in SEEDS],
    run,
    live=(
        {"method": "magnitude", "sparsity": 0.6, "seed": 0},
        {"method": "Wanda, one group a matrix", "sparsity": 0.5, "seed": 1},
    ),
    size=10,
    tolerance=TOLERANCE,
)
