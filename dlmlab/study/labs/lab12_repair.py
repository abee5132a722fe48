"""Lab 12: 42 equations, every false text that is one number away from a true one, and one edit."""

import itertools
from functools import cache

import torch
from torch import Tensor

from dlmlab.decode.ancestral import Denoise, edit_once
from dlmlab.study.nb02_student import BLANK, N, equations, holds

L = 5
AT = 0.8  # keep probability that a network is told when it edits


@cache
def planted() -> tuple[Tensor, Tensor, Tensor]:
    """List every false text that is one number away from a true one: texts, the true ones (R, 5), weights (R,)."""
    texts, chance = equations()
    rows = []
    for text, p in zip(texts.tolist(), chance.tolist(), strict=True):
        for place, number in itertools.product((0, 2, 4), range(N)):
            wrong = [*text[:place], number, *text[place + 1 :]]
            if not holds(wrong):
                rows.append((wrong, text, p))
    wrong, right, p = zip(*rows, strict=True)
    weight = torch.tensor(p, dtype=torch.float64)
    return torch.tensor(wrong), torch.tensor(right), weight / weight.sum()


@torch.no_grad()
def repaired(denoise: Denoise, prior: Tensor, by: str, *, alpha: float = AT) -> dict[str, float]:
    """Edit once every false text and every true one."""
    wrong, right, weight = planted()
    texts, chance = equations()

    def edited(z: Tensor) -> Tensor:
        a = torch.full((len(z),), alpha, dtype=torch.float64)
        return edit_once(denoise(z, a), z, torch.ones_like(z, dtype=torch.bool), alpha=a, prior=prior, by=by)

    out, clean = edited(wrong), edited(texts)
    valid = torch.tensor([holds(t) for t in out.tolist()])
    still = torch.tensor([holds(t) for t in clean.tolist()])
    return {
        f"valid by {by}": float(weight[valid].sum()),
        f"same by {by}": float(weight[(out == right).all(1)].sum()),
        f"moved by {by}": float(chance[(clean != texts).any(1)].sum()),
        f"false by {by}": float(chance[~still].sum()),
    }


def one_place_masked(denoise: Denoise) -> Denoise:
    """Make true leave-one-out logits with masks: every place is hidden in turn, L rows for one."""

    def hidden(z: Tensor, alpha: Tensor) -> Tensor:
        eye = torch.eye(L, dtype=torch.bool)
        rows = torch.where(eye, BLANK, z[:, None].expand(-1, L, -1))  # (B, L, L)
        out = denoise(rows.reshape(-1, L), torch.full((len(z) * L,), 1 - 1 / L, dtype=torch.float64))
        out = out.view(len(z), L, L, -1)
        return out[:, range(L), range(L)]

    return hidden
