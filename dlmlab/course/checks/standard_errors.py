"""Exercise 21.2. Verdicts that agree, differ, exclude each other; numbers that move together."""

import math
from collections.abc import Callable, Sequence

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise


def _variance(x: Sequence[float]) -> float:
    mean = sum(x) / len(x)
    return sum((v - mean) ** 2 for v in x) / (len(x) - 1)


def _errors(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    apart = (_variance(a) + _variance(b)) / len(a)
    return math.sqrt(_variance([x - y for x, y in zip(a, b, strict=True)]) / len(a)), math.sqrt(apart)


def check_standard_errors(fn: Callable) -> None:
    """Judge an answer to 21.2."""

    def run(a: list[float], b: list[float]) -> tuple[float, float]:
        given = list(a), list(b)
        found = fn(*given)
        require(found is not None, NOTHING)
        require(
            isinstance(found, tuple | list) and len(found) == 2, "the result should be two numbers: paired, unpaired"
        )
        require(given == (list(a), list(b)), "a list was changed in place: the caller still needs it")
        return float(found[0]), float(found[1])

    same = [1.0, 1.0, 0.0, 1.0, 0.0]
    paired, apart = run(same, same)
    require(not close(apart, 0.0), "exchanged? Methods that agree everywhere leave the *paired* error at 0")
    require(
        close(paired, 0.0, 1e-9),
        f"two methods that agree on every problem differ by 0 for sure: paired error 0, not {paired:.3f}",
    )
    _, apart = run(same, [1.0, 1.0, 1.0, 1.0, 0.0])  # sample variances 0.3 and 0.2
    for message, wrong in {
        "a variance is not divided by the number of problems: it is that of one verdict, not of a mean": 0.5**0.5,
        "the variance of a difference of means is a sum of two: only one method's is there": (0.3 / 5) ** 0.5,
        "standard errors do not add, their squares do": 0.06**0.5 + 0.04**0.5,
        "the variance of a sample divides by n - 1, not by n": ((0.24 + 0.16) / 5) ** 0.5,
        "that is a variance: a standard error is its root": 0.5 / 5,
        "two methods with n problems are no 2 n problems: each mean has n": (0.5 / 10) ** 0.5,
    }.items():
        require(not close(apart, wrong, 1e-4), message)
    require(close(apart, 0.1**0.5), f"unpaired error {0.1**0.5:.4f}, not {apart:.4f}")
    a, b = [1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]
    paired, apart = run(a, b)
    require(paired > apart, "where one is right when the other is wrong, pairing makes the error *larger*")
    require(close(paired, _errors(a, b)[0]), f"opposite verdicts: paired {_errors(a, b)[0]:.4f}, not {paired:.4f}")
    draw = Cases(212)
    for _ in range(30):
        n = draw.int(2, 12)
        a = draw.normal(n).double().tolist()
        b = [x * float(draw.int(0, 2)) + y for x, y in zip(a, draw.normal(n).double().tolist(), strict=True)]
        for name, got, want in zip(("paired", "unpaired"), run(a, b), _errors(a, b), strict=True):
            require(close(got, want, 1e-5), f"{n} random problems: {name} error {got:.4f}, it should be {want:.4f}")


EXERCISE = Exercise(
    id="21.2",
    title="The same problems, or others",
    minutes=15,
    difficulty=3,
    objective="Say how unsure a difference is, with the problems paired and without.",
    path="dlmlab.pairing.standard_errors",
    stub='''\
def standard_errors(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Give the standard error of mean(a) - mean(b): with the problems paired, and as if they were others.

    a, b: one value a problem, the same problem at the same place, two or more. Variances divide by n - 1.
    """
    raise NotImplementedError
''',
    hints=(
        "Paired: there is one list, of differences. Unpaired: there are two means, each with an error of its own.",
        "The standard error of a mean is the root of variance / n. Variances of independent means add, and then comes "
        "the root.",
        "var = statistics.variance; d = [x - y for x, y in zip(a, b)]; "
        "return (var(d) / len(a)) ** 0.5, ((var(a) + var(b)) / len(a)) ** 0.5",
    ),
    check=check_standard_errors,
)
