"""How much a weight matters: a score for each, from the weights and from what passes through them.

Sources: Sun et al., Wanda, arXiv 2306.11695; Yin et al., OWL, arXiv 2310.05175.
"""

import torch
from torch import Tensor, nn

from dlmlab.compress.activations import Statistics
from dlmlab.network import parts


def random_scores(W: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a score for each weight: the floor that every method must beat."""
    return torch.rand(W.shape, generator=generator, device=generator.device).to(W.device)


def wanda_scores(W: Tensor, norms: Tensor) -> Tensor:
    """Score weights by |W| times the norm of the feature they multiply, (R, C) and (C,) -> (R, C).

    Source: arXiv 2306.11695, equation 1.
    """
    return W.abs() * norms.to(W.dtype)


def outlier_ratio(W: Tensor, norms: Tensor, *, M: float = 5.0) -> float:
    """Share of Wanda scores above M times their mean: OWL's measure of a layer (arXiv 2310.05175)."""
    A = wanda_scores(W, norms)
    return float((A > M * A.mean()).double().mean())


def outlier_ratios(model: nn.Module, statistics: dict[str, Statistics]) -> list[float]:
    """Outlier ratio of each block, the mean over its matrices weighted by size."""
    ratios = []
    for layer, block in enumerate(parts.blocks(model)):
        found = [
            (W.weight.detach(), statistics[f"blocks.{layer}.{name}"].rms) for name, W in parts.matrices(block).items()
        ]
        total = sum(W.numel() for W, _ in found)
        ratios.append(sum(outlier_ratio(W, norms) * W.numel() for W, norms in found) / total)
    return ratios
