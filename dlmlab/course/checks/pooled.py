"""Exercise 14.2. Targets that agree, contradict each other, are sure or not; weights alike and apart."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, close, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_pooled(fn: Callable) -> None:
    """Judge an answer to 14.2."""

    def run(targets: Tensor, weight: Tensor, reverse: bool) -> Tensor:
        with untouched(targets=targets, weight=weight):
            q = fn(targets, weight, reverse=reverse)
        expect_tensor(q, (targets.shape[-1],), targets.dtype)
        return q

    two = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64)
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    plain, sharp = run(two, half, False), run(two, half, True)
    require(
        not (close(plain, [0.75, 0.25]) and close(sharp, [0.7, 0.3])),
        "the two directions are exchanged: KL(target || student) pays where the target is and the student is not, so "
        "it covers all targets, by their plain mean",
    )
    require(not close(sharp, [0.7, 0.3]), "the plain mean is the optimum of the other direction, KL(target || student)")
    require(
        abs(float(sharp.sum()) - 1) < 1e-6,
        f"0.9 and 0.5 have the geometric mean 0.671, 0.1 and 0.5 have 0.224: that sums to {float(sharp.sum()):.3f}, a "
        "distribution to 1",
    )
    require(not close(sharp, [1.0, 0.0]), "the best token of all takes everything: that is a limit, not the optimum")
    require(close(sharp, [0.75, 0.25]), "(0.9, 0.1) and (0.5, 0.5), reverse: 0.671 and 0.224, normalised 0.75 and 0.25")
    require(close(plain, [0.7, 0.3]), "(0.9, 0.1) and (0.5, 0.5), not reverse: the plain mean, 0.7 and 0.3")
    weight = torch.tensor([0.8, 0.2], dtype=torch.float64)
    expected = torch.tensor([0.9**0.8 * 0.5**0.2, 0.1**0.8 * 0.5**0.2], dtype=torch.float64)
    require(
        close(run(two, weight, True), expected / expected.sum()) and close(run(two, weight, False), [0.82, 0.18]),
        "weights 0.8 and 0.2: a target that comes four times as often counts four times as much",
    )
    draw = Cases(142)
    for R, V in ((1, 2), (1, 5), (2, 3), (5, 4), (9, 30), (3, 1)):
        for sharpness in (0.3, 3.0):
            targets = (sharpness * draw.normal(R, V, dtype=torch.float64)).softmax(-1)
            weight = draw.distribution(R)
            for reverse in (True, False):
                q, right = run(targets, weight, reverse), _optimum(targets, weight, reverse)
                expect_same(q, right, f"{R} targets of {V} tokens, reverse={reverse}")


def _optimum(targets: Tensor, weight: Tensor, reverse: bool) -> Tensor:
    """Multiply powers, or add shares, one target at a time."""
    q = torch.ones_like(targets[0]) if reverse else torch.zeros_like(targets[0])
    for target, w in zip(targets, weight.tolist(), strict=True):
        q = q * target**w if reverse else q + w * target
    return q / q.sum()


EXERCISE = Exercise(
    id="14.2",
    title="One answer to many targets",
    minutes=15,
    difficulty=3,
    objective="Derive what a student becomes from the divergence that it is trained with.",
    path="dlmlab.distill.pooled",
    stub='''\
def pooled(targets: Tensor, weight: Tensor, *, reverse: bool) -> Tensor:
    """Give the one distribution q with the least mean divergence to several targets t_r.

    reverse: sum_r weight_r KL(q || t_r), else sum_r weight_r KL(t_r || q).
    Shapes: targets (R, V) probabilities above 0, weight (R,) with sum 1 -> (V,).
    """
    raise NotImplementedError
''',
    hints=(
        "Two targets, (0.9, 0.1) and (0.5, 0.5). Which direction punishes a student that says 0 where a target does "
        "not?",
        "Write the sum out and set the derivative in q_v to a constant. In one direction q_v is in a denominator, in "
        "the other its logarithm equals a mean of logarithms.",
        "reverse: (weight[:, None] * targets.log()).sum(0).softmax(-1); else: (weight[:, None] * targets).sum(0)",
    ),
    check=check_pooled,
)
