"""A matrix with the statistics of its inputs, as tests of quantization want it."""

import torch

from dlmlab.compress.activations import Statistics
from tests.compress import cases
from tests.compress.cases import seeded, statistics, tiny_calibration

__all__ = ["seeded", "statistics", "tiny_calibration", "toy"]


def toy(C: int = 64, R: int = 24, n: int = 4096, seed: int = 0) -> tuple[torch.Tensor, Statistics, torch.Tensor]:
    """Make W (R, C), the statistics of its inputs, and the inputs X (n, C)."""
    W, X = cases.toy(C, R, n, seed)
    return W, statistics(X), X
