"""The order of pruning and quantization, on one matrix: prune then quantize, the other way round, or both in one pass.

    P->Q       zeros are chosen among float weights; the quantizer sees the survivors and repairs what both did
    Q->P       codes first; then the least important become 0. Nothing can be repaired: a repaired weight would leave
               its grid. So the score is Wanda's, on the quantized weights
    one pass   SparseGPT's choice inside GPTQ's pass: each column is removed or rounded, and the columns to its right
               repair both errors

and where sparsity begins to pay in bytes at all:

    (1 - s) b + 1 < c      bits of the kept codes and one bit a weight that says which, against c bits for all weights

Sources: Frantar and Alistarh, arXiv 2301.00774, section 3.5 (one pass); the orders in other models: arXiv 2511.19495.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dlmlab.compress.activations import Statistics
from dlmlab.compress.pruning import Recipe
from dlmlab.compress.quant import gptq
from dlmlab.compress.registry import Method, matrix_method
from dlmlab.compress.scores import wanda_scores
from dlmlab.compress.selection import select
from dlmlab.network.codes import QSpec, Quantized, cells, dequantize

ORDERS = ("P->Q", "Q->P", "one pass")


@dataclass(frozen=True)
class Plan:
    """What happens to a matrix: the grid `spec` (None: it stays float), `sparsity` by `pattern`, the `order`, and the
    registered methods that `prune` and `quantize`."""

    spec: QSpec | None
    sparsity: float = 0.0
    pattern: str = "row"
    order: str = "P->Q"
    prune: str = "sparsegpt"
    quantize: str = "gptq"


def apply(
    W: Tensor, statistics: Statistics | None, plan: Plan, generator: torch.Generator | None
) -> Tensor | Quantized:
    """Compress one matrix W (R, C) as planned, given the statistics of its inputs."""
    if plan.order == "one pass" and plan.sparsity:
        both = gptq.Options(plan.spec, sparsity=plan.sparsity, pattern=plan.pattern)
        return gptq.gptq(W, statistics, both, generator=generator)
    if plan.order == "Q->P" and plan.sparsity and plan.spec is not None:
        return zeroed(_quantize(W, statistics, plan, generator), statistics, plan)
    if plan.sparsity:
        recipe = Recipe(plan.prune, plan.sparsity, plan.pattern)
        W = matrix_method(plan.prune, "prune").apply(W, statistics, recipe, generator)
    return W if plan.spec is None else _quantize(W, statistics, plan, generator)


METHOD = Method("joint", "gram", apply)


def _quantize(W: Tensor, statistics: Statistics | None, plan: Plan, generator: torch.Generator | None) -> Quantized:
    return matrix_method(plan.quantize, "quantize").apply(W, statistics, plan.spec, generator)


def zeroed(q: Quantized, statistics: Statistics, plan: Plan) -> Quantized:
    """Set the codes with the lowest Wanda scores to the code of 0."""
    removed = select(wanda_scores(dequantize(q), statistics.rms), plan.sparsity, plan.pattern)
    return Quantized(torch.where(removed, zero_codes(q), q.codes), q.scale, q.zero, q.spec, q.shape)


def zero_codes(q: Quantized) -> Tensor:
    """Give the code that stands for 0 at the place of every weight, int32 of its shape."""
    if q.zero is None:
        return torch.zeros_like(q.codes)
    return q.zero[..., None].expand_as(cells(q.codes, q.spec)).reshape(q.shape).to(q.codes.dtype)


def sparse_bits(sparsity: float, bits: float, *, mask: float = 1.0) -> float:
    """Count the bits a weight of kept codes and the mask that says which are kept.

    >>> sparse_bits(0.5, 8)
    5.0
    """
    return (1 - sparsity) * bits + mask


def break_even(bits: float, against: float, *, mask: float = 1.0) -> float:
    """Give the sparsity at which codes of `bits` and their mask take as many bits a weight as `against`.

    Below it the dense codes are smaller. Raises `ValueError` when the mask alone takes as much: no sparsity pays then.

    >>> break_even(8, 4)  # 8 bits must lose 62.5 % of the weights to be as small as 4 bits
    0.625
    """
    if against <= mask:
        raise ValueError(f"the mask takes {mask:g} bits a weight, {against:g} bits are not more: no sparsity pays")
    return max(0.0, 1 - (against - mask) / bits)
