"""Exercise 13.1. Models whose answer at a place depends on what stands there and on masks, and that count the calls."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, close, expect_same, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_leave_one_out(fn: Callable) -> None:
    """Judge an answer to 13.1."""
    draw = Cases(131)
    for L, V, share in ((4, 5, 1.0), (6, 4, 0.5), (9, 7, 0.4), (1, 3, 1.0), (7, 5, 0.7), (12, 6, 0.3)):
        weights, mask_id = draw.normal(L, L, V), draw.int(0, V - 1)
        x = (mask_id + 1 + draw.ids(V - 1, L)) % V  # no mask
        places = draw.bools(L, share=share)
        places[draw.int(0, L - 1)] = True
        _judge(fn, x, places, mask_id, weights)
    L, V, mask_id = 6, 5, 4
    x, places = draw.ids(4, L), draw.bools(L, share=0.5)
    x[2], places[2], places[3] = mask_id, False, True  # a hole in the text that is not in question
    _judge(fn, x, places, mask_id, draw.normal(L, L, V))
    nobody = torch.zeros(L, dtype=torch.bool)
    denoise = _Denoiser(draw.normal(L, L, V), mask_id)
    got = fn(denoise, x, nobody, mask_id)
    expect_tensor(got, (L,), torch.float32)
    require(not denoise.shown, "no place is in question: nothing has to be read")
    require(close(got, torch.ones(L)), "places that are not in question have confidence 1")


class _Denoiser:
    """Logits from the whole context, more for what stands there: a visible token looks sure of itself."""

    def __init__(self, weights: Tensor, mask_id: int):
        self.weights, self.mask_id, self.shown = weights, mask_id, []

    def __call__(self, ids: Tensor) -> Tensor:
        require(isinstance(ids, Tensor) and ids.dim() == 2, "denoise takes rows of ids, (B, L): one for each place")
        self.shown.append(ids.clone())
        V = self.weights.shape[-1]
        seen = torch.sin(1.7 * ids[:, None] + torch.arange(ids.shape[1])[:, None] * 2.3)  # (B, L, L)
        logits = torch.einsum("bij,ijv->biv", seen, self.weights)
        own = torch.nn.functional.one_hot(ids, V).float() * (ids != self.mask_id)[..., None]
        return logits + 3 * own + 2.0 * (torch.arange(V) == self.mask_id)


def _judge(fn: Callable, x: Tensor, places: Tensor, mask_id: int, weights: Tensor) -> None:
    denoise, L = _Denoiser(weights, mask_id), len(x)
    with untouched(x=x, places=places):
        got = fn(denoise, x, places, mask_id)
    expect_tensor(got, (L,), torch.float32)
    case = f"{L} places, {int(places.sum())} in question"
    for message, wrong in _mistakes(denoise, x, places, mask_id).items():
        if not torch.allclose(wrong, _right(_Denoiser(weights, mask_id), x, places, mask_id), atol=1e-4):
            require(not torch.allclose(got, wrong, atol=1e-5), message)
    require(
        len(denoise.shown) == 1 and len(denoise.shown[0]) == int(places.sum()),
        f"one call with a row for each place in question, {int(places.sum())}; there were {len(denoise.shown)} calls "
        f"with {[len(ids) for ids in denoise.shown]} rows",
    ) if len(denoise.shown) else require(False, "the network was never asked")
    require(close(got[~places], torch.ones(L)[~places]), "places that are not in question have confidence 1")
    expect_same(got, _right(_Denoiser(weights, mask_id), x, places, mask_id), case)


def _probability(logits: Tensor, mask_id: int, token: int, drop: bool = True) -> float:
    logits = logits.clone()
    if drop:
        logits[mask_id] = float("-inf")
    return float(logits.softmax(-1)[token])


def _right(denoise: _Denoiser, x: Tensor, places: Tensor, mask_id: int, *, drop: bool = True) -> Tensor:
    found = torch.ones(len(x))
    for i in places.nonzero()[:, 0].tolist():
        row = x.clone()
        row[i] = mask_id
        found[i] = _probability(denoise(row[None])[0, i], mask_id, int(x[i]), drop)
    return found


def _mistakes(denoise: _Denoiser, x: Tensor, places: Tensor, mask_id: int) -> dict[str, Tensor]:
    fresh = _Denoiser(denoise.weights, mask_id)
    visible, blind, best = torch.ones(len(x)), torch.ones(len(x)), torch.ones(len(x))
    together = fresh(torch.where(places, mask_id, x)[None])[0]
    for i in places.nonzero()[:, 0].tolist():
        visible[i] = _probability(fresh(x[None])[0, i], mask_id, int(x[i]))
        blind[i] = _probability(together[i], mask_id, int(x[i]))
        row = x.clone()
        row[i] = mask_id
        logits = fresh(row[None])[0, i].clone()
        logits[mask_id] = float("-inf")
        best[i] = float(logits.softmax(-1).max())
    return {
        "the token is visible while it is judged: that is the re-evaluated confidence, it vouches for itself": visible,
        "all places in question are masked at once: each should be judged with all others visible": blind,
        "the probability of what the model would write there, not of what stands there": best,
        "the mask has a share of the probability: it is never written": _right(fresh, x, places, mask_id, drop=False),
    }


EXERCISE = Exercise(
    id="13.1",
    title="Judged by all others",
    minutes=15,
    difficulty=3,
    objective="Ask a masked model about a written token in the only way that it was trained for.",
    path="dlmlab.trust.leave_one_out",
    stub='''\
def leave_one_out(denoise: Callable, x: Tensor, places: Tensor, mask_id: int) -> Tensor:
    """Give the probability of each token when it alone is masked, (L,), 1 at places that are not in question.

    denoise maps ids (B, L) to logits (B, L, V). It is called once, with one row for each place in question, and not at
    all if there is none. The mask itself has no probability. Shapes: x (L,), places (L,) bool. x is not changed.
    """
    raise NotImplementedError
''',
    hints=(
        "How many different texts does the model have to read if every token in question is to be hidden once, alone?",
        "Copy the text as often as there are places in question, and hide another place in each copy. From row k of "
        "the answer only one position matters, and at this position only one token.",
        "rows = x.repeat(n, 1); rows[range(n), at] = mask_id; logits = denoise(rows)[range(n), at]; -inf at mask_id; "
        "softmax; gather x[at].",
    ),
    check=check_leave_one_out,
)
