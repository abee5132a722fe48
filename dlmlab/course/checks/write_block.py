"""Exercise 7.5. Denoisers that agree, that change their mind once, for ever, and that are never sure."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import NOTHING, Cases, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise

MOST = 200  # forwards after which a loop counts as endless


def check_write_block(fn: Callable) -> None:
    """Judge an answer to 7.5."""
    _expect_no_forward(fn)
    _expect_a_correction(fn)
    _expect_an_end(fn)
    draw = Cases(0)
    for L, V in ((1, 3), (6, 5), (9, 7), (12, 4), (8, 9), (5, 6)):
        for tau, edit_tau, extra in ((0.95, 0.9, 16), (0.4, 0.35, 3), (0.6, 0.2, 1), (0.3, 0.0, 5)):
            mask_id, weights = draw.int(0, V - 1), draw.normal(L, L, V)
            x = torch.where(draw.bools(L, share=0.7), mask_id, draw.ids(V, L))
            how = {"tau": tau, "edit_tau": edit_tau, "extra": extra}
            _judge(fn, x, mask_id, weights, how)


class _Denoiser:
    def __init__(self, logits: Callable[[list[int]], list[list[float]]]):
        self.logits, self.shown = logits, []

    def __call__(self, x: Tensor) -> Tensor:
        require(isinstance(x, Tensor) and x.dim() == 1, "denoise takes the ids of the block, (L,)")
        require(len(self.shown) < MOST, f"the loop does not end: {MOST} forwards; what stops it when the model wavers?")
        self.shown.append(x.tolist())
        return torch.tensor(self.logits(x.tolist()))


def _run(fn: Callable, denoise: _Denoiser, x: Tensor, mask_id: int, **how) -> tuple[list[int], int]:
    with untouched(x=x):
        out = fn(denoise, x, mask_id, **how)
    require(out is not None, NOTHING)
    require(isinstance(out, tuple) and len(out) == 2, "return the filled ids and the number of forwards")
    ids, forwards = out
    expect_tensor(ids, x.shape, torch.int64, "the ids")
    require(
        int(forwards) == len(denoise.shown), f"{len(denoise.shown)} forwards were run, {int(forwards)} are reported"
    )
    require(mask_id not in ids.tolist(), "masks are left, or the mask itself was written")
    return ids.tolist(), int(forwards)


def _judge(fn: Callable, x: Tensor, mask_id: int, weights: Tensor, how: dict) -> None:
    def logits(ids: list[int]) -> list[list[float]]:
        seen = torch.sin(1.7 * torch.tensor(ids)[None] + torch.arange(len(ids))[:, None] * 2.3)  # (L, L)
        found = 3 * torch.einsum("ij,ijv->iv", seen, weights) / len(ids) ** 0.5
        found[:, mask_id] += 2.0
        return found.tolist()

    wanted, n = _by_hand(logits, x.tolist(), mask_id, **how)
    case = f"random logits, {len(x)} places, {(x == mask_id).sum()} masks, {how}"
    ids, forwards = _run(fn, _Denoiser(logits), x, mask_id, **how)
    given = [i for i, token in enumerate(x.tolist()) if token != mask_id]
    require(all(ids[i] == int(x[i]) for i in given), f"a token that stood there from the start was edited; {case}")
    require(
        forwards == n,
        f"{n} forwards, got {forwards}: a full block is read while the last forward changed something, "
        f"at most `extra` times; {case}",
    )
    require(ids == wanted, f"another text than the rule gives: {wanted}, got {ids}; {case}")


def _by_hand(logits, x: list[int], mask_id: int, *, tau: float, edit_tau: float, extra: int) -> tuple[list[int], int]:
    """Write the block place by place: the reference."""
    given, forwards, spent, changed = [i for i, t in enumerate(x) if t != mask_id], 0, 0, False
    while True:
        masked = [i for i, t in enumerate(x) if t == mask_id]
        if not masked and (forwards == 0 or spent == extra or not changed):
            return x, forwards
        spent += not masked
        forwards += 1
        best = []
        for values in logits(x):
            allowed = [v for v in range(len(values)) if v != mask_id]
            top = max(allowed, key=lambda v, values=values: values[v])
            best.append((math.exp(values[top]) / sum(math.exp(values[v]) for v in allowed), top))
        write = [i for i in masked if best[i][0] > tau] or sorted(masked, key=lambda i: -best[i][0])[:1]
        edit = [i for i in range(len(x)) if i not in masked and i not in given]
        edit = [i for i in edit if best[i][1] != x[i] and best[i][0] > edit_tau]
        x = [best[i][1] if i in write or i in edit else t for i, t in enumerate(x)]
        changed = bool(write or edit)


def _expect_no_forward(fn: Callable) -> None:
    denoise = _Denoiser(lambda x: [[0.0, 9.0, 0.0]] * len(x))
    ids, _ = _run(fn, denoise, torch.tensor([0, 1, 0]), 2)
    require(not denoise.shown and ids == [0, 1, 0], "a block without masks is not read, nor changed")


def _expect_an_end(fn: Callable) -> None:
    def restless(x: list[int]) -> list[list[float]]:  # never what stands there, and quite sure of it
        return [[20.0 * (v == (t + 1) % 3) for v in range(4)] for t in x]

    for extra in (1, 4, 16):
        denoise = _Denoiser(restless)
        _run(fn, denoise, torch.tensor([3, 3, 3]), 3, extra=extra)
        full = sum(3 not in x for x in denoise.shown)
        require(full == extra, f"a block without masks may be read extra={extra} times, it was read {full} times")


def _expect_a_correction(fn: Callable) -> None:
    def later(x: list[int]) -> list[list[float]]:  # writes 0 0; once both stand there it knows better
        return [[0.0, 9.0, 0.0]] * 2 if 2 not in x else [[9.0, 0.0, 0.0]] * 2

    ids, forwards = _run(fn, _Denoiser(later), torch.tensor([2, 2]), 2)
    require(ids != [0, 0], "a full block is read once more: what was written may have turned out wrong")
    require(ids == [1, 1], f"both tokens are replaced, got {ids}")
    require(forwards == 3, f"one forward writes, one corrects, one finds nothing to change: 3, got {forwards}")
    ids, _ = _run(fn, _Denoiser(later), torch.tensor([2, 0]), 2)
    require(ids == [1, 0], f"what stood there from the start is never edited, got {ids}")


EXERCISE = Exercise(
    id="7.5",
    title="Write and edit, and stop",
    minutes=25,
    difficulty=4,
    objective="Write the loop of a model that may correct itself, so that it ends however often the model wavers.",
    path="dlmlab.editing.write_block",
    stub='''\
def write_block(
    denoise: Callable, x: Tensor, mask_id: int, *, tau: float = 0.95, edit_tau: float = 0.9, extra: int = 16
) -> tuple[Tensor, int]:
    """Fill the masks of a block and edit what was written; returns the text and the number of forwards.

    denoise(x) gives logits (L, V); p and v are the probability and the id of the most probable token of each place, the
    mask ruled out. A forward writes v at masks with p > tau (at the surest mask if there is none) and, at written
    places, replaces what stands there by another v with p > edit_tau. What stands in x from the start is never edited.
    A block that was full when it was read is read again while the last forward changed something, at most `extra`
    times in all; a block without masks is returned unread. Shapes: x (L,) -> (L,). x is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Two reasons to run another forward. Which of them always comes to an end by itself, and which needs a budget?",
        "While a mask stands, or the last forward changed something and the budget is not spent: predict; find what is "
        "written and what is edited from the same forward; put both in place at once. Remember what was given.",
        "edit = (x != mask_id) & ~given & (v != x) & (p > edit_tau); extra -= 1 only when the forward read no mask.",
    ),
    check=check_write_block,
)
