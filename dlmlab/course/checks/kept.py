"""Exercise 9.2. Effects of different units and precision, of both signs, kept whole, in part, or turned round."""

from collections.abc import Callable, Sequence
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise


def _share(first: Sequence[float], second: Sequence[float], errors: Sequence[float]) -> float:
    above = sum(f * s / e**2 for f, s, e in zip(first, second, errors, strict=True))
    return above / sum((f / e) ** 2 for f, e in zip(first, errors, strict=True))


def check_kept(fn: Callable) -> None:
    """Judge an answer to 9.2."""

    def run(first: list[float], second: list[float], errors: list[float]) -> float:
        given = list(first), list(second), list(errors)
        found = fn(*given)
        require(found is not None, NOTHING)
        require(isinstance(found, Real), f"the result is a {type(found).__name__}, it should be a number")
        require(given == (first, second, errors), "a list was changed in place: the caller still needs it")
        return float(found)

    one = run([2.0], [1.0], [0.5])
    require(not close(one, 2.0), "which of them is divided by which? The second effect is a share of the first")
    require(not close(one, 50.0), "a share is 1 at most where nothing grew: not percent")
    require(close(one, 0.5), f"a single verdict, 2 before and 1 now: half is kept, not {one:.3f}")
    signs = run([2.0, -2.0], [1.0, -1.0], [1.0, 1.0])
    require(
        close(signs, 0.5), f"effects below zero are kept as well: 2 and -2 became 1 and -1, a half, not {signs:.3f}"
    )
    turned = run([2.0, -2.0], [-1.0, 1.0], [1.0, 1.0])
    require(close(turned, -0.5), f"both turned round and shrank to a half: -0.5, not {turned:.3f}")
    units = run([100.0, 1.0], [100.0, 0.0], [100.0, 1.0])
    for message, wrong in {
        "points and nats have no common unit: divide each pair by the error of its first effect": 10000 / 10001,
        "shares of the sums let the largest unit decide": 100 / 101,
    }.items():
        require(not close(units, wrong, 1e-4), message)
    require(
        close(units, 0.5), f"one effect kept whole, one lost, both as large as their error: a half, not {units:.3f}"
    )
    sure = run([3.0, 1.0], [3.0, 0.0], [1.0, 1.0])
    for message, wrong in {
        "a mean of the ratios counts what was hardly shown as much as what was sure": 0.5,
        "that is a ratio of sums; a slope weighs each pair by the square of the first effect": 0.75,
        "a correlation forgets the size: half of everything correlates perfectly with all of it": 1.0,
    }.items():
        require(not close(sure, wrong, 1e-4), message)
    require(close(sure, 0.9), f"3 kept whole and 1 lost: 9 of 10, not {sure:.3f}")
    line = run([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
    require(not close(line, 0.0), "the line goes through the origin: what was nothing is expected to stay nothing")
    require(close(line, 12 / 14), f"1, 2, 3 became 2, 2, 2: 12 of 14, not {line:.3f}")
    draw = Cases(93)
    for n in (1, 2, 3, 5, 8, 29):
        for _ in range(4):
            first, second = (draw.normal(n).double().mul(9).tolist() for _ in range(2))
            errors = (draw.uniform(n).double() * 5 + 0.2).tolist()
            found, right = run(first, second, errors), _share(first, second, errors)
            require(
                abs(found - right) < 1e-5 * (1 + abs(right)), f"{n} verdicts: {found:.4f}, it should be {right:.4f}"
            )


EXERCISE = Exercise(
    id="9.2",
    title="How much is kept",
    minutes=10,
    difficulty=2,
    objective="Measure regression to the mean over effects of different units.",
    path="dlmlab.replication.kept",
    stub='''\
def kept(first: Sequence[float], second: Sequence[float], errors: Sequence[float]) -> float:
    """Say which share of the first effects the second ones have: the slope through the origin of second on first.

    Divide each pair by the standard error of its first effect, `errors`: f = first / error, s = second / error; then
    the slope is sum(f * s) / sum(f * f).
    """
    raise NotImplementedError
''',
    hints=(
        "A verdict in points and one in nats: what can they be divided by, so that both are just numbers?",
        "The best line through the origin weighs each pair by the square of its first value. Not the mean of the "
        "ratios: a first effect near zero would rule it.",
        "pairs = [(f / e, s / e) for f, s, e in zip(first, second, errors)]; "
        "return sum(f * s for f, s in pairs) / sum(f * f for f, _ in pairs)",
    ),
    check=check_kept,
)
