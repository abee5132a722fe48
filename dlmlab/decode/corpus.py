"""The exact-Bayes denoiser of a large list of texts: retrieval whose temperature is the noise.

Decisions
* It is `dlmlab.bayes.ExactBayes` for lists that are too long for it: texts equally likely, uniform noise or masks. Then
  the evidence of a text depends on one whole number, the places where it differs from what is visible.
* Under uniform noise the posterior over texts is softmax(-beta d), with beta set by the keep probability alone; under
  masks beta is infinite: the nearest texts share it evenly (with d = 0, where any text agrees).
* Which texts count is one question (`Corpus.distances`, `text_weights`), what they say at a place another (`average`):
  so a subset can be put in place of the whole, and the error of that is known (`needed`).

Sources: Bayes' rule; the same denoiser for images, with a subset of the data at every step: arXiv 2602.16498 (abstract
and the beginning of its introduction were read; its schedule and its bounds were not).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Corpus:
    """Texts of one length, (N, L) ids below V, all equally likely."""

    texts: Tensor
    V: int
    columns: Tensor = field(init=False, repr=False)  # (L, N): a place is compared in one sweep over memory

    def __post_init__(self):
        if self.texts.ndim != 2 or 0 in self.texts.shape or int(self.texts.max()) >= self.V or self.V > 2**15:
            raise ValueError(f"need (N, L) ids below V={self.V} and V at most 32,768, got {tuple(self.texts.shape)}")
        object.__setattr__(self, "texts", self.texts.to(torch.int16))
        object.__setattr__(self, "columns", self.texts.T.contiguous())

    def distances(self, ids: Tensor, visible: Tensor | None = None) -> Tensor:
        """Count the visible places where each text differs from each row, (B, N) int16.

        Shapes: ids (B, L); visible (B, L) bool, by default all.
        """
        found = torch.zeros(len(ids), len(self.texts), dtype=torch.int16)
        for b, row in enumerate(ids.tolist()):
            for i in range(len(row)) if visible is None else visible[b].nonzero()[:, 0].tolist():
                found[b] += self.columns[i] != row[i]
        return found


def inverse_temperature(alpha: Tensor, V: int) -> Tensor:
    """Say what one place of disagreement takes from the log-evidence of a text under uniform noise over V ids.

        q(z | x) = alpha 1[z = x] + (1 - alpha) / V,   beta = log(q(same) / q(another)) = log(1 + alpha V / (1 - alpha))

    Shapes: alpha (B,), from 0 (beta is 0) to 1 (beta is inf) -> (B,) float64. Source: derived in notebook 11.

    >>> inverse_temperature(torch.tensor([0.0, 0.5, 1.0]), 10)
    tensor([0.0000, 2.3979,    inf], dtype=torch.float64)
    """
    a = alpha.double()
    return torch.log1p(a * V / (1 - a))


def text_weights(distance: Tensor, beta: Tensor) -> Tensor:
    """Give the posterior over texts, softmax(-beta distance) along the texts; beta = inf: the nearest share it evenly.

    Shapes: distance (B, N) whole numbers, beta (B,) float64, 0 to inf -> (B, N) float64, rows sum to 1.

    >>> text_weights(torch.tensor([[1, 3, 1]]), torch.tensor([torch.inf]).double())
    tensor([[0.5000, 0.0000, 0.5000]], dtype=torch.float64)
    """
    gap = (distance - distance.min(1, keepdim=True).values).double()  # 0 for the nearest: exp never overflows
    raw = torch.where(gap > 0, (-beta.double()[:, None] * gap).exp(), 1.0)  # inf * 0 is never asked for
    return raw / raw.sum(1, keepdim=True)


def effective(weights: Tensor) -> Tensor:
    """Count the texts that matter, exp of the entropy of (B, N) weights, (B,): 1 for one text, N for all alike."""
    return torch.special.entr(weights).sum(1).exp()


def needed(weights: Tensor, error: float) -> Tensor:
    """Give the smallest number of texts whose weight leaves out at most `error`, (B,): their posterior, made anew from
    them alone, then has this total variation to the whole one, and no place can be further off.

    >>> needed(torch.tensor([[0.25, 0.5, 0.125, 0.125]]), 0.25)
    tensor([2])
    """
    left_out = 1 - weights.sort(1, descending=True).values.double().cumsum(1)
    return ((left_out > error + 1e-9).sum(1) + 1).clamp(max=weights.shape[1])  # 1e-9: sums round


def place_weights(texts: Tensor, ids: Tensor, distance: Tensor, beta: float) -> Tensor:
    """Weigh the texts anew for every place by what all *other* places say: the leave-one-out posterior, (N, L).

        w_n,i ∝ exp(-beta (d_n - 1[x^n_i != z_i]))

    Shapes: texts (N, L), ids z (L,), distance d (N,); beta finite. Columns sum to 1.
    """
    gap = (distance - distance.min())[:, None].double()
    return (-beta * (gap - (texts != ids.to(texts.dtype)).double())).softmax(0)


def average(texts: Tensor, weights: Tensor, V: int) -> Tensor:
    """Average the tokens of texts at every place, xhat_i(v) = sum_n w_n,i 1[x^n_i = v], (L, V).

    Shapes: texts and weights (N, L), as of `place_weights`. With the rows of a subset, and their weights divided by
    their sum, it is the prediction of the subset.
    """
    L = texts.shape[1]
    cells = texts.long() + V * torch.arange(L)  # (N, L) numbers of cells of an (L, V) table
    return torch.zeros(L * V, dtype=torch.float64).index_add(0, cells.flatten(), weights.flatten()).view(L, V)


def write(texts: Tensor, weights: Tensor, hidden: Tensor) -> Tensor:
    """Write the hidden places one at a time, the surest first, each the most likely token of the texts that are left.

    After each token only the texts that have it are left, which is what masks ask for. Of equal chances the leftmost
    place and the lowest id are taken. Shapes: texts (N, L), weights (N,), hidden (L,) bool -> ids of the hidden places.
    """
    kept = weights > 0
    texts, w = texts[kept][:, hidden].long(), weights[kept]  # (n, H)
    ids = torch.full((texts.shape[1],), -1)
    while len(texts) > 1 and bool((ids < 0).any()):
        flat = texts + (int(texts.max()) + 1) * torch.arange(texts.shape[1])
        mass = torch.zeros(int(flat.max()) + 1, dtype=w.dtype).index_add(
            0, flat.flatten(), w[:, None].expand(flat.shape).flatten()
        )
        agree = mass[flat].masked_fill(ids >= 0, -1.0)  # (n, H): weight of all texts with this token at this place
        share, place = agree.max(0).values.round(decimals=12).max(0)
        best = agree[:, place].round(decimals=12) == share
        ids[place] = texts[best, place].min()
        left = texts[:, place] == ids[place]
        texts, w = texts[left], w[left]
    return torch.where(ids < 0, texts[0], ids)
