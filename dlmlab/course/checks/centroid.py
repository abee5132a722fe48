"""Exercise 3.3. Looked at: states with two sinks of unequal mass, with one, with none, and what is left alone;
then many shapes, summed sink by sink."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, close, expect_tensor, require, show, untouched
from dlmlab.course.exercises import Exercise


def check_centroid(fn: Callable) -> None:
    """Judge an answer to 3.3."""

    def run(m: list[list[float]], sinks: list[list[int]]) -> Tensor:
        mass, marked = torch.tensor(m), torch.tensor(sinks, dtype=torch.bool)
        with untouched(m=mass, sinks=marked):
            c = fn(mass, marked)
        expect_tensor(c, (len(m),), torch.float32)
        return c

    c = run([[1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0], [6.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0]], [[0, 0, 1, 0, 0, 0, 0]] * 2)
    require(not close(c, [3.0, 3.0]), "positions count from 0: the sink of both states is at 2, you say 3")
    require(
        close(c, [2.0, 2.0]),
        f"one sink, at 2: the centroid is where it is, whatever the other positions get; got {show(c)}",
    )
    m = [[6.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0], [1.0, 4.0, 1.0, 9.0, 1.0, 9.0, 1.0]]
    sinks = [[1, 0, 0, 0, 1, 0, 0], [0, 1, 0, 1, 0, 0, 0]]
    c = run(m, sinks)  # 8 / 8 and 31 / 13
    require(not close(c, [2.0, 2.0]), "every sink counts the same here: weigh each by its mass")
    require(not close(c, [(8 + 31) / 21] * 2), "one centroid for all states: each state has its own")
    require(not close(c, [0.0, 3.0]), "only the strongest sink counts: take the mean of all")
    require(
        close(c, [1.0, 31 / 13]),
        f"sinks of mass 6 at 0 and 2 at 4 have their centroid at (6 * 0 + 2 * 4) / (6 + 2) = 1; got {show(c)}",
    )
    c = run([[1.0, 2.0, 9.0], [5.0, 1.0, 1.0], [0.0, 1.0, 9.0]], [[0, 0, 0], [1, 0, 0], [0, 0, 1]])
    require(close(c[1:], [0.0, 2.0]), f"states beside one without a sink changed: should be 0.00 and 2.00; {show(c)}")
    require(c[0].isnan(), f"a state without a sink has no centroid: NaN, not {c[0]:.2f}, which looks like a position")
    draw = Cases(0)
    for S, L, share in ((1, 1, 1.0), (1, 8, 0.4), (6, 1, 0.5), (5, 12, 0.3), (9, 3, 0.5), (4, 20, 0.0)):
        m, sinks = draw.uniform(S, L, low=0.1, high=9.0), draw.bools(S, L, share=share)
        with untouched(m=m, sinks=sinks):
            c = fn(m, sinks)
        expect_tensor(c, (S,), torch.float32)
        for s in range(S):
            found = [(i, float(m[s, i])) for i in range(L) if sinks[s, i]]
            mass = sum(each for _, each in found)
            centre = sum(i * each for i, each in found) / mass if found else float("nan")
            require(
                close(c[s], centre, tol=1e-4) or (not found and bool(c[s].isnan())),
                f"random inputs, {S} states of {L} positions: state {s} with sinks at {[i for i, _ in found]} should "
                f"give {centre:.2f}, got {float(c[s]):.2f}",
            )


EXERCISE = Exercise(
    id="3.3",
    title="Find the centre of the sinks",
    minutes=10,
    difficulty=2,
    objective="Follow sinks over states by one number, and know when there is none.",
    path="dlmlab.sinks.centroid",
    stub='''\
def centroid(m: Tensor, sinks: Tensor) -> Tensor:
    """Return the mean position of the sinks of each state, each sink weighted by its mass.

    sum_i i m[s, i] / sum_i m[s, i], both sums over the sinks i of state s; positions count from 0. A state without a
    sink gives NaN. Shapes: m (S, L), mass; sinks (S, L) bool -> (S,). No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "m * sinks is the mass where a sink is and 0 elsewhere. A weighted mean is two sums and a division.",
        "Where no position is a sink, both sums are zero, and floating-point numbers have an answer to zero by zero.",
        "weight = m * sinks; multiply by torch.arange(L) and sum over -1, then divide by weight.sum(-1): 0 / 0 is NaN.",
    ),
    check=check_centroid,
)
