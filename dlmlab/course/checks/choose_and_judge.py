"""Exercise 5.5. A harness is watched: which texts make, which choose, which judge, and what is reported."""

from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise

SPLITS = ("calibration", "validation", "test")


def _watched(fn: Callable, losses: dict[tuple[str, str], float]):
    """Run the harness on candidates whose loss on each split is given; note what it looks at."""
    names = list(dict.fromkeys(name for name, _ in losses))
    splits = {split: f"texts for {split}" for split in SPLITS}
    back, made, judged = {texts: split for split, texts in splits.items()}, [], []

    def make(name: str, texts: str) -> tuple[str, str]:
        require(texts in back, "a candidate is made from texts that are in none of the splits")
        made.append((name, back[texts]))
        return name, back[texts]

    def loss(model: tuple[str, str], texts: str) -> float:
        require(texts in back, "a candidate is judged on texts that are in none of the splits")
        judged.append((model[0], back[texts]))
        return losses[model[0], back[texts]]

    out = fn(names, make, loss, splits)
    require(out is not None, NOTHING)
    require(isinstance(out, tuple) and len(out) == 2, "return two things: the name that was chosen and its loss")
    return names, made, judged, out


def check_choose_and_judge(fn: Callable) -> None:
    """Judge an answer to 5.5."""
    draw = Cases(55)
    for n in (3, 1, 2, 5, 8, 4, 6):
        values = draw.uniform(n, len(SPLITS), low=1, high=9)
        names = [f"candidate {i}" for i in range(n)]
        losses = {(m, s): float(values[i, k]) for i, m in enumerate(names) for k, s in enumerate(SPLITS)}
        _, made, judged, (best, reported) = _watched(fn, losses)
        _expect_clean(names, made, judged)
        wanted = min(names, key=lambda name: losses[name, "validation"])
        worst = max(names, key=lambda name: losses[name, "validation"])
        require(n == 1 or best != worst, "a loss is low when it is good: the candidate with the highest was chosen")
        require(best == wanted, "chosen is the candidate with the lowest loss on the validation split")
        require(
            not close(reported, losses[best, "validation"]),
            "the loss by which it was chosen is reported: the minimum of several is too good, judge again on test",
        )
        require(close(reported, losses[best, "test"]), "reported is the loss of the chosen candidate on the test split")


def _expect_clean(names: list[str], made: list, judged: list) -> None:
    used = {split for _, split in made}
    require("test" not in used, "a candidate was made from test texts: what is tuned on them cannot be judged by them")
    require("validation" not in used, "a candidate was made from validation texts: those are for choosing")
    require({name for name, _ in made} == set(names), "every candidate must be made from the calibration texts")
    require(
        ("calibration" not in {split for _, split in judged}),
        "candidates were compared on the texts they were made from: there the most flexible one always wins",
    )
    tested = [name for name, split in judged if split == "test"]
    require(
        len(set(tested)) <= 1, "several candidates were judged on test: choosing by test makes it a second validation"
    )
    require(tested, "nothing was judged on the test split: what is reported must be measured there")
    require(
        {name for name, split in judged if split == "validation"} == set(names), "every candidate is to be compared"
    )


EXERCISE = Exercise(
    id="5.5",
    title="A harness that knows the answers: find the bugs",
    minutes=10,
    difficulty=2,
    objective="Keep what makes, what chooses and what judges a model apart.",
    path="dlmlab.holdout.choose_and_judge",
    kind="find the bug",
    stub='''\
def choose_and_judge(candidates: list[str], make: Callable, loss: Callable, splits: dict) -> tuple[str, float]:
    """Choose the best of several candidates and say how good it will be on new problems: its name and its loss.

    make(name, texts) makes a candidate from texts, loss(made, texts) judges one, low is good; of equal losses the first
    name wins. `splits` holds "calibration", "validation" and "test".
    """
    made = {name: make(name, splits["test"]) for name in candidates}
    losses = {name: loss(made[name], splits["test"]) for name in candidates}
    best = min(losses, key=losses.__getitem__)
    return best, losses[best]
''',
    hints=(
        "Three lines look at texts. For each: could whoever wrote them have known the answer beforehand?",
        "Making, choosing and judging are three things, and there are three splits. The last number to be returned is "
        "measured once, for one candidate.",
        'Make from splits["calibration"], take the min of the losses on splits["validation"], return loss(made[best], '
        'splits["test"]).',
    ),
    check=check_choose_and_judge,
)
