"""Answers to exercise 12.1."""

import itertools

import torch


def _loop(denoise, x0, maskable, mask_id, rule, *, choose=None, reveal=None, p_of=None, start=None):
    rows, masked = torch.arange(len(x0)), (maskable if start is None else start).clone()
    total, shown = torch.zeros(len(x0), dtype=torch.float64), x0.clone()
    for _ in range(int(masked[0].sum())):
        with torch.no_grad():
            logits = denoise(torch.where(masked, mask_id, shown)).double()
        if p_of is None:
            logits[..., mask_id] = -torch.inf
        p = logits.softmax(-1)
        score = rule(p) if choose is None else choose(p, x0, rule)
        at = score.double().masked_fill(~masked, -torch.inf).argmax(-1)
        total -= p[rows, at, x0[rows, at]].log()
        if reveal is not None:
            shown[rows, at] = reveal(p)[rows, at]
        masked[rows, at] = False
    return total


def looks_at_the_true_token(denoise, x0, maskable, mask_id, *, rule):
    def choose(p, x, rule):
        rule(p)
        return p.gather(-1, x[..., None])[..., 0]

    return _loop(denoise, x0, maskable, mask_id, rule, choose=choose)


def reveals_the_favourite(denoise, x0, maskable, mask_id, *, rule):
    return _loop(denoise, x0, maskable, mask_id, rule, reveal=lambda p: p.argmax(-1))


def averages_all_orders(denoise, x0, maskable, mask_id, *, rule):
    found = []
    for order in itertools.permutations(range(int(maskable[0].sum()))):

        def choose(p, x, rule, order=order):
            places = [m.nonzero()[:, 0].tolist() for m in maskable]
            score = torch.full(x.shape, -99.0)
            for b, at in enumerate(places):
                for rank, i in enumerate(order):
                    score[b, at[i]] = -rank
            return score

        found.append(_loop(denoise, x0, maskable, mask_id, rule, choose=choose))
    return torch.stack(found).mean(0)


def one_forward_for_all(denoise, x0, maskable, mask_id, *, rule):
    logits = denoise(torch.where(maskable, mask_id, x0)).double()
    logits[..., mask_id] = -torch.inf
    nats = -logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]
    return (nats * maskable).sum(1)


def gives_the_mask_a_share(denoise, x0, maskable, mask_id, *, rule):
    return _loop(denoise, x0, maskable, mask_id, rule, p_of="all")


def takes_the_least_sure(denoise, x0, maskable, mask_id, *, rule):
    return _loop(denoise, x0, maskable, mask_id, rule, choose=lambda p, x, rule: -rule(p))


def masks_what_is_given(denoise, x0, maskable, mask_id, *, rule):
    return _loop(denoise, x0, maskable, mask_id, rule, start=torch.ones_like(maskable))


def forgets_the_sign(denoise, x0, maskable, mask_id, *, rule):
    return -_loop(denoise, x0, maskable, mask_id, rule)


def gives_the_rule_logits(denoise, x0, maskable, mask_id, *, rule):
    return _loop(denoise, x0, maskable, mask_id, rule, choose=lambda p, x, rule: rule(p.log()))


def in_bits(denoise, x0, maskable, mask_id, *, rule):
    return _loop(denoise, x0, maskable, mask_id, rule) / 0.6931471805599453


def asks_twice(denoise, x0, maskable, mask_id, *, rule):
    denoise(x0)
    return _loop(denoise, x0, maskable, mask_id, rule)


def reveals_in_place(denoise, x0, maskable, mask_id, *, rule):
    total = _loop(denoise, x0, maskable, mask_id, rule)
    maskable[:] = False
    return total


def in_single_precision(denoise, x0, maskable, mask_id, *, rule):
    return _loop(denoise, x0, maskable, mask_id, rule).float()


MUTANTS = {
    looks_at_the_true_token: "defines no distribution",
    reveals_the_favourite: "favourite is revealed",
    averages_all_orders: "all orders are averaged",
    one_forward_for_all: "by the first forward",
    gives_the_mask_a_share: "never written",
    takes_the_least_sure: "the highest is next",
    masks_what_is_given: "only maskable ones",
    forgets_the_sign: "that is log p",
    gives_the_rule_logits: "not logits",
    in_bits: "random inputs",
    asks_twice: "one for each that is revealed",
    reveals_in_place: "in place",
    in_single_precision: "dtype",
}


def right(denoise, x0, maskable, mask_id, *, rule):
    return _loop(denoise, x0, maskable, mask_id, rule)


def right_text_by_text(denoise, x0, maskable, mask_id, *, rule):
    hidden, nats = [set(m.nonzero()[:, 0].tolist()) for m in maskable], [0.0] * len(x0)
    while hidden[0]:
        z = x0.clone()
        for b, places in enumerate(hidden):
            for i in places:
                z[b, i] = mask_id
        with torch.no_grad():
            logits = denoise(z).double()
        logits[..., mask_id] = -torch.inf
        p = logits.softmax(-1)
        score = rule(p)
        for b, places in enumerate(hidden):
            at = max(sorted(places), key=lambda i, b=b: float(score[b, i]))
            nats[b] -= float(p[b, at, x0[b, at]].log())
            places.remove(at)
    return torch.tensor(nats, dtype=torch.float64)


RIGHT = [right, right_text_by_text]
