"""Exercise 2.1. B = L = 3, so that a weight on the wrong axis does not crash; rows with 1, 3 and 0 masks.
Then random batches with times down to a thousandth, and the gradient."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import Cases, expect_same, expect_tensor, expect_values, require, seeded, untouched
from dlmlab.course.exercises import Exercise


def check_diffusion_loss(fn: Callable) -> None:
    """Judge an answer to 2.1."""
    B, L, V = 3, 3, 5
    logits = torch.randn(B, L, V, generator=seeded(0))
    x0 = torch.tensor([[0, 3, 1], [2, 4, 0], [1, 1, 2]])
    masked = torch.tensor([[True, False, False], [True, True, True], [False, False, False]])
    t = torch.tensor([0.25, 0.8, 0.5])

    def run(logits: Tensor, masked: Tensor, t: Tensor) -> Tensor:
        with untouched(logits=logits, x0=x0, masked=masked, t=t):
            loss = fn(logits, x0, masked, t)
        expect_tensor(loss, (), torch.float32, "the loss")
        return loss

    ce = -logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]  # (B, L)
    hidden, weight = ce * masked, 1 / t[:, None]
    total = (hidden * weight).sum()
    expect_values(
        run(logits, masked, t),
        total / (B * L),
        {
            "the sum was divided by the number of masked tokens: divide by all B * L tokens, or no bound is left": total
            / masked.sum(),
            "the sum was divided by the rows only: divide by all B * L tokens": total / B,
            "the sum is not divided by anything: divide by all B * L tokens": total,
            "each row was divided by its own number of masks: that cancels the 1 / t; divide by B * L": (
                hidden.sum(1) / masked.sum(1).clamp(min=1) / t
            ).mean(),
            "the weight 1 / t is missing: this is the plain cross-entropy": hidden.sum() / (B * L),
            "the weight 1 / t runs along the wrong axis: t belongs to rows, use t[:, None]": (hidden / t).sum()
            / (B * L),
            "one weight for the whole batch: each row has its own t": hidden.sum() / t.mean() / (B * L),
            "the weight is t: rows with few masks must count more, with 1 / t": (hidden * t[:, None]).sum() / (B * L),
            "the weight is 1 / (1 - t): t is the share that is masked": (hidden / (1 - t[:, None])).sum() / (B * L),
            "visible tokens are counted: only masked positions are predictions": (ce * weight).sum() / (B * L),
            "the visible tokens are counted instead of the masked ones": (ce * ~masked * weight).sum() / (B * L),
            "the sign is wrong: the loss is minus the log-probability": -total / (B * L),
        },
    )
    clean = torch.tensor([0.25, 0.8, 0.0])
    leaf = logits.clone().requires_grad_()
    loss = run(leaf, masked, clean)
    require(
        loss.requires_grad,
        "the loss is detached from the logits, so nothing can be trained: no .item(), .detach(), float(), NumPy or "
        "torch.no_grad() on the way",
    )
    require(bool(loss.isfinite()), "a row with t = 0 has no mask and adds 0; here 0 / 0 or 0 * inf made the loss nan")
    loss.backward()
    require(
        bool(leaf.grad.isfinite().all()),
        "a row with t = 0 makes the gradient nan: torch.where hides the value of ce / t, not its gradient",
    )
    require(
        torch.allclose(loss.detach(), total / (B * L)), "a row with t = 0 must change nothing, its tokens are visible"
    )
    nothing = run(logits, torch.zeros_like(masked), t)
    require(
        bool(nothing.isfinite()), "without any mask the loss is nan: the mean over an empty selection; it should be 0"
    )
    require(abs(float(nothing)) < 1e-6, f"without any mask the loss should be 0, it is {float(nothing):.2f}")
    _expect_on_random_batches(fn)


def _expect_on_random_batches(fn: Callable) -> None:
    draw = Cases(0)
    for B, L, V, share in (
        (1, 1, 2, 1.0),
        (1, 6, 4, 0.4),
        (5, 1, 3, 0.6),
        (3, 8, 5, 0.3),
        (7, 4, 9, 0.8),
        (2, 5, 3, 0.0),
    ):
        logits = (2 * draw.normal(B, L, V)).requires_grad_()
        x0, masked = draw.ids(V, B, L), draw.bools(B, L, share=share)
        t = 10 ** draw.uniform(B, low=-3.0)  # down to a thousandth: a weight of a thousand counts a thousand times
        ce = -(logits.double() - logits.double().logsumexp(-1, keepdim=True)).gather(-1, x0[..., None])[..., 0]
        right = (ce[masked] / t.double()[:, None].expand(B, L)[masked]).sum() / (B * L)
        with untouched(x0=x0, masked=masked, t=t):
            loss = fn(logits, x0, masked, t)
        case = f"{B} rows of {L}, {int(masked.sum())} masks, t from {float(t.min()):.3f} to {float(t.max()):.3f}"
        expect_same(loss, right.float(), case, tol=1e-4)
        found, wanted = (torch.autograd.grad(out, logits, allow_unused=True)[0] for out in (loss, right + 0 * ce.sum()))
        require(found is not None, f"the loss has no gradient for the logits; {case}")
        expect_same(found, wanted, f"the gradient; {case}", tol=1e-4)


EXERCISE = Exercise(
    id="2.1",
    title="The loss of masked diffusion",
    minutes=15,
    difficulty=2,
    objective="Write the training loss so that it bounds -log p.",
    path="dlmlab.noise.diffusion_loss",
    stub='''\
def diffusion_loss(logits: Tensor, x0: Tensor, masked: Tensor, t: Tensor) -> Tensor:
    """Average over all B * L tokens: -log p(x0) where a token is masked, times 1 / t of its row; 0 where it is visible.

    Shapes: logits (B, L, V) float32, x0 (B, L), masked (B, L) bool, t (B,) -> a scalar. A row without masks adds 0,
    also at t = 0, to the loss and to its gradient. No input is changed.
    """
    raise NotImplementedError
''',
    hints=(
        "Three tensors of shape (B, L): -log p of every token, the weight of every token, and their product.",
        "Where nothing is masked the weight itself must be 0, before it is multiplied: 0 times infinity is no number.",
        "F.cross_entropy(logits.transpose(1, 2), x0, reduction='none'); torch.where(masked, 1 / t[:, None], 0.0).",
    ),
    check=check_diffusion_loss,
)
