"""Exercise 4.4. Find the bugs of a control; the oracle is the multiset of weights of each state."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import close, expect_seeded, expect_tensor, require, seeded, untouched
from dlmlab.course.exercises import Exercise


def _case(N: int, L: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Distinct weights (N, L), sevenths, also on padding, and which tokens are real, on the left."""
    g = seeded(seed)
    weights = (torch.randperm(N * L, generator=g).view(N, L) + 1) / 7
    n = torch.randint(1, L + 1, (N, 1), generator=g)
    n[:1] = L
    return weights, torch.arange(L) < n


def check_shuffled(fn: Callable) -> None:
    """Judge an answer to 4.4."""
    for N, L, seed in ((1, 1, 0), (0, 4, 1), (5, 1, 4), (4, 9, 2), (13, 24, 3)):
        weights, real = _case(N, L, seed)
        with untouched(weights=weights, real=real):
            out = fn(weights, real, seeded(5))
        expect_tensor(out, (N, L), weights.dtype)
        require(not bool(out[~real].any()), "padding must get weight 0: it is no token")
        sevenths = [(7 * x).round().int().tolist() for x in (out, weights)]  # names of the weights
        for row, before, n in zip(*sevenths, real.sum(1).tolist(), strict=True):
            require(
                not set(row[:n]) & set(before[n:]),
                "a weight of the padding came to a real token: deal out among the real tokens only",
            )
            require(
                len(set(row[:n])) == n,
                "a weight was dealt twice and another one lost: draw an order, without replacement, so that the "
                "control gives and takes exactly as much",
            )
            require(
                sorted(row[:n]) == sorted(before[:n]), "every state keeps its own weights, only their places change"
            )
        require(close(7 * out, (7 * out).round(), tol=1e-4), "a weight was changed: they only change places")
    weights = torch.arange(1.0, 25).repeat(6, 1)
    real = torch.ones_like(weights, dtype=torch.bool)

    def deal(rows: int, seed: int | torch.Generator) -> torch.Tensor:
        """Deal the weights of so many rows; none may get lost or change."""
        out = fn(weights[:rows], real[:rows], seeded(seed) if isinstance(seed, int) else seed)
        expect_tensor(out, (rows, 24), weights.dtype)
        require(
            close(out.sort(-1).values, weights[:rows], tol=1e-5),
            "a weight was changed, lost or dealt twice: deal them out as they are",
        )
        return out.round()  # names of the weights

    out = deal(6, 7)
    require(not torch.equal(out, weights), "nothing was shuffled")
    require(
        len({tuple(row) for row in out.tolist()}) == 6,
        "all states got the same order: a position that is a sink in all of them would stay one, at another place",
    )
    expect_seeded(lambda generator: deal(6, generator))
    places = torch.stack([deal(1, s)[0].argsort() for s in range(300)]).double()  # (300, 24)
    require(
        bool((places.mean(0) - 11.5).abs().max() < 2.5),
        "some tokens get the weights of certain places more often: every order must be equally likely",
    )


EXERCISE = Exercise(
    id="4.4",
    title="Find the bugs of a control",
    minutes=15,
    difficulty=3,
    objective="Build the control that gives as much weight as the method, to random tokens.",
    path="dlmlab.calibration.shuffled",
    stub='''\
def shuffled(weights: Tensor, real: Tensor, generator: torch.Generator) -> Tensor:
    """Deal the weights of each state out anew among its real tokens; padding gets 0.

    Every state has a draw of its own, every order is equally likely, and all chance comes from the generator.
    Shapes: weights (N, L), real (N, L) bool, texts on the left -> (N, L). No input is changed.
    """
    raise NotImplementedError
    # Four bugs stand below. Mend them, then delete the line above.
    order = torch.randint(weights.shape[1], (weights.shape[1],))
    return weights[:, order]
''',
    hints=(
        "Run it in your head on two states of which one is shorter. Which weights end up where, and how often?",
        "With replacement, one order for all states, padding among the places, and chance from elsewhere: four bugs. "
        "A loop over the states mends three of them at once.",
        "For each state: n = int(real[i].sum()); out[i, :n] = weights[i, torch.randperm(n, generator=generator)].",
    ),
    check=check_shuffled,
)
