"""Quantization-aware training: the forward pass sees rounded weights, the backward pass does as if they were not.

    y = s (round(clamp(w / s + z)) - z),     dy/dw = 1 inside the grid and 0 outside,     dy/ds as the formula says

Decisions
* "Straight-through": the derivative of rounding is taken for 1. What lies outside the grid is stuck there when `clip`
  is on: its derivative is 0.
* The scale is laid anew from the weights at every step, or learned (its logarithm, so that it stays positive; the zero
  point stays). Either way the rounded scale is the one that will be stored, so training and storage agree bit for bit.
* Two losses: agree with the floating-point model on masked tokens (KL, the default: every token teaches a whole
  distribution) or the diffusion loss on data.
* The control is `finetune` on the floating-point model: same batches, masks, steps. Otherwise more training is mistaken
  for an effect of quantization.
* Times below 0.05 are not drawn: the weight 1/t makes a few of them drown a batch.

Sources: Bengio et al., arXiv 1308.3432 (straight-through); Esser et al., LSQ, arXiv 1902.08153 (learned scale); Ma et
al., arXiv 2402.17764 (ternary).
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dlmlab import limits
from dlmlab.compress.quant import grids
from dlmlab.compress.registry import Choose
from dlmlab.network import parts
from dlmlab.network.codes import SCALES, QSpec, Quantized, cells, dequantize
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.packed import QuantLinear, check_dense, replace
from dlmlab.objective.noise import diffusion_loss, forward_process, low_discrepancy_times

SMALLEST_TIME = 0.05
Batch = tuple[Tensor, Tensor, Tensor]  # ids, real, maskable, (B, L) each


def straight_through(x: Tensor, scale: Tensor, zero: Tensor | None, spec: QSpec, *, clip: bool = True) -> Tensor:
    """Round x on grids that broadcast against it, differentiable in x and in the scale.

    The values are those of `grids.decode(grids.encode(x))` bit for bit. Without `clip` the derivative in x is 1
    outside the grid too.
    """
    shift = 0 if zero is None else zero
    y = x / scale + shift
    inside = y.clamp(*spec.codes)
    y = inside if clip else inside.detach() + _nothing(y)
    return (y.detach().round() + _nothing(y) - shift) * scale


def _nothing(y: Tensor) -> Tensor:
    """0, with the derivative of y."""
    return y - y.detach()


class FakeQuant(nn.Module):
    """A parametrization of a weight: the module computes with `forward(weight)`, the optimizer moves the weight."""

    def __init__(self, W: Tensor, spec: QSpec, *, learned: bool = False, clip: bool = True, kept: Tensor | None = None):
        super().__init__()
        if spec.rounding != "nearest":
            raise ValueError(f"rounding={spec.rounding!r}: the straight-through estimate is of rounding to the nearest")
        self.spec, self.clip, self.learned = spec, clip, learned
        self.register_buffer("kept", kept)  # (R, C) bool: the others stay 0
        scale, zero = grids.fit(W.detach(), spec)
        if learned:
            self.log_scale = nn.Parameter(scale.float().log())
            self.register_buffer("zero", zero)

    def grid(self, W: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scale, as stored, and zero point of the weight now; differentiable in a learned scale."""
        if not self.learned:
            return grids.fit(W.detach(), self.spec)
        scale = self.log_scale.exp()
        return grids.stored(scale.detach(), self.spec).float() + _nothing(scale), self.zero

    def forward(self, W: Tensor) -> Tensor:
        W = self.remaining(W)
        scale, zero = self.grid(W)
        shift = None if zero is None else zero[..., None]
        parts = cells(W, self.spec)
        return straight_through(parts, scale.to(W.dtype)[..., None], shift, self.spec, clip=self.clip).view(W.shape)

    def remaining(self, W: Tensor) -> Tensor:
        """The weight without what was pruned: every grid holds 0, so it is still 0 when rounded."""
        return W if self.kept is None else W * self.kept

    @torch.no_grad()
    def quantized(self, W: Tensor) -> Quantized:
        """The codes that the weight stands for now."""
        W = self.remaining(W)
        scale, zero = self.grid(W)
        scale, shift = scale.to(SCALES[self.spec.scale]), None if zero is None else zero[..., None]
        codes = grids.encode(cells(W, self.spec), scale[..., None], shift, self.spec).view(W.shape)
        return Quantized(codes, scale, zero, self.spec, tuple(W.shape))


def prepare(
    model: LLaDAModelLM, choose: QSpec | Choose, *, learned: bool = False, clip: bool = True, keep_zeros: bool = False
) -> LLaDAModelLM:
    """Return a copy of the model that computes with rounded block matrices and can be trained.

    `keep_zeros`: weights that are 0 stay 0, as after pruning.
    """
    model = copy.deepcopy(check_dense(model))
    for layer, block in enumerate(parts.blocks(model)):
        for name, linear in parts.matrices(block).items():
            spec = choose if isinstance(choose, QSpec) else choose(f"blocks.{layer}.{name}")
            if spec is not None:
                kept = linear.weight.detach() != 0 if keep_zeros else None
                fake = FakeQuant(linear.weight, spec, learned=learned, clip=clip, kept=kept)
                parametrize.register_parametrization(linear, "weight", fake)
    return model


@torch.no_grad()
def freeze(model: LLaDAModelLM, *, packed: bool = False) -> LLaDAModelLM:
    """Return a copy of a prepared model whose rounded weights are ordinary ones, or packed; its logits are the same."""
    model = copy.deepcopy(model)
    for block in parts.blocks(model):
        for name, linear in parts.matrices(block).items():
            if not parametrize.is_parametrized(linear, "weight"):
                continue
            found = linear.parametrizations.weight
            quantized = found[0].quantized(found.original)
            new = QuantLinear.of(quantized) if packed else _dense(dequantize(quantized))
            replace(block, name, new)  # not remove_parametrizations: it would take them from every copy of the model
    return model.eval()


def _dense(W: Tensor) -> nn.Linear:
    linear = nn.Linear(W.shape[1], W.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(W)
    return linear


def kl_to(teacher: Tensor, student: Tensor, masked: Tensor) -> Tensor:
    """Mean over masked tokens of KL(teacher || student) in nats: logits (B, L, V) each, masked (B, L) bool -> scalar.

    0 when nothing is masked.
    """
    p, q = (logits[masked].log_softmax(-1) for logits in (teacher, student))
    return (p.exp() * (p - q)).sum() / masked.sum().clamp(min=1)


def finetune(
    model: LLaDAModelLM,
    draw: Callable[[int], Batch],
    *,
    steps: int,
    lr: float = 2e-4,
    teacher: LLaDAModelLM | None = None,
    generator: torch.Generator,
) -> tuple[LLaDAModelLM, list[float]]:
    """Train a copy of a model, prepared or not, and return it with the loss of every step.

    `draw(step)` gives clean ids, which are real and which may be masked, (B, L) each. With a `teacher` the loss is
    `kl_to` it, otherwise the diffusion loss. AdamW, the learning rate falls to 0. Equal generators draw equal masks.
    Raises `ValueError` for steps below 1, an lr that is not above 0, and a loss that is not finite.
    """
    limits.whole("steps", steps, 1)
    limits.number("lr", lr, 0, open="<")
    model, losses = copy.deepcopy(model).train(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(steps):
        ids, real, maskable = draw(step)
        t = low_discrepancy_times(len(ids), generator=generator).clamp(min=SMALLEST_TIME)
        xt, masked = forward_process(ids, t, model.config.mask_token_id, maskable=maskable, generator=generator)
        logits = model(xt, real).logits
        if teacher is None:
            loss = diffusion_loss(logits, ids, masked, t)
        else:
            with torch.no_grad():
                wanted = teacher(xt, real).logits
            loss = kl_to(wanted, logits, masked)
        if not bool(loss.isfinite()):
            raise ValueError(f"step {step + 1}: the loss is {float(loss.detach())}; take a smaller lr than {lr}")
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return model.eval(), losses
