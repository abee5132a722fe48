"""Exercise 8.2. Vectors of different lengths, with known angles; states, positions and width all differ; age 0; then
random vectors at every age."""

from collections.abc import Callable

import torch

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, show, untouched
from dlmlab.course.exercises import Exercise


def check_moved(fn: Callable) -> None:
    """Judge an answer to 8.2."""
    # three states, two positions: position 0 turns by a right angle at each state and grows; position 1 only grows
    x = torch.tensor([[[1.0, 0, 0, 0], [1, 2, 0, 0]], [[0, 2.0, 0, 0], [2, 4, 0, 0]], [[-3.0, 0, 0, 0], [3, 6, 0, 0]]])

    def run(age: int, rows: int) -> torch.Tensor:
        with untouched(x=x):
            distance = fn(x, age)
        expect_tensor(distance, (rows, 2), torch.float32)
        return distance

    sixty = torch.tensor([[[2.0, 0.0]], [[0.5, 0.75**0.5]]])  # cosine 0.5, two thirds of a right angle
    turned = fn(sixty, 1)
    require(
        not (isinstance(turned, torch.Tensor) and turned.numel() == 1 and abs(float(turned) - 2 / 3) < 1e-3),
        "this is the angle, in right angles: asked is 1 minus its cosine, 0.50 at sixty degrees",
    )
    one = run(1, 2)
    require(
        not torch.allclose(one[:, 1], torch.ones(2), atol=1e-5),
        "a vector that keeps its direction has distance 0, not 1",
    )
    require(
        torch.allclose(one[:, 1], torch.zeros(2), atol=1e-5),
        f"only the direction counts: a vector that grows has distance 0, got {show(one[:, 1])}; divide by both lengths",
    )
    require(torch.allclose(one[:, 0], torch.ones(2), atol=1e-5), f"a right angle is distance 1, got {show(one[:, 0])}")
    two = run(2, 1)
    require(
        torch.allclose(two[0, 0], torch.tensor(2.0), atol=1e-5),
        f"two states later it points the other way, distance 2, got {two[0, 0]:.2f}: compare states s and s + age",
    )
    try:
        at_once = run(0, 3)
    except RuntimeError:  # nothing against three states
        at_once = None
    require(
        at_once is not None,
        "age 0 compares every state with itself: x[:-0] is x[:0], which is empty; end the slice at len(x) - age",
    )
    require(
        torch.allclose(at_once, torch.zeros(3, 2), atol=1e-5),
        f"at age 0 every vector is compared with itself, distance 0, got {show(at_once.flatten())}",
    )
    draw = Cases(0)
    for S, L, D in ((1, 1, 3), (2, 1, 5), (3, 7, 2), (6, 2, 32), (5, 4, 8)):
        vectors = draw.normal(S, L, D) * draw.uniform(S, L, 1, low=0.1, high=9.0)
        for age in range(S):
            right = torch.zeros(S - age, L, dtype=torch.float64)
            for s in range(S - age):
                for i in range(L):
                    a, b = vectors[s, i].double(), vectors[s + age, i].double()
                    right[s, i] = 1 - sum(a * b) / (sum(a * a) * sum(b * b)).sqrt()
            with untouched(x=vectors):
                distance = fn(vectors, age)
            case = f"age {age} of {S} states, {L} positions, width {D}: one minus the cosine of the two vectors"
            expect_same(distance, right.float(), case, tol=2e-5)


EXERCISE = Exercise(
    id="8.2",
    title="Measure drift",
    minutes=10,
    difficulty=2,
    objective="Say how wrong an old key is.",
    path="dlmlab.drift.moved",
    stub='''\
def moved(x: Tensor, age: int) -> Tensor:
    """Measure how far vectors have turned `age` states later: 1 - cosine of x[s, l] and x[s + age, l].

    Shapes: x (S, L, D), one vector a state and position -> (S - age, L). 0 is "as it was", 1 "at a right angle".
    """
    raise NotImplementedError
''',
    hints=(
        "Which pairs of states are compared, and how many are there? At age 0 every state is its own partner.",
        "All states but the last `age`, beside all but the first `age`; the cosine runs over the last dimension.",
        "1 - torch.nn.functional.cosine_similarity(x[: len(x) - age], x[age:], dim=-1)",
    ),
    check=check_moved,
)
