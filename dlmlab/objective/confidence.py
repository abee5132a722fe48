"""Confidence-aware training: where a model is right already, let it be surer.

A threshold rule commits what is sure. Cross-entropy has little left to do at a token whose most probable value is the
right one; the entropy H of the prediction there still has. Added with a weight,

    loss = cross-entropy + weight * mean of H(p) over masked places, 0 where argmax p is wrong

it raises the top probability (dH/dz_v = -p_v (log p_v + H)), so that more tokens pass the threshold in one forward. It
says nothing about two tokens that depend on each other: what is committed together is still drawn apart.

Source: confidence-aware parallel training (CAP) of LLaDA2.0, arXiv 2512.15745; a mean over all masked places, so that a
batch weighs the same on one process and on many.
"""

import torch
from torch import Tensor


def right_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Entropy of every prediction whose most probable token is the right one, 0 for the others, in nats.

    Shapes (N, V), (N,) -> (N,). The gradient flows through the entropy only.

    >>> right_entropy(torch.tensor([[0.7, 0.2, 0.1]] * 2).log(), torch.tensor([0, 1]))
    tensor([0.8018, 0.0000])
    """
    log_p = logits.float().log_softmax(-1)
    return torch.where(logits.argmax(-1) == targets, -(log_p.exp() * log_p).sum(-1), 0.0)
