"""What a masked diffusion model is trained on: masks, the loss, and the bound on -log p that the loss estimates.

Decisions
* Time runs from 0 (clean) to 1 (all masked) with the linear schedule alpha(t) = 1 - t, so t is also the expected share
  of masked tokens. Other noise and other schedules: `dlmlab.priors`.
* Bounds of a model are in nats *per row*: the sum over the row's maskable tokens. Masks are drawn before the model is
  asked, from the generator alone: equal seeds give equal masks for every model (common random numbers), so that
  two models can be compared in pairs.
* The mask token has probability 0 in a clean text. Bounds put its logit to -inf, as the sampler does.
* `model` is anything that maps (ids (B, L), key mask (B, L) or None) to logits (B, L, V) or to an object with
  `.logits`: a `LLaDAModelLM`, or a denoiser of `dlmlab.sampling`. It predicts the same position, so no causal model.

Sources: Nie et al., LLaDA, arXiv 2502.09992, section 2 and appendix A; Kingma et al., arXiv 2107.00630, appendix I.1
(low-discrepancy times).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-3  # the smallest time: a row with nothing masked teaches nothing
ENUMERABLE = 12  # most maskable tokens whose 2^n masks are all tried


# ------------------------------------------------------------------------------------------------ forward


def low_discrepancy_times(B: int, *, generator: torch.Generator) -> Tensor:
    """Draw B times that cover [EPS, 1] evenly, (B,): one uniform shift of an even grid.

    Each time alone is uniform; together they vary much less than B independent draws.
    """
    u = torch.rand((), generator=generator, dtype=torch.float64)
    t = (u + torch.arange(B, dtype=torch.float64) / B) % 1
    return ((1 - EPS) * t + EPS).float()


def forward_process(
    x0: Tensor, t: Tensor, mask_id: int, *, maskable: Tensor | None = None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mask each token of row b with probability t[b].

    Shapes: x0 (B, L), t (B,), maskable (B, L) bool or None for everything -> xt (B, L), masked (B, L) bool. `x0` is
    not changed. Raises `ValueError` when a time lies outside [0, 1].
    """
    if not bool(((t >= 0) & (t <= 1)).all()):
        raise ValueError(f"times must lie in [0, 1], got {t.min():.3g}..{t.max():.3g}")
    if t.shape != x0.shape[:1]:
        raise ValueError(f"one time for each row: t has shape {tuple(t.shape)}, x0 {tuple(x0.shape)}")
    masked = torch.rand(x0.shape, generator=generator) < t[:, None]  # (B, L), one draw a token
    if maskable is not None:
        masked &= maskable
    return torch.where(masked, mask_id, x0), masked


def diffusion_loss(logits: Tensor, x0: Tensor, masked: Tensor, t: Tensor) -> Tensor:
    """Average LLaDA's training loss over a batch: a bound on -log p in nats per token.

        1 / (B L)  sum_b 1 / t_b  sum over masked i of -log p(x0[b, i])

    Shapes: logits (B, L, V), x0 (B, L), masked (B, L) bool, t (B,) -> scalar. A row without masks adds 0, whatever
    its t. Source: LLaDA, equation 3.
    """
    ce = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none").masked_fill(~masked, 0.0)  # (B, L), no 0 * inf
    weight = torch.where(masked, 1 / t[:, None], 0.0)  # not where(masked, ce / t, 0): its gradient is nan at t = 0
    return (weight * ce).sum() / x0.numel()


# ------------------------------------------------------------------------------------------------ bounds of a model


def count_masks(maskable: Tensor, *, draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw masks by count: exactly l of the n maskable tokens of a row, l uniform on 1..n, with the weight n / l.

    The counts of a row are an even grid under one random shift (LLaDA's stratified draw).
    Shapes: maskable (B, L) bool -> masked (B, draws, L) bool, weight (B, draws) float64. Raises `ValueError` for a row
    without maskable tokens. Source: LLaDA, arXiv 2502.09992, equation 6.
    """
    n = _count(maskable, draws)[:, None]  # (B, 1)
    B, L = maskable.shape
    grid = torch.rand(B, 1, generator=generator, dtype=torch.float64) + torch.arange(draws) / draws
    count = (grid % 1 * n).long() + 1  # (B, draws), each uniform on 1..n
    keys = torch.rand(B, draws, L, generator=generator).masked_fill(~maskable[:, None], math.inf)
    rank = keys.argsort(-1).argsort(-1)  # a random order of the maskable tokens
    return rank < count[..., None], n / count.double()


def time_masks(
    maskable: Tensor, *, draws: int, generator: torch.Generator, low_discrepancy: bool = True
) -> tuple[Tensor, Tensor]:
    """Draw masks by time: t uniform on [EPS, 1], each maskable token masked with probability t, with the weight 1 / t.

    Shapes: maskable (B, L) bool -> masked (B, draws, L) bool, weight (B, draws) float64. The cut at EPS biases the
    bound by a share of order EPS; without it the variance would be infinite. Raises as `count_masks` does.
    """
    _count(maskable, draws)
    B, L = maskable.shape
    if low_discrepancy:
        u = (torch.rand(B, 1, generator=generator, dtype=torch.float64) + torch.arange(draws) / draws) % 1
    else:
        u = torch.rand(B, draws, generator=generator, dtype=torch.float64)
    t = (1 - EPS) * u + EPS  # (B, draws)
    masked = torch.rand(B, draws, L, generator=generator) < t[..., None]
    return masked & maskable[:, None], 1 / t


def _count(maskable: Tensor, draws: int) -> Tensor:
    """Count maskable tokens by row, (B,), and refuse what cannot be drawn."""
    n = maskable.sum(1)
    if draws < 1:
        raise ValueError(f"draws={draws} must be >= 1")
    if not bool((n > 0).all()):
        raise ValueError(f"every row needs a maskable token; row {int(n.argmin())} has none")
    return n


@torch.no_grad()
def masked_losses(
    model: Callable,
    x0: Tensor,
    masked: Tensor,
    *,
    valid: Tensor | None = None,
    mask_id: int | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Give -log p of every masked token, with the row's masked tokens hidden all at once.

    Shapes: x0 (B, L), masked (B, draws, L) bool, valid (B, L) bool or None (padding is False, on the left) -> (B,
    draws, L) float64, 0 where nothing is masked. `mask_id` is needed when the model has no `config.mask_token_id`.
    Costs B * draws forwards of one row; draws that mask nothing cost none.
    """
    mask_id = getattr(getattr(model, "config", None), "mask_token_id", None) if mask_id is None else mask_id
    if mask_id is None:
        raise ValueError("mask_id is needed: the model has no config.mask_token_id")
    if masked.shape[::2] != x0.shape:
        raise ValueError(f"masked must be (B, draws, L) for x0 (B, L), got {tuple(masked.shape)} and {tuple(x0.shape)}")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be >= 1")
    masked = masked.to(x0.device)  # masks are drawn on the CPU
    losses = torch.zeros(masked.shape, dtype=torch.float64, device=x0.device)
    for at in masked.any(-1).nonzero().split(batch_size):  # (R, 2): row, draw
        rows, hidden = at[:, 0], masked[at[:, 0], at[:, 1]]  # (R,), (R, L)
        out = model(torch.where(hidden, mask_id, x0[rows]), None if valid is None else valid[rows])
        logits = getattr(out, "logits", out)[hidden].clone()  # (M, V)
        logits[:, mask_id] = -math.inf
        block = torch.zeros(hidden.shape, dtype=torch.float64, device=x0.device)
        block[hidden] = F.cross_entropy(logits, x0[rows][hidden], reduction="none").double()
        losses[rows, at[:, 1]] = block
    return losses


def bound_by_count(
    model: Callable, x0: Tensor, maskable: Tensor, *, draws: int, generator: torch.Generator, **options
) -> Tensor:
    """Estimate an upper bound on -log p(maskable tokens | the others) by masks of a drawn count, in nats per row.

        E over l ~ U{1..n} and a random set S of l maskable tokens of  n / l  sum over S of -log p(x0_i | x0 without S)

    Shapes: x0 (B, L), maskable (B, L) bool -> (B, draws); the mean over draws is the estimate, unbiased. `options`:
    `valid`, `mask_id`, `batch_size` of `masked_losses`. The masks depend on the generator and on `maskable` alone, so
    two models given equal seeds see the same ones. Source: LLaDA, arXiv 2502.09992, equation 6.
    """
    masked, weight = count_masks(maskable, draws=draws, generator=generator)
    return weight.to(x0.device) * masked_losses(model, x0, masked, **options).sum(-1)


def bound_by_time(
    model: Callable,
    x0: Tensor,
    maskable: Tensor,
    *,
    draws: int,
    generator: torch.Generator,
    low_discrepancy: bool = True,
    **options,
) -> Tensor:
    """Estimate the same bound as `bound_by_count` by drawn times and the weight 1 / t, in nats per row, (B, draws).

    It varies more, because the number of masks varies at a given weight. Source: LLaDA, equation 5.
    """
    masked, weight = time_masks(maskable, draws=draws, generator=generator, low_discrepancy=low_discrepancy)
    return weight.to(x0.device) * masked_losses(model, x0, masked, **options).sum(-1)


def every_mask(maskable: Tensor) -> tuple[Tensor, Tensor]:
    """List all 2^n - 1 masks of one row with the probability-times-weight each has in the bound.

    A mask of l tokens has probability 1 / (n C(n, l)) and weight n / l. Shapes: maskable (L,) bool -> masked (2^n - 1,
    L) bool, weight (2^n - 1,) float64. Raises `ValueError` for more than ENUMERABLE maskable tokens, or none.
    """
    n = int(maskable.sum())
    if not 1 <= n <= ENUMERABLE:
        raise ValueError(f"{n} maskable tokens: 1..{ENUMERABLE} can be enumerated, draw masks instead")
    bits = torch.arange(1, 2**n)[:, None] >> torch.arange(n) & 1  # (2^n - 1, n)
    masked = torch.zeros(len(bits), len(maskable), dtype=torch.bool)
    masked[:, maskable] = bits.bool()
    weight = [1 / (size * math.comb(n, size)) for size in bits.sum(1).tolist()]
    return masked, torch.tensor(weight, dtype=torch.float64)


def bound_by_enumeration(
    model: Callable, x0: Tensor, maskable: Tensor, *, valid: Tensor | None = None, **options
) -> Tensor:
    """Compute the bound of `bound_by_count` exactly, over all 2^n masks of each row, (B,) in nats.

    Shapes and options as there. Costs 2^n - 1 forwards a row; raises `ValueError` for rows with too many tokens.
    """
    bounds = []
    for b in range(len(x0)):
        masked, weight = every_mask(maskable[b])
        real = None if valid is None else valid[b : b + 1]
        losses = masked_losses(model, x0[b : b + 1], masked[None], valid=real, **options)[0].sum(-1)  # (2^n - 1,)
        bounds.append((weight.to(x0.device) * losses).sum())
    return torch.stack(bounds)
