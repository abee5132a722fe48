"""Exercise 12.2. No noise, all noise, masks only, uniform only, few ids and many."""

from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise


def check_noise_shares(fn: Callable) -> None:
    """Judge an answer to 12.2."""

    def run(alpha: float, k: float, V: int) -> tuple[float, float]:
        found = fn(alpha, k, V)
        require(found is not None, NOTHING)
        require(isinstance(found, tuple) and len(found) == 2, "the result is a pair: masked, wrong")
        return float(found[0]), float(found[1])

    masked, wrong = run(0.6, 0.5, 10)  # 0.4 (0.5 + 0.05) = 0.22 and 0.4 * 0.5 * 0.8 = 0.16
    require(
        not close([masked, wrong], [0.33, 0.24]), "alpha is the probability to *keep* a token: 1 - alpha is the noise"
    )
    require(not close([masked, wrong], [0.16, 0.22]), "masked comes first, then wrong")
    require(
        not close(masked, 0.2),
        "uniform noise draws the mask too, once in V draws: k / V of the noise are masks as well",
    )
    require(not close(masked, 0.55), "that is the share of the noised tokens, not of all tokens")
    require(close(masked, 0.22), f"alpha 0.6, k 0.5, 10 ids: a share of 0.22 is masked, not {masked:.3f}")
    require(not close(wrong, 0.2), "a drawn token may be the mask, or the old one: both are not wrong and visible")
    require(
        not close(wrong, 0.18),
        "of V ids, two are not wrong and visible: the mask, and the token that stood there before",
    )
    require(not close(wrong, 0.4), "that is the share of the noised tokens, not of all tokens")
    require(close(wrong, 0.16), f"alpha 0.6, k 0.5, 10 ids: a share of 0.16 is wrong, not {wrong:.3f}")
    draw = Cases(122)
    for k, V in ((0.0, 7), (1.0, 7), (1.0, 2), (0.03, 333), (0.3, 3)):
        for alpha in (0.0, 1.0, float(draw.uniform(1, low=0.05, high=0.95))):
            both, right = run(alpha, k, V), _right(alpha, k, V)
            require(
                close(list(both), list(right)),
                f"alpha {alpha:.2f}, k {k:g}, {V} ids: ({both[0]:.3f}, {both[1]:.3f}) should be "
                f"({right[0]:.3f}, {right[1]:.3f})",
            )


def _right(alpha: float, k: float, V: int) -> tuple[float, float]:
    """Add up what every drawn id does to a token 0 where V - 1 is the mask."""
    r = [k / V + (1 - k) * (v == V - 1) for v in range(V)]
    return (1 - alpha) * r[V - 1], (1 - alpha) * sum(r[1 : V - 1])


EXERCISE = Exercise(
    id="12.2",
    title="Wrong, and visible",
    minutes=10,
    difficulty=2,
    objective="Foresee from how many places a hybrid model can learn to correct.",
    path="dlmlab.priors.noise_shares",
    stub='''\
def noise_shares(alpha: float, k: float, V: int) -> tuple[float, float]:
    """Give the shares of a text's tokens that hybrid noise masks, and that it makes wrong but visible.

    A token is kept with probability alpha; else it is drawn anew: with probability k any of the V ids, of which the
    mask is one, with probability 1 - k the mask. The text had no masks.
    """
    raise NotImplementedError
''',
    hints=(
        "Follow one token. What can become of it? Write the cases in a list with their probabilities; they sum to 1.",
        "Four cases: kept; drawn and equal to the old one by chance; the mask, which comes in two ways; another id "
        "that is not the mask, of which there are V - 2.",
        "return (1 - alpha) * (1 - k + k / V), (1 - alpha) * k * (V - 2) / V",
    ),
    check=check_noise_shares,
)
