"""Folding: a scale on the input of a matrix moves into what produces that input, and the model stays the same.

    W' = W diag(s)  on every matrix that reads the input,     x' = x / s  by dividing what makes x,     W' x' = W x

Decisions
* Each site of a block has one producer that is linear in the scale: the norm before q, k, v and before gate and up;
  v for the attention output (attention mixes tokens, never channels); up for the last matrix, because
  h = silu(gate) * up is linear in up.
* AWQ and SmoothQuant differ in how they choose s. Everything else of them is here.
* Statistics of the old model are scaled along, so nothing has to be collected again.

Sources: Xiao et al., SmoothQuant, arXiv 2211.10438, equation 3; Lin et al., AWQ, arXiv 2306.00978, equation 2.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from dlmlab.compress.activations import SITES, Statistics
from dlmlab.network.model import LLaDAModelLM

PRODUCERS = {"q_proj": "attn_norm", "attn_out": "v_proj", "ff_proj": "ff_norm", "ff_out": "up_proj"}
Scaling = Callable[[Tensor, Statistics], Tensor]  # (all matrices of a site, stacked (R, C); statistics) -> s (C,)


def check_site(site: str) -> str:
    """Return a site that has a producer. Raises `ValueError` for another."""
    if site not in PRODUCERS:
        raise ValueError(f"site={site!r} is unknown; known: {', '.join(PRODUCERS)}")
    return site


@torch.no_grad()
def fold(block: nn.Module, site: str, s: Tensor) -> None:
    """Multiply the input columns of a site's matrices by s (C,) and divide their producer by it, in place.

    Raises `ValueError` for an unknown site, scales that are not finite and > 0, and for the attention output of a model
    whose heads share values.
    """
    check_site(site)
    if not bool((s.isfinite() & (s > 0)).all()):
        raise ValueError(f"scales of {site} must be finite and > 0, got {float(s.min()):.3g}..{float(s.max()):.3g}")
    producer = getattr(block, PRODUCERS[site]).weight
    if len(s) != len(producer):
        raise ValueError(
            f"{site}: {len(s)} scales, but {PRODUCERS[site]} makes {len(producer)} features (shared values)"
        )
    producer.copy_(producer.double() / s.double().view(-1, *[1] * (producer.ndim - 1)))  # norm (C,), or rows (C, D)
    for name in SITES[site]:
        weight = getattr(block, name).weight
        weight.copy_(weight.double() * s.double())


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
    model: LLaDAModelLM, statistics: dict[str, Statistics], scaling: Scaling, sites: Iterable[str] = PRODUCERS
) -> tuple[LLaDAModelLM, dict[str, Statistics]]:
    """Return a copy of the model whose sites are scaled by `scaling`, and its statistics; its outputs are the old ones.

    `statistics` are those of this model (`activations.collect`). A weight that a later site divides was looked at
    before. Raises `ValueError` as `fold`.
    """
    model, found, sites = copy.deepcopy(model), dict(statistics), [check_site(site) for site in sites]
    for layer, block in enumerate(model.model.transformer["blocks"]):
        for site in sites:
            stack = torch.cat([getattr(block, name).weight for name in SITES[site]])  # (R, C)
            s = scaling(stack, found[f"blocks.{layer}.{site}"])
            fold(block, site, s)
            found |= {f"blocks.{layer}.{name}": scaled(found[f"blocks.{layer}.{name}"], s) for name in SITES[site]}
    return model, found
