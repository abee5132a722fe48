"""The forward process of masked diffusion: which tokens are hidden at time t.

Time runs from 0 (clean) to 1 (all masked) with the linear schedule alpha(t) = 1 - t, so t is also the expected share
of masked tokens. Source: Nie et al., LLaDA, arXiv 2502.09992, equation 3; low-discrepancy times: Kingma et al., arXiv
2107.00630, appendix I.1.
"""

import torch
from torch import Tensor

EPS = 1e-3  # the smallest time: a row with nothing masked teaches nothing


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
