"""Exercise 2.1. B = L = 3, so that a weight on the wrong axis does not crash; rows with 1, 3 and 0 masks."""

from collections.abc import Callable

import torch
from torch import Tensor

from dlmlab.course.checks.expect import expect_tensor, expect_values, require, seeded, untouched
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
        "F.cross_entropy(logits.transpose(1, 2), x0, reduction='none') is -log p of every token, (B, L).",
        "Make a weight (B, L) with torch.where(masked, 1 / t[:, None], 0.0) first, then multiply, sum, and divide.",
    ),
    check=check_diffusion_loss,
)
