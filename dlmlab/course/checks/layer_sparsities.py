"""Exercise 4.5. Schedules whose values can be worked out by hand."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import NOTHING, close, require, seeded
from dlmlab.course.exercises import Exercise


def check_layer_sparsities(fn: Callable) -> None:
    """Judge an answer to 4.5."""

    def run(sparsity: float, importance: list[float], width: float) -> list[float]:
        out = fn(sparsity, importance, width=width)
        require(out is not None, NOTHING)
        out = out.tolist() if isinstance(out, torch.Tensor) else list(out)
        require(len(out) == len(importance), f"one sparsity a layer: {len(importance)} expected, got {len(out)}")
        return [float(v) for v in out]

    plan = run(0.5, [0, 1, 2], 0.1)
    require(
        not close(plan, [0.4, 0.5, 0.6]), "the sign is wrong: the more important a layer, the fewer weights it loses"
    )
    require(not close(plan, [0.55, 0.5, 0.45]), "width is half of the span: from s + width to s - width")
    require(close(plan, [0.6, 0.5, 0.4]), f"importance 0, 1, 2 at s = 0.5, width 0.1 gives 0.6, 0.5, 0.4; got {plan}")
    require(
        close(run(0.5, [10, 30, 20], 0.1), [0.6, 0.4, 0.5]), "scale importance to [0, 1] by its minimum and maximum"
    )
    plan = run(0.5, [0, 0, 0, 4], 0.1)
    require(close(sum(plan) / 4, 0.5), "the mean of the layers must be exactly the wanted sparsity: shift the rest")
    require(close(plan, [0.55, 0.55, 0.55, 0.35]), f"shift all layers alike to repair the mean; got {plan}")
    require(close(run(0.3, [7, 7], 0.2), [0.3, 0.3]), "equal importance is the uniform schedule (no division by 0)")
    plan = run(0.9, [0, 1, 2], 0.1)
    require(max(plan) <= 0.95 + 1e-6 and min(plan) >= 0, f"no layer may lose more than 0.95 or less than 0; got {plan}")
    require(close(sum(plan) / 3, 0.9), f"after cutting at 0.95 the mean must be repaired again; got {plan}")
    g = seeded(44)
    for layers, sparsity, width in ((1, 0.37, 0.1), (5, 0.43, 0.07), (12, 0.61, 0.2)):
        importance = torch.randn(layers, generator=g).tolist()
        low, span = min(importance), max(importance) - min(importance)
        wanted = [sparsity + width * (1 - 2 * ((v - low) / span if span else 0.5)) for v in importance]
        shift = sparsity - sum(wanted) / layers  # nothing comes near 0 or 0.95 here
        require(
            close(run(sparsity, importance, width), [v + shift for v in wanted], tol=1e-5),
            f"{layers} random importances at s = {sparsity}, width {width} give another plan: it is linear in them",
        )


EXERCISE = Exercise(
    id="4.5",
    title="Share sparsity among layers",
    minutes=15,
    difficulty=3,
    objective="Turn any measure of importance into a layer schedule with an exact mean.",
    path="dlmlab.schedules.layer_sparsities",
    stub='''\
def layer_sparsities(sparsity: float, importance: list[float], *, width: float = 0.1) -> list[float]:
    """Share a mean sparsity s among layers: the more important a layer, the denser it stays.

        s_l = s + width (1 - 2 i_l),  i = importance scaled to [0, 1] (0.5 everywhere when all are equal)

    Then all values are shifted alike so that the mean is s; values outside [0, 0.95] are cut and the rest is shifted
    again, until the mean is exact. Returns one value a layer.
    """
    raise NotImplementedError
''',
    hints=(
        "Cutting changes the mean, and shifting pushes values over the edge again. What does one do with such a pair?",
        "Repeat two steps, some dozens of times: add what the mean lacks, clamp to [0, 0.95].",
        "s = (s + sparsity - s.mean()).clamp(0, 0.95) in a loop; every round leaves less to shift.",
    ),
    check=check_layer_sparsities,
)
