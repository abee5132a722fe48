"""Folding: a scale on the input of a matrix moves into what produces that input, and the model stays the same.

    W' = W diag(s)  on every matrix that reads the input,     x' = x / s  by dividing what makes x,     W' x' = W x

Decisions
* Each input inside a block has one maker that is linear in the scale (`parts.MAKERS`): a norm; the values, for the
  output of attention, which mixes tokens and never channels; up, for the last matrix: silu(gate) * up is linear in up.
* AWQ and SmoothQuant differ in how they choose s. Everything else of them is here.
* Statistics of the old model are scaled along, so nothing has to be collected again.

Sources: Xiao et al., SmoothQuant, arXiv 2211.10438, equation 3; Lin et al., AWQ, arXiv 2306.00978, equation 2.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from dlmlab.compress.activations import Statistics
from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.packed import check_dense

Scaling = Callable[[Tensor, Statistics], Tensor]  # (all matrices of a site, stacked (R, C); statistics) -> s (C,)


def check_site(site: str) -> str:
    """Return a site, named by the first matrix that reads it. Raises `ValueError` for another."""
    if site not in parts.MAKERS:
        raise ValueError(f"site={site!r} is unknown; known: {', '.join(parts.MAKERS)}")
    return site


@torch.no_grad()
def fold(block: nn.Module, site: str, s: Tensor) -> None:
    """Multiply the input columns of a site's matrices by s (C,) and divide what makes the input by it, in place.

    Raises `ValueError` for an unknown site, scales that are not finite and > 0, and for the output of attention where
    heads share values.
    """
    maker, readers = parts.inputs(block)[check_site(site)]
    if not bool((s.isfinite() & (s > 0)).all()):
        raise ValueError(f"scales of {site} must be finite and > 0, got {float(s.min()):.3g}..{float(s.max()):.3g}")
    made, s = maker.weight, s.double()
    if len(s) != len(made):
        raise ValueError(f"{site}: {len(s)} scales, but {parts.MAKERS[site]} makes {len(made)} features")
    made.copy_(made.double() / s.view(-1, *[1] * (made.ndim - 1)))  # a norm (C,), or the rows of a matrix (C, D)
    for reader in readers.values():
        reader.weight.copy_(reader.weight.double() * s)


def scaled(statistics: Statistics, s: Tensor) -> Statistics:
    """Give the statistics of x / s."""
    s = s.double()
    return replace(
        statistics,
        sum_sq=statistics.sum_sq / s.square(),
        sum_norm=statistics.sum_norm / s,
        abs_sum=statistics.abs_sum / s,
        abs_max=statistics.abs_max / s,
        gram=None if statistics.gram is None else statistics.gram / s[:, None] / s,
    )


@torch.no_grad()
def balance(
    model: LLaDAModelLM, statistics: dict[str, Statistics], scaling: Scaling, sites: Iterable[str] = parts.MAKERS
) -> tuple[LLaDAModelLM, dict[str, Statistics]]:
    """Return a copy of the model whose sites are scaled by `scaling`, and its statistics; its outputs are the old ones.

    `statistics` are those of this model (`activations.collect`). A weight that a later site divides was looked at
    before. Raises `ValueError` as `fold`.
    """
    model, found, sites = copy.deepcopy(check_dense(model)), dict(statistics), [check_site(site) for site in sites]
    for layer, block in enumerate(parts.blocks(model)):
        for site in sites:
            readers = parts.inputs(block)[site][1]
            stack = torch.cat([reader.weight for reader in readers.values()])  # (R, C)
            s = scaling(stack, found[f"blocks.{layer}.{site}"])
            fold(block, site, s)
            found |= {f"blocks.{layer}.{name}": scaled(found[f"blocks.{layer}.{name}"], s) for name in readers}
    return model, found
