"""Matrices with correlated inputs of unequal size, and texts for the tiny model."""

import torch

from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet
from tests.tiny import tiny_ids


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy(C: int = 64, R: int = 24, n: int = 4096, seed: int = 0) -> tuple[torch.Tensor, Statistics, torch.Tensor]:
    """A random matrix W (R, C), the statistics of its inputs, and the inputs X (n, C)."""
    g = seeded(seed)
    common = torch.randn(n, C // 4, generator=g) @ torch.randn(C // 4, C, generator=g) / C**0.5
    X = (common + 0.3 * torch.randn(n, C, generator=g)) * torch.exp(0.5 * torch.randn(C, generator=g))
    return torch.randn(R, C, generator=g), statistics(X), X


def statistics(X: torch.Tensor) -> Statistics:
    return Statistics.empty(X.shape[1], gram=True).add(X[None])


def tiny_calibration(N: int = 12, L: int = 10) -> CalibrationSet:
    """Texts of 10 tokens, every third with 3 of padding; the id 0 stands for the mask."""
    ids = tiny_ids(N, L)
    real = torch.ones(N, L, dtype=torch.bool)
    real[::3, 7:] = False
    return CalibrationSet(ids, real, torch.linspace(0.1, 1, N), torch.arange(N) % 4, mask_id=0)
