"""Answers to exercise 2.1."""

import torch
import torch.nn.functional as F


def _ce(logits, x0):
    return F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")


def _weight(masked, t):
    return torch.where(masked, 1 / t[:, None], 0.0)


def divides_by_the_masks(logits, x0, masked, t):
    return (_ce(logits, x0) * _weight(masked, t)).sum() / masked.sum().clamp(min=1)


def divides_by_the_rows(logits, x0, masked, t):
    return (_ce(logits, x0) * _weight(masked, t)).sum() / len(x0)


def divides_by_nothing(logits, x0, masked, t):
    return (_ce(logits, x0) * _weight(masked, t)).sum()


def divides_each_row_by_its_masks(logits, x0, masked, t):
    return ((_ce(logits, x0) * _weight(masked, t)).sum(1) / masked.sum(1).clamp(min=1)).mean()


def plain_cross_entropy(logits, x0, masked, t):
    return (_ce(logits, x0) * masked).sum() / x0.numel()


def weight_on_the_wrong_axis(logits, x0, masked, t):
    return (_ce(logits, x0) * torch.where(masked, 1 / t, 0.0)).sum() / x0.numel()


def one_time_for_the_batch(logits, x0, masked, t):
    return (_ce(logits, x0) * masked).sum() / t.mean() / x0.numel()


def weight_t(logits, x0, masked, t):
    return (_ce(logits, x0) * masked * t[:, None]).sum() / x0.numel()


def weight_of_the_visible_share(logits, x0, masked, t):
    return (_ce(logits, x0) * masked / (1 - t[:, None])).sum() / x0.numel()


def counts_visible_tokens(logits, x0, masked, t):
    return (_ce(logits, x0) / t[:, None]).sum() / x0.numel()


def takes_masked_for_visible(logits, x0, masked, t):
    return (_ce(logits, x0) * _weight(~masked, t)).sum() / x0.numel()


def forgets_the_minus(logits, x0, masked, t):
    return -(_ce(logits, x0) * _weight(masked, t)).sum() / x0.numel()


def nan_at_time_0(logits, x0, masked, t):
    return (_ce(logits, x0) * masked / t[:, None]).sum() / x0.numel()


def nan_in_the_gradient(logits, x0, masked, t):
    return torch.where(masked, _ce(logits, x0) / t[:, None], 0.0).sum() / x0.numel()


def mean_of_nothing(logits, x0, masked, t):
    mean = F.cross_entropy(logits[masked], x0[masked], reduction="none") / t[:, None].expand(x0.shape)[masked]
    return mean.mean() * masked.float().mean()


def masks_the_logits_in_place(logits, x0, masked, t):
    with torch.no_grad():
        logits[~masked] = 0.0
    return (_ce(logits, x0) * _weight(masked, t)).sum() / x0.numel()


def one_loss_a_row(logits, x0, masked, t):
    return (_ce(logits, x0) * _weight(masked, t)).sum(1) / x0.shape[1]


def clips_the_weight(logits, x0, masked, t):
    return (_ce(logits, x0) * _weight(masked, t).clamp(max=20.0)).sum() / x0.numel()


def clips_the_time(logits, x0, masked, t):
    return (_ce(logits, x0) * _weight(masked, t.clamp(min=0.01))).sum() / x0.numel()


def clips_the_loss(logits, x0, masked, t):
    return (_ce(logits, x0).clamp(max=5.0) * _weight(masked, t)).sum() / x0.numel()


def detached(logits, x0, masked, t):
    return (_ce(logits.detach(), x0) * _weight(masked, t)).sum() / x0.numel()


def a_new_tensor(logits, x0, masked, t):
    return torch.tensor(float((_ce(logits, x0) * _weight(masked, t)).sum() / x0.numel()))


def without_gradients(logits, x0, masked, t):
    with torch.no_grad():
        return (_ce(logits, x0) * _weight(masked, t)).sum() / x0.numel()


def half_of_the_gradient(logits, x0, masked, t):
    loss = (_ce(logits, x0) * _weight(masked, t)).sum() / x0.numel()
    return (loss + loss.detach()) / 2


MUTANTS = {
    divides_by_the_masks: "number of masked tokens",
    divides_by_the_rows: "rows only",
    divides_by_nothing: "not divided",
    divides_each_row_by_its_masks: "its own number of masks",
    plain_cross_entropy: "1 / t is missing",
    weight_on_the_wrong_axis: "wrong axis",
    one_time_for_the_batch: "whole batch",
    weight_t: "the weight is t",
    weight_of_the_visible_share: "1 / (1 - t)",
    counts_visible_tokens: "visible tokens are counted",
    takes_masked_for_visible: "instead of the masked",
    forgets_the_minus: "sign",
    nan_at_time_0: "t = 0",
    nan_in_the_gradient: "gradient",
    mean_of_nothing: "empty selection",
    masks_the_logits_in_place: "in place",
    one_loss_a_row: "shape",
    clips_the_weight: "random inputs",
    clips_the_time: "random inputs",
    clips_the_loss: "random inputs",
    detached: "detached",
    a_new_tensor: "detached",
    without_gradients: "detached",
    half_of_the_gradient: "the gradient",
}


def only_the_masked(logits, x0, masked, t):
    weight = (1 / t)[:, None].expand(x0.shape)[masked]
    return (F.cross_entropy(logits[masked], x0[masked], reduction="none") * weight).sum() / x0.numel()


def by_log_softmax(logits, x0, masked, t):
    log_p = logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]
    return -(log_p * masked.float() / t.clamp(min=1e-9)[:, None]).mean()


RIGHT = [only_the_masked, by_log_softmax]
