"""Exercise 21.1. Readers that are sure and right, sure and wrong, constant, in between; events that are rare."""

from collections.abc import Callable, Sequence
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise


def _skill(said: Sequence[float], happened: Sequence[bool]) -> float:
    share = sum(happened) / len(happened)
    return 1 - sum((p - h) ** 2 for p, h in zip(said, happened, strict=True)) / sum((share - h) ** 2 for h in happened)


def check_skill(fn: Callable) -> None:
    """Judge an answer to 21.1."""

    def run(said: list[float], happened: list[bool]) -> float:
        given = list(said), list(happened)
        found = fn(*given)
        require(found is not None, NOTHING)
        require(isinstance(found, Real), f"the result is a {type(found).__name__}, it should be a number")
        require(given == (list(said), list(happened)), "a list was changed in place: the caller still needs it")
        return float(found)

    rare = [True, False, False, False]
    sure = run([1.0, 0.0, 0.0, 0.0], rare)
    require(not close(sure, 0.0), "who is sure and right has skill 1, not 0: 0 is the score, the skill compares it")
    require(not close(sure, 100.0), "the skill is a share, 1 at most, not percent")
    require(close(sure, 1.0), f"who is sure and right everywhere has skill 1, not {sure:.3f}")
    doubt = run([0.9, 0.6, 0.5], [True, True, False])
    for message, wrong in {
        "distances are squared: a little doubt costs little, a sure error much": (0.25, -0.5),
        "what was said is a probability: rounding it to yes or no throws the doubt away": (1.0,),
        "the constant's score has squares as well: (share - happened) squared, not |share - happened|": (0.685,),
        "every case counts: only those that did not happen were scored": (0.625,),
        "the constant is the share that happened, two thirds here; is yours 0.5?": (0.44,),
    }.items():
        require(not any(close(doubt, w) for w in wrong), message)
    require(close(doubt, 0.37), f"0.9, 0.6 and 0.5 for two that happened and one that did not: 0.37, not {doubt:.3f}")
    blind = run([0.25] * 4, rare)
    require(
        close(blind, 0.0),
        f"who says to every case the share that happened *is* the constant: skill 0, not {blind:.3f}; is yours 0.5?",
    )
    lean = run([0.6, 0.6, 0.6, 0.2], rare)
    require(
        not close(lean, 1 - 0.23 / 0.25),
        "the constant is the share that happened, neither a coin nor the mean of what was said",
    )
    require(not close(lean, 0.0), "a reader can be worse than the constant: negative is allowed")
    require(close(lean, 1 - 0.23 / 0.1875), f"three times 0.6 and 0.2, one yes: skill -0.227, not {lean:.3f}")
    no = run([0.0] * 4, rare)
    require(close(no, 1 - 0.25 / 0.1875), f"'no' to four cases of which one happened: skill -0.333, not {no:.3f}")
    draw = Cases(211)
    for _ in range(30):
        n = draw.int(3, 15)
        happened = draw.bools(n, share=0.4).tolist()
        happened[:2] = [True, False]
        said = draw.uniform(n).double().tolist()
        found, right = run(said, happened), _skill(said, happened)
        require(close(found, right, 1e-5), f"random forecasts of {n} cases: {found:.3f}, it should be {right:.3f}")


EXERCISE = Exercise(
    id="21.1",
    title="A reader against a constant",
    minutes=10,
    difficulty=2,
    objective="Score probabilities against a guess that needs no reading.",
    path="dlmlab.forecast.skill",
    stub='''\
def skill(said: Sequence[float], happened: Sequence[bool]) -> float:
    """Say which share of the best constant's Brier score a reader saves: 1 - score(said) / score(constant).

    Score: the mean of (said - happened)^2. Constant: one probability for all cases, the share that happened.
    Not all and not none happened.
    """
    raise NotImplementedError
''',
    hints=(
        "Which constant has the least mean square to a list of zeros and ones?",
        "Write the score as a function of its own and call it twice: once for what was said, once for a list that "
        "holds the share that happened, as often as there are cases.",
        "share = sum(happened) / len(happened); own = sum((p - h) ** 2 for p, h in zip(said, happened)); "
        "return 1 - own / sum((share - h) ** 2 for h in happened)",
    ),
    check=check_skill,
)
