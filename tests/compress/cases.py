"""Problems and models that several tests of compression share."""

import torch

from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet, calibration_problems, calibration_set
from dlmlab.network import parts
from dlmlab.task.tokenizer import build_tokenizer
from tests.tiny import tiny_ids, tiny_model

TOKENIZER = build_tokenizer()
PROBLEMS = calibration_problems(6)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy(C: int = 64, R: int = 24, n: int = 4096, seed: int = 0):
    """A random matrix and correlated inputs with features of unequal size: W (R, C), X (n, C)."""
    g = seeded(seed)
    common = torch.randn(n, C // 4, generator=g) @ torch.randn(C // 4, C, generator=g) / C**0.5
    X = (common + 0.3 * torch.randn(n, C, generator=g)) * torch.exp(0.5 * torch.randn(C, generator=g))
    return torch.randn(R, C, generator=g), X


def statistics(X: torch.Tensor) -> Statistics:
    return Statistics.empty(X.shape[1], gram=True).add(X[None])


def tiny_calibration(N: int = 12, L: int = 10) -> CalibrationSet:
    ids = tiny_ids(N, L)
    real = torch.ones(N, L, dtype=torch.bool)
    real[::3, 7:] = False
    return CalibrationSet(ids, real, torch.linspace(0.1, 1, N), torch.arange(N) % 4, mask_id=0)


def relative_error(W, X, out):
    return float((X @ (W - out).T).square().sum() / (X @ W.T).square().sum())


def even_heads(**changes):
    """A tiny model whose heads have keys of their own, so that they can leave."""
    return tiny_model(**{"n_kv_heads": 4} | changes)


def weights_of(*models):
    """Pair the compressible matrices of models."""
    return zip(*(parts.weights(model).values() for model in models), strict=True)


def logits(model, ids=None):
    with torch.inference_mode():
        return model(tiny_ids() if ids is None else ids).logits


def reader(attention: str = "full"):
    """A tiny model with the vocabulary of the course's tokenizer."""
    return tiny_model(
        attention,
        vocab_size=len(TOKENIZER),
        max_sequence_length=96,
        mask_token_id=TOKENIZER.mask_token_id,
        eos_token_id=TOKENIZER.eos_token_id,
        n_kv_heads=4,
    )


def states(mode: str, **options) -> CalibrationSet:
    """Make the states of six problems."""
    return calibration_set(TOKENIZER, PROBLEMS, mode, generator=seeded(), **options)
