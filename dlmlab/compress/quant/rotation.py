"""Rotation: an orthogonal matrix between two layers changes no output and spreads an outlier over all channels.

    (x Q) (W Q)^T = x W^T        Q = H diag(+-1),  H a Hadamard matrix: every entry +-1/sqrt(n)

Decisions
* Hadamard matrices exist for powers of two and, by Paley, for n = p + 1 with p a prime of the form 4k + 3; a Kronecker
  product of two is one again. 192 channels = 12 x 16, 512 = 2^9, a head of 32 = 2^5, so no block-diagonal makeshift is
  needed: an outlier in one of 192 channels ends up as 1/sqrt(192) of itself in each.
* The scale of a norm does not commute with a rotation, a norm without scale does. So scales move into the next matrix
  first (`absorb_norms`), then embedding, blocks and head are rotated for good: no operation is added.
* Values are rotated head by head: attention mixes tokens only, so the attention output undoes it.
* Between silu(gate) * up and the last matrix of a block nothing can be folded: there a rotation is computed in every
  forward (`online`), n^2 operations a token here, n log n with a fast transform.
* Queries and keys are left alone: their rotation matters for a cache of few bits, not for weights.

Sources: Ashkboos et al., QuaRot, arXiv 2404.00456; Paley 1933, J. Math. Phys. 12.
"""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlmlab.compress.pruning import sparsity_of
from dlmlab.compress.quant import gptq
from dlmlab.compress.quant.grids import GRID
from dlmlab.compress.registry import TEXTS, Program, compress, register
from dlmlab.network import parts
from dlmlab.network.codes import QSpec
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.packed import check_dense

CHANCE = 0.001  # share of zeros that a model has without pruning, most of all one stored in 16 bits


def hadamard(n: int) -> Tensor:
    """Make an orthogonal matrix whose entries are all +-1/sqrt(n), (n, n) float64.

    Raises `ValueError` for an n that is neither a power of two nor (p + 1) times one, p a prime of the form 4k + 3.
    """
    k = (n & -n).bit_length() - 1 if n > 0 else -1
    for power in range(k, -1, -1):
        core = _paley(n >> power)
        if core is not None:
            for _ in range(power):
                core = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64), core)
            return core / math.sqrt(n)
    raise ValueError(f"n={n}: no Hadamard matrix of this order here, only of 2^k and (p + 1) 2^k, p prime, p % 4 = 3")


def _paley(m: int) -> Tensor | None:
    """Paley's matrix of order m with entries +-1, or None when m - 1 is not such a prime."""
    p = m - 1
    if m == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if p < 3 or p % 4 != 3 or any(p % d == 0 for d in range(2, math.isqrt(p) + 1)):
        return None
    squares = {i * i % p for i in range(1, p)}
    sign = torch.tensor([0.0] + [1.0 if i in squares else -1.0 for i in range(1, p)], dtype=torch.float64)
    index = (torch.arange(p)[None] - torch.arange(p)[:, None]) % p
    H = torch.ones(m, m, dtype=torch.float64)
    H[1:, 1:] = sign[index] + torch.eye(p, dtype=torch.float64)
    H[1:, 0] = -1
    return H


def random_hadamard(n: int, generator: torch.Generator) -> Tensor:
    """Make a Hadamard matrix with random signs of its inputs, diag(+-1) H, (n, n) float64: orthogonal, and no fixed
    pattern of inputs is undone by it."""
    signs = torch.randint(2, (n,), generator=generator).double() * 2 - 1
    return signs[:, None] * hadamard(n)


class Rotate:
    """A hook before a linear layer: its input (..., n) is multiplied by Q (n, n)."""

    def __init__(self, Q: Tensor):
        self.Q = Q

    def __call__(self, module: nn.Module, inputs: tuple) -> tuple:
        return (inputs[0] @ self.Q.to(inputs[0]), *inputs[1:])


def _change(linear: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    linear.weight.copy_(change(linear.weight.double()))


@torch.no_grad()
def absorb_norms(model: LLaDAModelLM) -> None:
    """Move the scale of every norm into the matrices that read it, in place; the outputs stay the same."""
    for norm, readers in parts.norms(model):
        scale = norm.weight.double()
        for linear in readers:
            _change(linear, lambda W, scale=scale: W * scale)
        norm.weight.fill_(1.0)


@torch.no_grad()
def rotate(model: LLaDAModelLM, generator: torch.Generator, *, heads: bool = True, online: bool = True) -> LLaDAModelLM:
    """Return a copy of the model, rotated; its logits are those of the model.

    `heads`: values too, head by head. `online`: also the input of the last matrix of a block, by a hook that computes
    it in every forward (it is not saved with the weights). Raises `ValueError` as `hadamard`.
    """
    model = copy.deepcopy(check_dense(model))
    absorb_norms(model)
    Q = random_hadamard(model.config.d_model, generator)
    _change(parts.ends(model)[0], lambda W: W @ Q)
    for _, readers in parts.norms(model):
        for linear in readers:
            _change(linear, lambda W: W @ Q)
    for block in parts.blocks(model):
        for linear in parts.writers(block):
            _change(linear, lambda W: Q.T @ W)
        mixed, last = parts.writers(block)
        if heads:
            H = hadamard(block.width)
            _change(block.get_submodule(parts.VALUE), lambda W, H=H: (H.T @ W.unflatten(0, (-1, len(H)))).flatten(0, 1))
            _change(mixed, lambda W, H=H: (W.unflatten(1, (-1, len(H))) @ H).flatten(1))
        if online:
            turn = random_hadamard(last.in_features, generator)
            _change(last, lambda W, turn=turn: W @ turn)
            last.register_forward_pre_hook(Rotate(turn))
    return model


def peak(x: Tensor) -> Tensor:
    """How far the largest channel stands out in each row of x (..., C): max|x| over the root mean square, (...).

    sqrt(C) for one channel alone, 1 when all are equally large. Few bits need a small one.
    """
    return x.abs().amax(-1) / x.square().mean(-1).sqrt().clamp(min=1e-12)


def _turned(model: LLaDAModelLM, texts) -> LLaDAModelLM:
    """Rotate what can be folded: what would be computed in every forward is not saved with a model."""
    if (zeros := sparsity_of(check_dense(model))) > CHANCE:
        raise ValueError(f"{zeros:.1%} of the weights are 0: a rotation mixes columns, no zero would be left")
    return rotate(model, texts.generator(), online=False)


def run_rtn(model: LLaDAModelLM, texts, *, options: QSpec, packed: bool = False) -> LLaDAModelLM:
    """Rotate, then round to nearest."""
    return compress(_turned(model, texts), "rtn", options, packed=packed)


def run_gptq(model: LLaDAModelLM, texts, *, options: gptq.Options, packed: bool = False) -> LLaDAModelLM:
    """Rotate, then GPTQ on the states of the rotated model, which are those of the model."""
    return compress(_turned(model, texts), "gptq", options, calib=texts.states(model), packed=packed)


register(Program("rotate-rtn", run_rtn, uses=(*GRID, "seed"), family="quantize", options=QSpec))
USES = (*GRID, "act_order", *TEXTS)
register(Program("rotate-gptq", run_gptq, uses=USES, family="quantize", options=gptq.options))
