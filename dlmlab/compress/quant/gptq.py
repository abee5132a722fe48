"""GPTQ: quantize column by column and let the columns that are left repair the error; zeros in the same pass.

    e = (w_j - q_j) / U_jj        w_k <- w_k - e U_jk  for the columns k still to come,      U^T U = (X^T X + ridge)^-1

Decisions
* Everything of SparseGPT's update (`dlmlab.compress.sparsegpt`) is used again, the damping too; what differs is that a
  weight is rounded instead of removed. So one pass does both: a removed weight is "rounded" to 0 (a code that every
  grid has), and the columns to the right repair both errors at once.
* `act_order` takes the columns with the largest second moment first, while most columns are left to repair them.
* Scales of a group are laid when its first column is reached, from weights that were already repaired, or before the
  first column (`static`). With act_order they must be static: the group would be laid when half of it is done.
* float64 inside. The released code updates columns in lazy batches of 128; that is a matter of speed alone and left
  out, since a layer here takes a fraction of a second.

Sources: Frantar et al., arXiv 2210.17323 (algorithm 1) and its released code (act_order, static groups); Frantar and
Alistarh, arXiv 2301.00774, section 3.5 (pruning and quantization in one pass); both come from Hassibi and Stork 1993.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dlmlab.compress.activations import Statistics
from dlmlab.compress.quant import grids
from dlmlab.compress.quant.grids import GRID
from dlmlab.compress.registry import Method, register
from dlmlab.compress.selection import check_request, lowest, n_of_m
from dlmlab.compress.sparsegpt import check_block, default_block, inverse_factor
from dlmlab.network.codes import QSpec, Quantized, decode


@dataclass(frozen=True)
class Options:
    """The grid, `spec`. `act_order`, `static`: see above. `damp`: the ridge, as a share of the mean second moment.
    `sparsity`, `pattern` (n:m or the share of each block of columns), `block`: weights that are removed on the way, as
    in SparseGPT."""

    spec: QSpec
    act_order: bool = False
    static: bool = False
    damp: float = 0.01
    sparsity: float = 0.0
    pattern: str = "row"
    block: int | None = None

    def __post_init__(self) -> None:
        check_request(self.sparsity, self.pattern)
        check_block(self.block, self.pattern)
        if self.pattern in ("layer", "global"):
            raise ValueError(f"pattern={self.pattern!r}: GPTQ selects inside blocks of columns; known: row, n:m")
        if self.act_order and self.spec.group is not None and not self.static:
            raise ValueError(
                f"act_order=True with group={self.spec.group} needs static=True, scales laid before all columns"
            )
        if self.act_order and self.sparsity:
            raise ValueError(f"act_order=True with sparsity={self.sparsity}: a block of the mask is neighbours")


def gptq(
    W: Tensor,
    statistics: Statistics | None,
    options: Options | QSpec,
    *,
    removed: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Quantized:
    """Quantize W (R, C) so that its outputs on the texts of the statistics change little.

    `options`: a grid alone means the others at their defaults. `removed` (R, C) bool: weights that become 0, from any
    pruning method; or `options.sparsity` chooses them on the way. Raises `ValueError` for statistics without second
    moments, as `grids.quantize`, and as `moments.damped`.
    """
    options = Options(options) if isinstance(options, QSpec) else options
    spec = options.spec
    if statistics is None:
        raise ValueError("GPTQ needs statistics of a calibration set")
    grids.quantize(W, spec, generator=generator)  # refuses what cannot be quantized
    if removed is not None and (removed.shape != W.shape or options.sparsity):
        raise ValueError(f"removed {tuple(removed.shape)} must be of W's shape {tuple(W.shape)} and without sparsity=")
    gram, W, C = statistics.second_moments("the matrix"), W.double(), W.shape[1]
    order = (
        gram.diagonal().argsort(descending=True, stable=True) if options.act_order else torch.arange(C, device=W.device)
    )
    U, _ = inverse_factor(gram[order][:, order], options.damp)
    walk = _Walk(W[:, order], order, options, U, W if removed is None else W.masked_fill(removed, 0.0))
    gone = None if removed is None else removed[:, order]
    for j in range(C):
        walk.column(j, _chosen(walk, j) if options.sparsity else None if gone is None else gone[:, j], generator)
    return Quantized(walk.codes, walk.scale, walk.zero, spec, tuple(W.shape))


def compensate(W: Tensor, j: int, rounded: Tensor, U: Tensor) -> None:
    """Put column j of W on its rounded values, and let the columns to its right repair the error, in place.

        e = (w_j - rounded) / U_jj,      w_k <- w_k - e U_jk  for k > j

    No other choice of these columns disturbs the outputs less. Shapes: W (R, C), rounded (R,), U (C, C) upper
    triangular with U^T U = (X^T X + ridge)^-1. Source: arXiv 2210.17323, algorithm 1; notebook 05, exercise 5.2.
    """
    error = (W[:, j] - rounded) / U[j, j]
    W[:, j] = rounded
    W[:, j + 1 :] -= error[:, None] * U[j, j + 1 :]


class _Walk:
    """One pass over the columns: `W` in the order of the pass, codes and grids in the order of the matrix."""

    def __init__(self, W: Tensor, order: Tensor, options: Options, U: Tensor, start: Tensor):
        self.W, self.order, self.spec, self.options, self.U = W.clone(), order, options.spec, options, U
        self.codes = torch.zeros(W.shape, dtype=torch.int32, device=W.device)
        self.scale, self.zero = grids.fit(start, self.spec)
        self.width = self.spec.group or W.shape[1]
        self.removed = torch.zeros(W.shape, dtype=torch.bool, device=W.device)

    def column(self, j: int, removed: Tensor | None, generator: torch.Generator | None) -> None:
        """Round column j of the pass, and let the later ones repair the error."""
        at = int(self.order[j])
        if self.spec.group and not self.options.static and at % self.width == 0:
            group = slice(j, j + self.width)
            self.lay(at // self.width, self.W[:, group].masked_fill(self.removed[:, group], 0.0))
        w, scale, zero = self.W[:, j], *self.grid(at // self.width)
        codes = grids.encode(w, scale, zero, self.spec, generator=generator)
        if removed is not None:
            codes = torch.where(removed, 0 if zero is None else zero, codes)
        self.codes[:, at] = codes
        compensate(self.W, j, decode(codes, scale, zero), self.U)

    def grid(self, group: int) -> tuple[Tensor, Tensor | None]:
        """Scale and zero point of a group, one a row (or one for all)."""
        if self.spec.granularity == "tensor":
            group = 0
        return self.scale[:, group], None if self.zero is None else self.zero[:, group]

    def lay(self, group: int, part: Tensor) -> None:
        """Lay the grid of a group anew, from weights as they are now, (R, g)."""
        scale, zero = grids.fit(part, self.spec)
        self.scale[:, group] = scale[:, 0]
        if zero is not None:
            self.zero[:, group] = zero[:, 0]


def _chosen(walk: _Walk, j: int) -> Tensor:
    """Choose which weights of column j are removed: SparseGPT's choice, made when a block (or n:m group) begins."""
    options, C = walk.options, walk.W.shape[1]
    nm = n_of_m(options.pattern)
    if nm and C % nm[1]:
        raise ValueError(f"pattern {options.pattern}: {C} columns are not a multiple of {nm[1]}")
    width = nm[1] if nm else options.block or default_block(C)
    if j % width == 0:
        block = slice(j, min(j + width, C))
        scores = (walk.W[:, block] / walk.U.diagonal()[block]).abs()
        flat = scores if nm else scores.reshape(1, -1)
        walk.removed[:, block] = lowest(flat, options.sparsity).view(scores.shape)
    return walk.removed[:, j]


# ------------------------------------------------------------------------------------------------ registered


def options(
    *, act_order: bool = False, sparsity: float = 0.0, pattern: str = "row", block: int | None = None, **grid
) -> Options:
    """Make the options from plain values; groups that cannot be laid on the way are laid before."""
    static = act_order and grid.get("group") is not None
    return Options(QSpec(**grid), act_order, static, sparsity=sparsity, pattern=pattern, block=block)


def _apply(W: Tensor, statistics: Statistics, options: Options | QSpec, generator: torch.Generator | None) -> Quantized:
    """Zeros of a pruned matrix stay zeros; where new ones are asked for, these are chosen among all."""
    gone = W == 0
    fixed = bool(gone.any()) and not getattr(options, "sparsity", 0)
    return gptq(W, statistics, options, removed=gone if fixed else None, generator=generator)


USES = (*GRID, "act_order", "sparsity", "pattern", "block")
register(Method("gptq", "gram", _apply, uses=USES, family="quantize", options=options))
