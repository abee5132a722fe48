"""Exercise 13.2. Rows with prompts, with nothing written, with nothing left to write; any eta; then a run that ends."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_given_up(fn: Callable) -> None:
    """Judge an answer to 13.2."""
    four = torch.tensor([[0.9, 0.35, 0.8, 0.6]])
    masks, tokens = torch.tensor([[True, True, False, False]]), torch.tensor([[False, False, True, True]])
    got = _run(fn, four, four, masks, tokens, [1], 0.5)
    require(
        bool(got.any()), "tokens .8 and .6 at eta = .5 count .4 and .3, a mask counts .9: somebody has to go, or not?"
    )
    require(
        got.tolist() == [[False, False, False, True]],
        "masks .9, .35, tokens .8, .6, one is due, eta = .5: the three places .9, .4 and .35 stand, so the last token, "
        "which counts .3, goes",
    )
    got = _run(fn, four, four, masks, tokens, [1], 1.0)
    require(not bool(got.any()), "eta = 1: the three surest places are .9, .8, .6, both tokens are among them")
    got = _run(fn, four, four, masks, tokens, [2], 0.1)
    require(not bool(got.any()), "all four places are to stand after this forward: nothing can be given up")
    got = _run(fn, torch.tensor([[0.9, 0.35, 0.1, 0.1]]), four, masks, tokens, [1], 1.0)
    require(not bool(got.any()), "a token counts with its own probability, `present`, not with that of a proposal")
    got = _run(fn, four, torch.tensor([[0.9, 0.35, 0.1, 0.05]]), masks, tokens, [0], 1.0)
    require(
        got.tolist() == [[False, False, True, True]],
        "nothing is due, but two unsure tokens, .1 and .05, change places with the two surer masks",
    )
    draw = Cases(132)
    for B, L in ((1, 5), (3, 7), (2, 12), (4, 9), (1, 1), (5, 6)):
        for eta in (0.0, 0.3, 1.0, 4.0):
            kind = draw.ids(3, B, L)  # 0 mask, 1 token, 2 neither
            masks, tokens = kind == 0, kind == 1
            due = [draw.int(0, int(row.sum())) for row in masks]
            confidence, present = draw.uniform(B, L), draw.uniform(B, L)
            _judge(fn, confidence, present, masks, tokens, due, eta)
    _expect_an_end(fn)


def _run(fn, confidence: Tensor, present: Tensor, masks: Tensor, tokens: Tensor, due: list[int], eta: float) -> Tensor:
    n = torch.tensor(due)
    with untouched(confidence=confidence, present=present, masked=masks, written=tokens, due=n):
        got = fn(confidence, present, masks, tokens, n, eta)
    expect_tensor(got, tuple(masks.shape), torch.bool)
    require(not bool((got & ~tokens).any()), "only a written token can be given up: no mask, no token of the prompt")
    return got


def _reference(confidence: Tensor, present: Tensor, masks: Tensor, tokens: Tensor, due: list[int], eta: float):
    """Mark what is given up place by place, a list for each row."""
    found = []
    for row in range(len(masks)):
        places = [i for i in range(masks.shape[1]) if masks[row, i] or tokens[row, i]]
        score = {i: float(eta * present[row, i] if tokens[row, i] else confidence[row, i]) for i in places}
        stand = sorted(places, key=lambda i, score=score: (-score[i], i))[: int(tokens[row].sum()) + due[row]]
        found.append([bool(tokens[row, i]) and i not in stand for i in range(masks.shape[1])])
    return found


def _judge(fn, confidence: Tensor, present: Tensor, masks: Tensor, tokens: Tensor, due: list[int], eta: float) -> None:
    got = _run(fn, confidence, present, masks, tokens, due, eta).tolist()
    for row, right in enumerate(_reference(confidence, present, masks, tokens, due, eta)):
        case = f"row {row} of {len(masks)}, {int(tokens[row].sum())} tokens, {int(masks[row].sum())} masks, "
        case += f"{due[row]} due, eta = {eta}"
        count, wanted = sum(got[row]), sum(right)
        require(count == wanted, f"random inputs, {case}: {count} tokens are given up, it should be {wanted}")
        require(got[row] == right, f"random inputs, {case}: the wrong tokens are given up")


def _expect_an_end(fn: Callable) -> None:
    """Run a schedule of four forwards with a model that trusts nothing it has written."""
    G, confidence, present = 8, torch.linspace(0.9, 0.2, 8)[None], torch.full((1, 8), 0.01)
    stands = torch.zeros(1, G, dtype=torch.bool)
    for _ in range(4):
        free = ~stands
        again = _run(fn, confidence, present, free, stands, [2], 1.0)
        n = 2 + int(again.sum())
        require(
            n <= int(free.sum()),
            f"{int(again.sum())} tokens are given up and 2 masks are due, but only {int(free.sum())} masks are there: "
            "the schedule falls behind, and the run does not end with it",
        )
        require(
            again.tolist() == _reference(confidence, present, free, stands, [2], 1.0),
            f"in a run of four forwards, with {int(stands.sum())} places written, the wrong tokens are given up",
        )
        write = confidence.masked_fill(~free, -1.0).argsort(dim=-1, descending=True, stable=True)[0, :n]
        stands = (stands & ~again).index_fill(1, write, True)


EXERCISE = Exercise(
    id="13.2",
    title="A rule that changes its mind and still ends",
    minutes=20,
    difficulty=3,
    objective="Let written and unwritten places compete under a schedule that ends.",
    path="dlmlab.revise.given_up",
    stub='''\
def given_up(confidence: Tensor, present: Tensor, masked: Tensor, written: Tensor, due: Tensor, eta: float) -> Tensor:
    """Mark the written tokens that are masked again, (B, L) bool.

    After the forward, n = written + due places of a row stand: the n surest of its masks and written tokens together.
    A mask counts its `confidence`, a written token `eta` times its probability now, `present`; ties go to the lowest
    index. Other places (a prompt) have no part in it. Shapes: confidence, present (B, L); masked, written (B, L) bool;
    due (B,). Nothing is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Forget for a moment which places are masks. How many stand after this forward, and which ones deserve it?",
        "One score for every place that takes part, minus infinity elsewhere; the rank of each place in its row; who "
        "ranks n or later does not stand. The answer is those of them that were written.",
        "rank = dl.commit.order_of(score, masked | written)[1]; return written & (rank >= (written.sum(1) + "
        "due)[:, None])",
    ),
    check=check_given_up,
)
