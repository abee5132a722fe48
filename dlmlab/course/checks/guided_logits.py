"""Exercise 1.5. Looked at: what the denoiser was shown, then how its two answers are blended."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_tensor, require, untouched
from dlmlab.course.exercises import Exercise


def check_guided_logits(fn: Callable) -> None:
    """Judge an answer to 1.5."""
    mask_id = 8
    x = torch.tensor([[3, 0, 5, 2, 8, 6, 8], [0, 0, 4, 8, 7, 8, 1]])  # (B=2, L=7); row 1 starts with two pads
    blind = torch.tensor([[8, 8, 8, 2, 8, 6, 8], [0, 0, 8, 8, 7, 8, 1]])
    given = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0]], dtype=torch.bool)
    pads = torch.tensor([[0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    for valid, w in ((~pads, 2.0), (~pads, 0.25), (None, 2.0)):
        denoise = _ToyDenoiser()
        with untouched(x=x, given=given, **({} if valid is None else {"valid": valid})):
            out = fn(denoise, x, valid, given, w, mask_id)
        _expect_passes(denoise.shown, x, blind, valid, given, pads)
        expect_tensor(out, (2, 7, 5), torch.float32)
        _expect_blend(out, denoise(x, valid), denoise(blind, valid), w)
    _expect_random_patterns(fn)


def _expect_random_patterns(fn: Callable) -> None:
    """Tokens may be given anywhere, also between masks and after them, as in infilling: none, some or all."""
    draw = Cases(0)
    for B, L, share in ((1, 1, 1.0), (1, 5, 0.5), (3, 8, 0.3), (4, 6, 0.7), (2, 9, 0.0), (2, 4, 1.0)):
        mask_id, w = draw.int(0, 9), float(draw.uniform(1, high=3.0))
        x = draw.ids(9, B, L)
        x = torch.where(draw.bools(B, L, share=0.3), mask_id, x)
        pads = draw.bools(B, L, share=0.2)
        pads[:, -1] = False
        given = draw.bools(B, L, share=share) & (x != mask_id) & ~pads
        for valid in (~pads, None):
            denoise, blind = _ToyDenoiser(), x.clone()
            for b in range(B):
                for i in range(L):
                    if given[b, i]:
                        blind[b, i] = mask_id
            with untouched(x=x, given=given, **({} if valid is None else {"valid": valid})):
                out = fn(denoise, x, valid, given, w, mask_id)
            _expect_passes(denoise.shown, x, blind, valid, given, pads)
            expect_tensor(out, (B, L, 5), torch.float32)
            _expect_blend(out, denoise(x, valid), denoise(blind, valid), w)


class _ToyDenoiser:
    """A denoiser in which every position depends on every token that is attended, and which notes what it is shown."""

    def __init__(self):
        self.shown: list[tuple[list[int], list[bool] | None]] = []

    def __call__(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        self.shown += zip(x.tolist(), [None] * len(x) if valid is None else valid.tolist(), strict=True)
        position, v = torch.arange(1, x.shape[1] + 1), torch.arange(1, 6)
        attended = x * position if valid is None else x * position * valid  # (B, L)
        return torch.sin(1.3 * position[:, None] * v + 0.7 * attended.sum(1)[:, None, None] * v)  # (B, L, 5)


def _expect_passes(shown: list, x: Tensor, blind: Tensor, valid: Tensor | None, given: Tensor, pads: Tensor) -> None:
    B = len(x)
    masks = [None] * B if valid is None else valid.tolist()
    if sorted(map(str, shown)) == sorted(map(str, zip(x.tolist() + blind.tolist(), masks * 2, strict=True))):
        return  # in any order: two calls, or one of twice the size
    require(
        len(shown) == 2 * B,
        f"{len(shown)} rows went through denoise, it should be {2 * B}: one pass with the given tokens, one without",
    )
    row = torch.arange(2 * B) % B
    changed = torch.tensor([ids for ids, _ in shown]) != x[row]  # (2B, L)
    require(changed.any(), "both passes saw the same x: nothing was masked, so guidance has no effect")
    require(
        not (changed & ~given[row] & ~pads[row]).any(),
        "the blind pass also masks generated tokens: only the given ones, where `given` is True, are hidden",
    )
    require(not (changed & pads[row]).any(), "the blind pass masks the padding: it is not given, it must stay")
    require([mask for _, mask in shown] == masks * 2, "both passes need `valid` as it came: padding is not attended")
    raise AssertionError(
        "one pass must show x as it is, the other x with mask_id in place of every given token, wherever it stands"
    )


def _expect_blend(out: Tensor, cond: Tensor, un: Tensor, w: float) -> None:
    mistakes = (
        (w * cond + (1 - w) * un, "the weight is w instead of w + 1: w = 0 must give the plain conditional logits"),
        ((1 + w) * un - w * cond, "cond and un are swapped: guidance leads away from the blind logits"),
        ((1 + w) * cond, "un is missing: the conditional logits are only scaled"),
        (cond + w * un, "un is added: what counts is the difference cond - un"),
    )
    right = un + (w + 1) * (cond - un)
    for wrong, message in mistakes:
        require(torch.allclose(right, wrong, atol=1e-4) or not torch.allclose(out, wrong, atol=1e-4), message)
    require(torch.allclose(out, right, atol=1e-4), f"at w = {w:g} the result is not un + (w + 1)(cond - un)")


EXERCISE = Exercise(
    id="1.5",
    title="Guide with a blind pass",
    minutes=15,
    difficulty=3,
    objective="Strengthen the influence of the question by comparing with a pass that cannot see it.",
    path="dlmlab.sampling.guided_logits",
    stub='''\
def guided_logits(
    denoise: dl.sampling.Denoiser, x: Tensor, valid: Tensor | None, given: Tensor, w: float, mask_id: int
) -> Tensor:
    """Blend logits with and without the given tokens: un + (w + 1)(cond - un).

    cond comes from denoise(x, valid), un from the same call with every given token masked; all else stays as it is.
    Shapes: x (B, L), valid (B, L) bool or None, given (B, L) bool, logits and result (B, L, V). No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Make a second input in which `given` positions hold mask_id. Generated tokens, masks and padding stay.",
        "The denoiser is asked twice, with the same `valid`; the formula goes from the blind answer past the other.",
        "torch.where(given, mask_id, x) does not touch x. Both calls get the same `valid`. w = 0 must give cond.",
    ),
    check=check_guided_logits,
)
