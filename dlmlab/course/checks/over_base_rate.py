"""Exercise 3.4. Looked at: kinds of unequal number, states of unequal mass, a kind that does not occur; then
many shapes, counted position by position."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, close, expect_tensor, require, show, untouched
from dlmlab.course.exercises import Exercise


def check_over_base_rate(fn: Callable) -> None:
    """Judge an answer to 3.4."""
    # 32 units of mass on 10 positions: 16, 10, 0, 6 for the kinds 0, 1, 2, 3, which hold 2, 5, 0, 3 positions
    mass = torch.tensor([[8.0, 2.0, 1.0, 1.0, 4.0], [8.0, 2.0, 4.0, 1.0, 1.0]])
    kinds = torch.tensor([[0, 1, 1, 3, 1], [0, 1, 3, 3, 1]])
    with untouched(mass=mass, kinds=kinds):
        lift = fn(mass, kinds, 4)
    expect_tensor(lift, (4,), torch.float32)
    got, base = torch.tensor([16.0, 10.0, 0.0, 6.0]) / 32, torch.tensor([2.0, 5.0, 0.0, 3.0]) / 10
    _expect(lift, got, base)
    require(
        lift[2].isnan(),
        f"kind 2 does not occur: 0 / 0 is NaN, not {lift[2]:.2f}, which reads as a kind that is avoided or fair",
    )
    lift = fn(torch.tensor([[6.0, 0.0, 2.0, 4.0], [1.0, 1.0, 1.0, 1.0]]), torch.tensor([[0, 1, 1, 1], [0, 0, 0, 1]]), 2)
    expect_tensor(lift, (2,), torch.float32)
    require(
        torch.allclose(lift, torch.tensor([9 / 16 / 0.5, 7 / 16 / 0.5]), atol=1e-5),
        "states were averaged after the division: sum mass and positions over all states, then divide once; "
        f"should be [1.12, 0.88], got {show(lift)}",
    )
    lift = fn(torch.full((3, 2), 0.25), torch.tensor([[1, 1], [1, 0], [1, 1]]), 2)
    require(torch.allclose(lift, torch.ones(2)), f"even attention gives every kind its fair share, 1; got {show(lift)}")
    draw = Cases(0)
    for S, L, n in ((1, 1, 1), (1, 1, 3), (1, 9, 2), (7, 1, 4), (4, 6, 3), (12, 20, 8)):
        mass, kinds = draw.uniform(S, L, low=0.1, high=5.0), draw.ids(n, S, L)
        with untouched(mass=mass, kinds=kinds):
            lift = fn(mass, kinds, n)
        expect_tensor(lift, (n,), torch.float32)
        for kind in range(n):
            of_kind = [float(v) for v, k in zip(mass.flatten(), kinds.flatten(), strict=True) if k == kind]
            share, base = sum(of_kind) / float(mass.double().sum()), len(of_kind) / (S * L)
            require(
                close(lift[kind], share / base, tol=1e-4) if of_kind else bool(lift[kind].isnan()),
                f"random inputs, {S} states of {L} positions: kind {kind} of {n} gets {float(lift[kind]):.2f}, it "
                + (f"should get {share / base:.2f} times its share" if of_kind else "does not occur and should be NaN"),
            )


def _expect(lift: Tensor, got: Tensor, base: Tensor) -> None:
    there = base > 0
    mistakes = (
        (got, "the share of attention alone: a frequent kind gets much in any case, divide by its base rate"),
        (base / got, "the ratio is upside down: attention above, positions below"),
        (got - base, "a difference of shares: how many times a fair share is a ratio"),
        (got * 32 / (base * 10), "mean mass of a position of each kind: divide by the mean mass of all positions, too"),
        (got / base * 5 / 10, "positions were counted per state: the base rate is a share of all S * L positions"),
        (got / (1 / 4), "divided by 1 / n: kinds are not equally frequent, count them"),
        (got / (1 / 3), "divided by 1 / number of kinds: kinds are not equally frequent, count them"),
    )
    each = torch.tensor([[5.0, 35 / 24, 0.0, 5 / 8], [5.0, 15 / 16, 0.0, 25 / 16]]) / 2  # of the two states
    mistakes += ((each.mean(0), "states were averaged after the division: sum over all states, then divide once"),)
    for wrong, message in mistakes:
        require(not torch.allclose(lift[there], wrong[there], atol=1e-5), message)
    right = (got / base)[there]
    require(
        torch.allclose(lift[there], right, atol=1e-5),
        f"the kinds 0, 1, 3 should get {show(right)} times their share, got {show(lift[there])}",
    )


EXERCISE = Exercise(
    id="3.4",
    title="Compare with the base rate",
    minutes=15,
    difficulty=3,
    objective="Say whether a kind of token draws attention, or is only frequent.",
    path="dlmlab.sinks.over_base_rate",
    stub='''\
def over_base_rate(mass: Tensor, kinds: Tensor, n: int) -> Tensor:
    """Divide the share of the attention that each kind of token gets by its share of the positions.

    kinds[s, i] in 0..n-1 is the kind of position i in state s. All states count together. A kind that does not occur
    gives NaN. Shapes: mass (S, L), kinds (S, L) -> (n,). No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Two shares for every kind: of the mass (its sum / sum of all) and of the positions (its count / all).",
        "Flatten both: then a kind's mass is a sum over the positions that are of it, wherever their states begin.",
        "kinds.flatten().bincount(minlength=n) counts, index_add on zeros(n) adds up mass; 0 / 0 gives the NaN.",
    ),
    check=check_over_base_rate,
)
