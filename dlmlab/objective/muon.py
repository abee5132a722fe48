"""Muon: momentum whose every step is orthogonalized, for the matrices of the blocks.

For a matrix W (A x B) with gradient G, at every step

    M <- 0.95 M + 0.05 G                    momentum
    U  = 0.05 G + 0.95 M                    a look ahead (Nesterov)
    O  = NS(U)                              U V^T of the singular value decomposition, roughly
    W <- (1 - lr wd) W - 0.2 sqrt(max(A, B)) lr O

The last factor gives a step the size that AdamW's has (`match_rms_adamw`), so both share a learning rate. NS is five
rounds of X <- aX + (bS + cS^2) X with S = X X^T, started from U / |U|: singular values end between about 0.7 and 1.2.

Decisions
* The algorithm is that of `torch.optim.Muon`, which multiplies in bfloat16. A processor without instructions for it
  is a hundred times slower there, and one rounding in 250 makes runs on one and two processes drift apart. So: float32.
* Matrices of one shape (or its transpose) are stacked and go through NS together: few large products, no small ones.
* Processes that hold the same matrices each orthogonalize a part of a stack and hand it round, so two take half of the
  time for it.
* Matrices that are cut among processes (`dlmlab.sharding`) keep their momentum cut. Their updates are gathered, `MOST`
  numbers at a time, and orthogonalized whole: no singular value of a part says anything.

Sources: Keller Jordan et al. 2024, kellerjordan.github.io/posts/muon; the factor, arXiv 2502.16982.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, distributed

from dlmlab.objective.sharding import is_part, part_of, whole

COEFFICIENTS, ROUNDS, EPS = (3.4445, -4.7750, 2.0315), 5, 1e-7  # steepest at 0; they do not converge, by design
MOST = 2**28  # numbers in a stack of gathered matrices: 1 GiB


def orthogonalize(U: Tensor) -> Tensor:
    """Push all singular values of each matrix towards 1; (n, A, B) with A <= B, in float32."""
    a, b, c = COEFFICIENTS
    X = U.float()
    X = X / X.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)  # no singular value above 1
    for _ in range(ROUNDS):
        S = X @ X.mT  # (n, A, A)
        X = torch.baddbmm(X, torch.baddbmm(S, S, S, beta=b, alpha=c), X, beta=a)
    return X


def together(U: Tensor) -> Tensor:
    """Orthogonalize matrices, (n, A, B) with A <= B, that all processes hold: each takes its part, all get all."""
    size = distributed.get_world_size() if distributed.is_initialized() else 1
    if size == 1:
        return orthogonalize(U)
    n = -(-len(U) // size)
    padded = torch.cat([U, U.new_zeros(n * size - len(U), *U.shape[1:])])
    mine = orthogonalize(padded[distributed.get_rank() * n :][:n]).contiguous()
    parts = [torch.empty_like(mine) for _ in range(size)]
    distributed.all_gather(parts, mine)
    return torch.cat(parts)[: len(U)]


class Muon(torch.optim.Optimizer):
    """Muon for matrices; its state is one `momentum_buffer` a matrix. Raises `ValueError` for any other shape."""

    def __init__(self, params: Iterable[Tensor], lr: float, *, weight_decay: float = 0.1, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        if other := [tuple(p.shape) for group in self.param_groups for p in group["params"] if p.ndim != 2]:
            raise ValueError(f"Muon is for matrices, not for shapes {other}")

    @torch.no_grad()
    def step(self) -> None:
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            alike = defaultdict(list)  # (shorter, longer side) -> matrices and their updates
            for W in (p for p in group["params"] if p.grad is not None):
                state = self.state[W]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(W)
                M = state["momentum_buffer"]
                M.lerp_(W.grad, 1 - group["momentum"])
                U = W.grad.lerp(M, group["momentum"])
                alike[min(U.shape), max(U.shape)].append((W, U))
            for (_, longer), pairs in alike.items():
                for some in _stacks(pairs):
                    evened = together(torch.stack([_lying(whole(U)) for _, U in some]))
                    for (W, _), direction in zip(some, evened, strict=True):
                        W.mul_(1 - group["lr"] * group["weight_decay"])
                        direction = direction.mT if W.shape[0] > W.shape[1] else direction
                        W.add_(part_of(direction, W), alpha=-0.2 * longer**0.5 * group["lr"])


def _lying(U: Tensor) -> Tensor:
    return U.mT if U.shape[0] > U.shape[1] else U


def _stacks(pairs: list[tuple[Tensor, Tensor]]) -> list[list[tuple[Tensor, Tensor]]]:
    """Split matrices of one shape into stacks: all together, or where they must be gathered, `MOST` numbers at most."""
    W = pairs[0][0]
    n = max(MOST // W.numel(), 1) if is_part(W) else len(pairs)
    return [pairs[i : i + n] for i in range(0, len(pairs), n)]
