"""Second moments made safe to invert: the one matrix that SparseGPT and the refits solve with.

    H = G + ridge I,  G = X^T X,  ridge = damp * mean of the diagonal of G

Decisions
* A feature that is 0 on every text is *dead*: the texts say nothing about its weights. Its diagonal becomes 1, as in
  the released SparseGPT, but does not count in the mean. (There it does, so that one dead feature makes the result
  depend on the scale of the texts.) A dead feature then changes nothing for the others.
* Fewer tokens than features leave weights undetermined, and only the ridge decides them. Where it is too small to, the
  system is refused: the weights would be rounding noise, or nan.

Sources: Frantar and Alistarh, arXiv 2301.00774, and its released code (damping); Roy and Vetterli, EUSIPCO 2007
(effective rank).
"""

import math

import torch
from torch import Tensor

NOISE = torch.finfo(torch.float64).eps


def damped(gram: Tensor, damp: float) -> tuple[Tensor, Tensor]:
    """Add the ridge to second moments, (C, C) -> H (C, C) float64 and the dead features, (C,) bool.

    Raises `ValueError` for a damp that is negative or not finite, and for what cannot be second moments.
    """
    if not (damp >= 0 and math.isfinite(damp)):
        raise ValueError(f"damp={damp} must be finite and >= 0")
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise ValueError(f"second moments must be (C, C), got {tuple(gram.shape)}")
    diagonal = gram.diagonal()
    if not bool(torch.isfinite(gram).all()) or bool((diagonal < 0).any()):
        raise ValueError(f"second moments must be finite with a diagonal >= 0; its lowest is {float(diagonal.min())}")
    dead = diagonal == 0
    live = len(gram) - int(dead.sum())
    ridge = damp * diagonal.mean().double() * (len(gram) / max(live, 1))  # the mean over the live ones
    return gram.double() + (ridge + dead.double()).diag(), dead


def cholesky(A: Tensor, damp: float, *, upper: bool = False) -> Tensor:
    """Return the Cholesky factor of A (..., n, n), lower unless `upper`.

    Raises `ValueError`, which names the damp, when A is singular: a pivot is the part of a feature that the features
    before it do not explain, and one of the size of rounding errors is 0.
    """
    factor, failed = torch.linalg.cholesky_ex(A, upper=upper)
    pivots, size = factor.diagonal(dim1=-2, dim2=-1).square(), A.diagonal(dim1=-2, dim2=-1)
    if bool(failed.any()) or not bool((pivots > A.shape[-1] * NOISE * size).all()):
        raise ValueError(
            f"damp={damp} is too small: the second moments of {A.shape[-1]} features are singular (fewer tokens than "
            "features, or copies of a feature), so the weights are not determined"
        )
    return factor


def effective_rank(gram: Tensor) -> float:
    """Say over how many directions inputs are spread, 1..C: exp of the entropy of the shares of the eigenvalues.

        exp(-sum p_i log p_i),  p = eigenvalues of gram (C, C) / their sum

    Few directions leave most weights undetermined by the texts. Here the shares are those of the second moments; the
    published ones are of the singular values of X, their roots. Raises `ValueError` as `damped`, and for moments that
    are all 0.

    >>> effective_rank(torch.diag(torch.tensor([1.0, 1.0, 0.0])))
    2.0
    """
    values = torch.linalg.eigvalsh(damped(gram, 0.0)[0] - (gram.diagonal() == 0).double().diag()).clamp(min=0)
    if not bool(values.any()):
        raise ValueError(f"second moments of {len(gram)} features are all 0: there is nothing to rank")
    p = values / values.sum()
    return round(float(torch.special.entr(p).sum().exp()), 9)
