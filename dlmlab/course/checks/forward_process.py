"""Exercise 1.1. Looked at: the share of masked tokens in each row, where masks may go, what must not change."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import NOTHING, Cases, expect_seeded, expect_tensor, require, seeded, show, untouched
from dlmlab.course.exercises import Exercise


def check_forward_process(fn: Callable) -> None:
    """Judge an answer to 1.1."""
    mask_id, L = 9, 3000
    t = torch.tensor([0.0, 1.0, 0.1, 0.2, 0.2, 0.3, 0.6])  # the mean is far from 0.5, and 0.2 comes twice
    x0 = torch.randint(0, mask_id, (len(t), L), generator=seeded(0))  # (7, L), token id 0 is in it
    maskable = torch.rand(x0.shape, generator=seeded(1)) < 0.5  # (7, L)

    def run(generator: torch.Generator, x0: Tensor = x0, t: Tensor = t, mask_id: int = mask_id, **options):
        with untouched(x0=x0, t=t, **options):
            out = fn(x0, t, mask_id, generator=generator, **options)
        require(out is not None, NOTHING)
        require(isinstance(out, tuple) and len(out) == 2, "return two tensors: xt, masked")
        expect_tensor(out[0], x0.shape, x0.dtype, "xt")
        expect_tensor(out[1], x0.shape, torch.bool, "masked")
        return out

    expect_seeded(lambda generator: run(generator)[1])
    xt, masked = run(seeded(0))
    _expect_rates(x0, t, masked)
    _expect_hidden(xt, masked, x0, mask_id)

    xt, masked = run(seeded(0), maskable=maskable)
    require(not (masked & ~maskable).any(), "maskable is ignored: tokens outside it were masked")
    rate = (masked & maskable).sum(1) / maskable.sum(1)  # (7,)
    require(
        torch.allclose(rate, t, atol=0.07),
        f"among the maskable tokens the share of masked ones is {show(rate)}, it should be near t = {show(t)}",
    )
    _expect_hidden(xt, masked, x0, mask_id)

    xt, _ = run(seeded(0), x0=torch.tensor([[3, 1, 2]]), t=torch.ones(1), mask_id=0)
    require(xt.tolist() == [[0, 0, 0]], "mask_id = 0 is an id like any other")
    _expect_independent(run(seeded(2))[1], t)
    draw = Cases(0)
    for B, L in ((0, 4), (1, 1), (1, 9), (5, 1), (2, 30), (6, 7)):
        ids, times, free = draw.ids(50, B, L) + 3, draw.uniform(B), draw.bools(B, L)
        for options in ({}, {"maskable": free}):
            xt, masked = run(draw.generator, x0=ids, t=times, mask_id=2, **options)
            require(not (options and (masked & ~free).any()), "maskable is ignored: tokens outside it were masked")
            _expect_hidden(xt, masked, ids, 2)
    _expect_rates_of_many_rows(run, draw)


def _expect_rates(x0: Tensor, t: Tensor, masked: Tensor) -> None:
    rate = masked.float().mean(1)  # (7,)
    inner = (t > 0) & (t < 1)
    require(
        not ((rate == 0) | (rate == 1))[inner].all(),
        "one draw decides about a whole row: draw a number for every token, of shape x0.shape",
    )
    require(
        not torch.allclose(rate, 1 - t, atol=0.05),
        "tokens are masked with probability 1 - t: t is the share that is hidden, 1 - t the share that is kept",
    )
    require(
        not torch.allclose(rate, t.mean().expand_as(t), atol=0.05),
        f"one mask rate for the whole batch ({rate.mean():.2f} in every row): each row has its own t[b]",
    )
    require(masked[1][x0[1] == 0].any(), "token id 0 is never masked: it is an ordinary token, not an empty place")
    require(not masked[0].any(), "a row with t = 0 must stay clean")
    require(masked[1].all(), "a row with t = 1 must be masked everywhere")
    require(torch.allclose(rate, t, atol=0.05), f"the shares of masked tokens are {show(rate)}, not near t = {show(t)}")
    require(not torch.equal(masked[3], masked[4]), "two rows with the same t share their draws: each row needs its own")
    require(
        any(abs(masked[b].sum() - t[b] * x0.shape[1]) > 0.5 for b in inner.nonzero()[:, 0]),
        "every row has exactly t * L masks: each token should be masked independently, so the count varies",
    )


def _expect_independent(masked: Tensor, t: Tensor) -> None:
    """Fail where what happens to a token says something about its neighbours."""
    for b in ((t > 0) & (t < 1)).nonzero()[:, 0]:
        row, rate = masked[b].float(), masked[b].float().mean()
        for apart in (1, 2, 3, 8):
            both = (row[apart:] * row[:-apart]).mean()
            require(
                abs(both - rate * rate) < 0.04,
                f"tokens {apart} apart are masked together too often or too rarely: one draw for each token, no spans",
            )


def _expect_rates_of_many_rows(run: Callable, draw: Cases) -> None:
    """Short rows at random times: the number of masks follows t in the mean over rows, whatever the others do."""
    t = draw.uniform(4000)
    _, masked = run(draw.generator, x0=draw.ids(9, 4000, 5), t=t, mask_id=9)
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (t >= low) & (t < low + 0.25)
        found, wanted = float(masked[inside].float().mean()), float(t[inside].mean())
        require(
            abs(found - wanted) < 0.05,
            f"rows with t from {low} to {low + 0.25} have {found:.2f} of their tokens masked, not {wanted:.2f}",
        )


def _expect_hidden(xt: Tensor, masked: Tensor, x0: Tensor, mask_id: int) -> None:
    require(bool((xt[masked] == mask_id).all()), "masked is True where xt does not hold mask_id")
    require(torch.equal(xt[~masked], x0[~masked]), "xt differs from x0 where masked is False: visible tokens must stay")


EXERCISE = Exercise(
    id="1.1",
    title="Hide tokens at time t",
    minutes=10,
    difficulty=2,
    objective="Write the forward process of masked diffusion.",
    path="dlmlab.noise.forward_process",
    stub='''\
def forward_process(
    x0: Tensor, t: Tensor, mask_id: int, *, maskable: Tensor | None = None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mask each token of row b with probability t[b], independently of the others.

    Shapes: x0 (B, L), t (B,), maskable (B, L) bool or None for everything -> xt (B, L), masked (B, L) bool.
    xt holds mask_id where masked is True, and x0 elsewhere. Only maskable tokens may be masked. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "An event of probability p happens when a uniform number in [0, 1) is below p. How many numbers do you need?",
        "One number for each token, compared with the time of its row: the times need a second dimension for that.",
        "Compare torch.rand(x0.shape, generator=generator) with t[:, None], of shape (B, 1); torch.where builds xt.",
    ),
    check=check_forward_process,
)
