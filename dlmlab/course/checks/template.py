"""Exercise 19.1. Windows of which nothing, something, all is given; solutions as long as the window; ids of 0."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise

MASK, END = 1, 0


def check_template(fn: Callable) -> None:
    """Judge an answer to 19.1."""

    def run(solution: Tensor, shown: Tensor, length: int, mask_id: int = MASK) -> Tensor:
        with untouched(solution=solution, shown=shown):
            found = fn(solution, shown, length, mask_id)
        expect_tensor(found, (length,), solution.dtype)
        return found

    solution = torch.tensor([20, 7, 30, 8, 50, 9])  # 20 + 30 = 50 ;
    signs = torch.tensor([False, True, False, True, False, True])
    found = run(solution, signs, 10).tolist()
    require(found[6:] != [END] * 4, "end marks after the solution give away how long it is: mask these places, too")
    require(
        found[:6] != [MASK if s else t for s, t in zip(signs.tolist(), solution.tolist(), strict=True)],
        "what should be given is masked, and the rest is given away: True means given",
    )
    require(
        found[:3] != [7, 8, 9], "the given tokens moved to the front: each stands at its own place, that is infilling"
    )
    require(found[-6:] != [1, 7, 1, 8, 1, 9], "the solution begins at the first place of the window")
    require(found == [1, 7, 1, 8, 1, 9, 1, 1, 1, 1], f"+, = and ; given of six tokens in a window of ten: {found}")
    require(
        run(solution, signs, 8, mask_id=3).tolist() == [3, 7, 3, 8, 3, 9, 3, 3], "the mask is `mask_id`, here 3, not 1"
    )
    zero = run(torch.tensor([0, 5]), torch.tensor([True, False]), 3).tolist()
    require(zero == [0, 1, 1], f"a given token of id 0 is a token, too: [0, mask, mask], not {zero}")
    draw = Cases(191)
    for S, length in ((1, 1), (1, 5), (6, 6), (20, 22), (0, 4), (9, 30)):
        for share in (0.0, 0.4, 1.0):
            solution, shown = draw.ids(300, S), draw.bools(S, share=share)
            right = torch.tensor([MASK] * length, dtype=solution.dtype)
            for i in range(S):
                if shown[i]:
                    right[i] = solution[i]
            expect_same(run(solution, shown, length), right, f"{S} tokens in {length} places, {share:.0%} given")
    try:
        fn(torch.tensor([20, 7, 30]), torch.tensor([True, False, True]), 2, MASK)
    except ValueError:
        return
    require(False, "three tokens do not fit into two places: raise ValueError, do not cut")


EXERCISE = Exercise(
    id="19.1",
    title="A part of an answer",
    minutes=10,
    difficulty=2,
    objective="Build the window of an answer of which a part is given.",
    path="dlmlab.template.template",
    stub='''\
def template(solution: Tensor, shown: Tensor, length: int, mask_id: int) -> Tensor:
    """Build the answer window in which some tokens of a solution are given: (length,) ids.

    A token of `solution` stands at its own place where `shown` is True. All else is the mask, also what comes after
    the solution: where an answer ends is not given away. Shapes: solution (S,) ids, shown (S,) bool, S <= length.
    Raises `ValueError` for a solution that does not fit.
    """
    raise NotImplementedError
''',
    hints=(
        "Which places does the model not have to fill? Only those. What does an end mark tell it?",
        "Start from a window of masks. Then only the first S places can change.",
        "window = torch.full((length,), mask_id, dtype=solution.dtype); window[:S] = torch.where(shown, solution, "
        "mask_id); before that, raise ValueError if S > length",
    ),
    check=check_template,
)
