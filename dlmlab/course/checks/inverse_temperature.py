"""Exercise 11.2. Golden values of two vocabularies, both ends of alpha; then the ratio itself, by counting."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, expect_values, require, untouched
from dlmlab.course.exercises import Exercise


def check_inverse_temperature(fn: Callable) -> None:
    """Judge an answer to 11.2."""

    def run(alpha: list[float], V: int) -> Tensor:
        a = torch.tensor(alpha)
        with untouched(alpha=a):
            beta = fn(a, V)
        expect_tensor(beta, a.shape, torch.float64)
        return beta

    a = torch.tensor([0.02, 0.1, 0.5, 0.9]).double()
    for V in (10, 333):
        same, other = a + (1 - a) / V, (1 - a) / V
        expect_values(
            run(a.tolist(), V),
            (same / other).log(),
            {
                "a noised token may fall on its old id: q(same) is alpha + (1 - alpha) / V, so the 1 is missing": (
                    a * V / (1 - a)
                ).log(),
                "the ratio is not yet a logarithm: evidence adds up over the places, ratios multiply": same / other,
                "the ratio without its 1 and without its logarithm": a * V / (1 - a),
                "upside down: an agreement is the likelier, so beta is not negative": (other / same).log(),
                "V is missing: a false token falls on one id among V": (1 + a / (1 - a)).log(),
                "alpha and 1 - alpha are exchanged: alpha is the chance to be kept": (1 + (1 - a) * V / a).log(),
                "V - 1: here the noise draws among all V ids, the old one included": (1 + a * (V - 1) / (1 - a)).log(),
                "log2: the exponent of exp is in nats": (same / other).log2(),
                "the log-odds of alpha: the vocabulary is missing": (a / (1 - a)).log(),
                "the chance of another token is (1 - alpha) / V for each id, not 1 - alpha": (same / (1 - a)).log(),
                "this is the evidence of an agreement alone: take that of a disagreement off": same.log(),
                "this is the evidence against a disagreement alone: the agreement is worth something too": -other.log(),
                "multiplied by alpha: no noise schedule enters, only what one place says": a * (same / other).log(),
            },
        )
    ends = run([0.0, 1.0, 0.5], 10)
    require(abs(float(ends[0])) < 1e-12, f"alpha = 0: nothing is kept, nothing is known, beta is 0, got {ends[0]:.3g}")
    require(
        float(ends[1]) == torch.inf,
        f"alpha = 1: no text with a disagreement is possible, beta is inf, got {float(ends[1]):.3g}",
    )
    tiny = run([1e-12], 2)
    require(
        abs(float(tiny[0]) / 2e-12 - 1) < 1e-3,
        "alpha = 1e-12: 1 + something tiny is rounded to 1 before the logarithm; torch.log1p takes it as it is",
    )
    draw = Cases(0)
    for n, V in ((1, 2), (6, 50), (9, 126_464)):
        alpha = draw.uniform(n, low=0.01, high=0.99)
        with untouched(alpha=alpha):
            got = fn(alpha, V)
        a = alpha.double()
        expect_same(got, (1 + a * V / (1 - a)).log(), f"{n} times, V = {V}", tol=1e-4)


EXERCISE = Exercise(
    id="11.2",
    title="The temperature of retrieval",
    minutes=15,
    difficulty=3,
    objective="Derive how sharply noise lets a memory choose.",
    path="dlmlab.corpus.inverse_temperature",
    stub='''\
def inverse_temperature(alpha: Tensor, V: int) -> Tensor:
    """Say by how much one place of disagreement lowers the log-evidence log q(z | x) of a text.

    Uniform noise: each token is kept with probability alpha, else it becomes any of the V ids, all alike (its old one
    among them). So the evidence of a text with d disagreements among L places is a constant minus beta * d.
    Shapes: alpha (B,), float32 or float64, from 0 to 1, both included -> (B,) float64. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Write the chance of the token at one place twice: the text agrees with it, and the text does not.",
        "A token that is not kept may fall back on its old id: so the first is more than alpha.",
        "beta is the difference of the two logarithms. Near alpha = 0 it is tiny: torch.log1p(x) is log(1 + x).",
    ),
    check=check_inverse_temperature,
)
