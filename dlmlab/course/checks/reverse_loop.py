"""Exercise 1.6. Denoisers that know nothing and depend on every token; rows with no, one and many masks; five rules."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import NOTHING, Cases, close, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise

MOST = 100  # forwards after which a loop counts as endless; no row here needs more than 12


def check_reverse_loop(fn: Callable) -> None:
    """Judge an answer to 1.6."""
    draw = Cases(0)
    shapes = ((1, 1, 3), (1, 7, 5), (1, 12, 9), (4, 6, 6), (3, 1, 4))
    for B, L, V in shapes:
        for name, rule in _RULES.items():
            mask_id, weights = draw.int(0, V - 1), draw.normal(L, L, V)
            x = torch.where(draw.bools(B, L, share=0.6), mask_id, draw.ids(V, B, L))  # masks anywhere: a prompt, or not
            if B > 1:
                x[0] = (mask_id + 1) % V  # nothing to do in the first row
                x[1] = mask_id  # everything in the second
            _judge(fn, x, rule, mask_id, weights, f"{B} rows of {L}, rule: {name}")
    _expect_no_forward(fn)
    _expect_an_end(fn)


def _logits(x: Tensor, weights: Tensor) -> Tensor:
    """Make logits that depend on every token and its place, often highest at the mask, (B, L, V)."""
    L, _, V = weights.shape
    seen = torch.sin(1.7 * x[:, None, :] + torch.arange(L) + 2.0 * torch.arange(L)[:, None])  # (B, L, L)
    return 3 * torch.einsum("bij,ijv->biv", seen, weights) / L**0.5


class _Denoiser:
    def __init__(self, weights: Tensor, mask_id: int):
        self.weights, self.mask_id, self.shown = weights, mask_id, []

    def __call__(self, x: Tensor) -> Tensor:
        require(isinstance(x, Tensor) and x.dim() == 2, "denoise takes ids of shape (B, L), also for a single row")
        require(len(self.shown) < MOST, f"the loop does not end: {MOST} forwards, and masks are left")
        self.shown.append(x.clone())
        logits = _logits(x, self.weights)
        logits[..., self.mask_id] += 2.0
        return logits


def _best(score: Tensor, eligible: Tensor, n: int) -> Tensor:
    take = torch.zeros_like(eligible)
    for b in range(len(score)):
        places = [i for i in range(score.shape[1]) if eligible[b, i]]
        for i in sorted(places, key=lambda i, b=b: -float(score[b, i]))[:n]:
            take[b, i] = True
    return take


_RULES = {
    "the best one": lambda score, eligible: _best(score, eligible, 1),
    "the two best": lambda score, eligible: _best(score, eligible, 2),
    "all above 0.5, and the best": lambda score, eligible: (eligible & (score > 0.5)) | _best(score, eligible, 1),
    "everything, without asking for masks": lambda score, eligible: torch.ones_like(eligible),
    "the leftmost mask": lambda score, eligible: eligible & (eligible.long().cumsum(1) == 1),
}


def _judge(fn: Callable, x: Tensor, rule: Callable, mask_id: int, weights: Tensor, case: str) -> None:
    denoise, asked = _Denoiser(weights, mask_id), []

    def commit(score: Tensor, eligible: Tensor) -> Tensor:
        expect_tensor(eligible, denoise.shown[-1].shape if denoise.shown else x.shape, torch.bool, "`eligible`")
        require(bool(denoise.shown), "the rule was asked before the first forward: predict first")
        now = denoise.shown[-1]
        require(
            torch.equal(eligible, now == mask_id),
            f"`eligible` must be True exactly where a mask stands in what the denoiser just read; {case}",
        )
        asked.append(eligible)
        p = _softmax(denoise, now)
        require(
            isinstance(score, Tensor) and score.shape == now.shape, "`score` should be (B, L), one number a position"
        )
        best, counted = p.amax(-1), _softmax(denoise, now, with_mask=True).gather(-1, p.argmax(-1)[..., None])[..., 0]
        right = close(score[eligible], best[eligible], 1e-4)
        require(
            right or not close(score[eligible], counted[eligible], 1e-4),
            f"the probability of the mask is still in the softmax: rule the mask out first, then divide; {case}",
        )
        require(right, f"`score` should be the probability of the most probable token, the mask ruled out; {case}")
        return rule(score, eligible)

    with untouched(x=x):
        out = fn(denoise, x, commit, mask_id)
    require(out is not None, NOTHING)
    require(
        isinstance(out, tuple) and len(out) == 2, "return two tensors: the filled ids, and the forwards of each row"
    )
    ids, forwards = out
    expect_tensor(ids, x.shape, torch.long, "ids")
    expect_tensor(forwards, (len(x),), torch.long, "forwards")
    require(torch.equal(ids[x != mask_id], x[x != mask_id]), f"a token that stood there was changed; {case}")
    require(not (ids == mask_id).any(), f"masks are left, or the mask itself was committed; {case}")
    rows = [_alone(row, rule, mask_id, weights) for row in x]
    wrong = next((b for b, (row, _) in enumerate(rows) if not torch.equal(ids[b], row)), None)
    require(
        wrong is None,
        f"row {wrong} is not what the loop writes: ask the denoiser again after every commit, and commit only what the "
        f"rule takes, with the tokens of this forward; {case}",
    )
    counts = [n for _, n in rows]
    require(
        len(denoise.shown) >= max(counts, default=0) and forwards.tolist() == counts,
        f"forwards should be {counts}, got {forwards.tolist()}: a row counts a forward while it has a mask; {case}",
    )


def _softmax(denoise: _Denoiser, x: Tensor, with_mask: bool = False) -> Tensor:
    logits = _logits(x, denoise.weights)
    logits[..., denoise.mask_id] += 2.0
    full = logits.softmax(-1)
    if not with_mask:
        logits[..., denoise.mask_id] = -torch.inf
        return logits.softmax(-1)
    full[..., denoise.mask_id] = 0.0
    return full


def _alone(row: Tensor, rule: Callable, mask_id: int, weights: Tensor) -> tuple[Tensor, int]:
    """Decode one row, position by position: the reference."""
    row, forwards, V = row.clone(), 0, weights.shape[2]
    while mask_id in row.tolist():
        logits = _logits(row[None], weights)[0].tolist()
        best, score = [], []
        for values in logits:
            allowed = [v for v in range(V) if v != mask_id]
            total = sum(math.exp(values[v]) for v in allowed)
            token = max(allowed, key=lambda v, values=values: values[v])
            best.append(token)
            score.append(math.exp(values[token]) / total)
        eligible = row == mask_id
        take = rule(torch.tensor([score]), eligible[None])[0]
        for i in range(len(row)):
            if take[i] and eligible[i]:
                row[i] = best[i]
        forwards += 1
    return row, forwards


def _expect_no_forward(fn: Callable) -> None:
    denoise = _Denoiser(torch.zeros(3, 3, 4), 3)
    ids, forwards = fn(denoise, torch.tensor([[0, 1, 2]]), _RULES["the best one"], 3)
    require(
        not denoise.shown and ids.tolist() == [[0, 1, 2]] and forwards.tolist() == [0],
        "a text without masks needs no forward: look for masks before you predict",
    )


def _expect_an_end(fn: Callable) -> None:
    denoise = _Denoiser(torch.ones(3, 3, 4), 3)
    try:
        fn(denoise, torch.tensor([[0, 3, 3]]), lambda score, eligible: torch.zeros_like(eligible), 3)
    except ValueError:
        return
    raise AssertionError("a rule that commits nothing is an error: raise ValueError, or the loop never ends")


EXERCISE = Exercise(
    id="1.6",
    title="Write the reverse loop",
    minutes=30,
    difficulty=4,
    objective="Write the loop that turns masks into text, with any denoiser and any commit rule.",
    path="dlmlab.loop.reverse_loop",
    stub='''\
def reverse_loop(denoise: Callable, x: Tensor, commit: Callable, mask_id: int) -> tuple[Tensor, Tensor]:
    """Fill every mask of x: propose the most probable token everywhere, commit what the rule takes, repeat.

    denoise(x) gives logits (B, L, V). commit(score, eligible) -> (B, L) bool is given the probability of each proposed
    token, the mask ruled out, and where a mask stands; what is no mask stays, whatever the rule says.
    Shapes: x (B, L) -> filled ids (B, L), and for each row the number of forwards in which it still had a mask, (B,)
    int64. Raises ValueError when a forward commits nothing: the loop would never end. x is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "`denoise_v1` is this loop for one row and one rule. What must be asked again at every turn, and what never?",
        "Five lines inside a while: where are masks; logits without the mask; the best token and its probability; what "
        "the rule takes, of the masks only; the text with these tokens in place. Count before the text changes.",
        "logits[..., mask_id] = -inf; score, token = logits.softmax(-1).max(-1); x = torch.where(take, token, x); and "
        "forwards += eligible.any(1).",
    ),
    check=check_reverse_loop,
)
