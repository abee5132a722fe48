"""Exercise 0.1. Wanted: everything before the first end mark, or everything; then random ids, of all sizes."""

from collections.abc import Callable

from dlmlab.course.checks.expect import NOTHING, Cases, require
from dlmlab.course.exercises import Exercise


def check_cut_at_end(fn: Callable) -> None:
    """Judge an answer to 0.1."""
    ids = [5, 0, 7, 9, 8, 9, 9]
    got = fn(ids, 9)
    require(ids == [5, 0, 7, 9, 8, 9, 9], "ids was changed in place: the caller still needs it, return a new list")
    require(got is not None, NOTHING)
    require(isinstance(got, list), f"the result is a {type(got).__name__}, it should be a list")
    require(got != [5, 0, 7, 9], "the end mark itself is still there: it ends the answer, it is no part of it")
    require(got != [5, 0, 7, 9, 8, 9], "cut at the last end mark: what follows the first one is no longer the answer")
    require(got != [5, 0, 7, 9, 8], "only the end marks at the tail are gone: what follows the first one must go, too")
    require(got != [5, 0, 7, 8], "the end marks were removed one by one: what follows the first one must go, too")
    require(got != [5], "cut at token id 0, which is an ordinary token when eos_id is 9")
    require(got == [5, 0, 7], f"cut_at_end({ids}, 9) gave {got}, it should be [5, 0, 7]")
    got = fn([5, 6, 7], 9)
    require(got == [5, 6, 7], f"an answer without an end mark lost tokens: it should stay [5, 6, 7], got {got}")
    got = fn([5, 0, 6, 0, 0], 0)
    require(got == [5], f"eos_id = 0 is an end mark like any other (here it is the real one): should be [5], got {got}")
    got = fn([9, 4, 9], 9)
    require(got == [], f"an answer that starts with the end mark is empty, got {got}")
    got = fn([], 9)
    require(got == [], f"an empty answer stays empty, got {got}")
    draw = Cases(0)
    for _ in range(200):
        ids = (draw.ids(8, draw.int(0, 12)) * draw.int(1, 400)).tolist()
        eos_id = ids[draw.int(0, len(ids) - 1)] if ids and draw.int(0, 3) else draw.int(0, 2800)
        right = []
        for id in ids:
            if id == eos_id:
                break
            right.append(id)
        copy = [int(str(id)) for id in ids]  # equal numbers, other objects
        got = fn(copy, int(str(eos_id)))
        require(copy == ids, "ids was changed in place: the caller still needs it, return a new list")
        require(got == right, f"cut_at_end({ids}, {eos_id}) gave {got}, it should be {right}")


EXERCISE = Exercise(
    id="0.1",
    title="Cut an answer at its end mark",
    minutes=5,
    difficulty=1,
    objective="Read an answer out of a fixed number of generated tokens.",
    path="dlmlab.trace.cut_at_end",
    stub='''\
def cut_at_end(ids: list[int], eos_id: int) -> list[int]:
    """Return the ids before the first end mark, or all of them when there is none.

    `ids` is not changed. Any id can be the end mark, 0 included.
    """
    raise NotImplementedError
''',
    hints=(
        "Two questions: is there an end mark at all, and where is the first one? The list is not yours to change.",
        "A list knows whether it holds a number and where the first one stands; a slice copies what comes before.",
        "`eos_id in ids` asks the first, `ids.index(eos_id)` the second; `ids[:n]` leaves out position n.",
    ),
    check=check_cut_at_end,
)
