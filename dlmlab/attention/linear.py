"""Attention without a softmax: one function, written as a matrix, as a recurrence and in chunks.

Decisions
* A score is q . k, times `decay` to the power of the distance. Without a softmax the sums change places, (q k') v = q
  (k' v), so that a state S (d, e) replaces all keys and values.
* Two flavours. *Raw*: no feature map, no denominator, a norm of the result behind it (the fixed decays of Lightning
  attention, as in Ring-linear). *Normalised*: features phi = elu + 1 > 0 and a denominator, rows sum to 1.
* Powers are taken of differences of positions, which are never negative: decay^(-j) would overflow.
* Causal forms read what came before; `both_sides` reads all, as a masked diffusion model does. There the token itself
  is in both scans and counted once.

Sources: Katharopoulos et al., arXiv 2006.16236 (features and denominator, recurrence); Ring-linear report, arXiv
2510.19338 (abstract) and the modelling file of Ring-V2.5 (raw products, fixed decay a head).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def matrix(q: Tensor, k: Tensor, v: Tensor, decay: float = 1.0, causal: bool = True) -> Tensor:
    """Mix values with the matrix of all scores: out_i = sum_j decay^|i - j| (q_i . k_j) v_j, over j <= i if `causal`.

    Shapes: q, k (..., L, d), v (..., L, e) -> (..., L, e). About 2 L^2 multiply-adds a channel, half if causal.

    >>> q, k = torch.tensor([[1.0, 0], [1, 1], [0, 1]]), torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    >>> matrix(q, k, torch.tensor([[1.0], [2], [3]]), 0.5).flatten().tolist()
    [1.0, 2.5, 4.0]
    """
    at = torch.arange(q.shape[-2])
    apart = (at[:, None] - at).abs()
    weights = decay ** apart.to(q.dtype)
    return (q @ k.transpose(-1, -2) * (weights.tril() if causal else weights)) @ v


def recurrent(q: Tensor, k: Tensor, v: Tensor, decay: float = 1.0) -> Tensor:
    """Mix values token by token with one state: S = decay S + k_t' v_t, out_t = q_t S. Shapes as `matrix`."""
    state, out = q.new_zeros(*q.shape[:-2], q.shape[-1], v.shape[-1]), []
    for t in range(q.shape[-2]):
        state = decay * state + k[..., t, :, None] * v[..., t, None, :]  # (..., d, e)
        out.append((q[..., t, None, :] @ state).squeeze(-2))
    return torch.stack(out, -2)


def chunked(q: Tensor, k: Tensor, v: Tensor, decay: float = 1.0, size: int = 64) -> Tensor:
    """Mix values chunk by chunk: inside a chunk by the matrix, from before the chunk by the state.

        out = ((Q K') o D) V + decay^(1..n) Q S          for the n tokens of a chunk
        S   = decay^n S + (decay^(n-1..0) K)' V          for the next one

    Shapes as `matrix`; the last chunk may be shorter. Raises `ValueError` for a size below 1.
    """
    if size < 1:
        raise ValueError(f"a chunk has at least one token, not {size}")
    state, out = q.new_zeros(*q.shape[:-2], q.shape[-1], v.shape[-1]), []
    for start in range(0, q.shape[-2], size):
        Q, K, V = (x[..., start : start + size, :] for x in (q, k, v))
        n = Q.shape[-2]
        since = decay ** torch.arange(1, n + 1, dtype=q.dtype)[:, None]  # of the state, at each token
        until = decay ** torch.arange(n - 1, -1, -1, dtype=q.dtype)[:, None]  # of each token, at the end
        out.append(matrix(Q, K, V, decay) + since * (Q @ state))
        state = decay**n * state + (until * K).transpose(-1, -2) @ V
    return torch.cat(out, -2)


def both_sides(q: Tensor, k: Tensor, v: Tensor, decay: float = 1.0, *, size: int = 64) -> Tensor:
    """Mix values from both sides: a scan forward, a scan backward, and the token itself, which both hold, once.

    Shapes as `matrix`. Without decay one state serves all tokens and nothing is scanned.
    """
    if decay == 1:
        return q @ (k.transpose(-1, -2) @ v)
    forward = chunked(q, k, v, decay, size)
    backward = chunked(q.flip(-2), k.flip(-2), v.flip(-2), decay, size).flip(-2)
    return forward + backward - (q * k).sum(-1, keepdim=True) * v


def normalised(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Mix values from both sides with features elu + 1, as weights that sum to 1. Shapes as `matrix`."""
    q, k = F.elu(q) + 1, F.elu(k) + 1
    return both_sides(q, k, v) / (q @ k.sum(-2)[..., None])


def slopes(heads: int) -> list[float]:
    """List the exponents s of the decays e^(-s), one a head, as ALiBi and Lightning attention set them.

    A power of two: 2^(-8 h / H) for h = 1..H; else those of the next lower power, then every second one of the next
    higher. Source: Press et al., arXiv 2108.12409.

    >>> slopes(6)
    [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]
    """
    power = 2 ** int(math.log2(heads))
    own = [2 ** (-8 * h / power) for h in range(1, power + 1)]
    return own if power == heads else own + slopes(2 * power)[::2][: heads - power]


def multiply_adds(form: str, L: int, d: int, size: int = 64) -> int:
    """Count the multiply-adds of one head of width d on L tokens, products with keys and values only.

    `softmax` 2 L^2 d, `linear` (both sides, no decay) 2 L d^2, `causal` 2 d for each pair of tokens that see each
    other, `chunks` the causal pairs of each chunk and 2 d^2 a token for the state. Raises `ValueError` else.

    >>> multiply_adds("softmax", 32, 32) == multiply_adds("linear", 32, 32)
    True
    """
    pairs = L * (L + 1) // 2
    whole, rest = divmod(L, size)
    inside = whole * (size * (size + 1) // 2) + rest * (rest + 1) // 2
    counts = {"softmax": 2 * L * L * d, "linear": 2 * L * d * d, "causal": 2 * pairs * d}
    counts["chunks"] = 2 * inside * d + 2 * L * d * d
    if form not in counts:
        raise ValueError(f"{form!r} is unknown; known: {', '.join(counts)}")
    return counts[form]
