"""Answers to exercise 7.3."""

import torch


def _route(scores, bias, groups, best, k, scale, *, strength=None, weigh=None, closed=float("-inf"), order=None):
    biased = scores + bias
    grouped = biased.unflatten(1, (groups, -1))
    strong = grouped.topk(2, -1).values.sum(-1) if strength is None else strength(grouped)
    top = strong.sort(dim=-1, descending=True, stable=True).indices[:, :best]
    stay = torch.zeros_like(strong, dtype=torch.bool).scatter_(1, top, True)
    open = stay.repeat_interleave(scores.shape[1] // groups, 1)
    chosen = biased.masked_fill(~open, closed).sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weight = scores.gather(1, chosen) if weigh is None else weigh(scores, biased, chosen)
    if k > 1:
        weight = weight / weight.sum(-1, keepdim=True)
    return chosen, weight * scale


def ignores_the_groups(scores, bias, *, groups, best, k, scale):
    return _route(scores, bias, 1, 1, k, scale)


def groups_by_their_largest(scores, bias, *, groups, best, k, scale):
    return _route(scores, bias, groups, best, k, scale, strength=lambda g: g.amax(-1))


def groups_by_their_mean(scores, bias, *, groups, best, k, scale):
    return _route(scores, bias, groups, best, k, scale, strength=lambda g: g.mean(-1))


def weighs_with_the_bias(scores, bias, *, groups, best, k, scale):
    return _route(scores, bias, groups, best, k, scale, weigh=lambda s, b, c: b.gather(1, c))


def ignores_the_bias(scores, bias, *, groups, best, k, scale):
    return _route(scores, torch.zeros_like(bias), groups, best, k, scale)


def forgets_the_scale(scores, bias, *, groups, best, k, scale):
    return _route(scores, bias, groups, best, k, 1.0)


def divides_one_by_itself(scores, bias, *, groups, best, k, scale):
    chosen, weight = _route(scores, bias, groups, best, k, scale)
    return chosen, weight / weight.sum(-1, keepdim=True) * scale


def closes_with_zero(scores, bias, *, groups, best, k, scale):
    return _route(scores, bias, groups, best, k, scale, closed=0.0)


def softmax_of_the_scores(scores, bias, *, groups, best, k, scale):
    chosen, _ = _route(scores, bias, groups, best, k, scale)
    return chosen, scores.gather(1, chosen).softmax(-1) * scale


def in_the_order_of_experts(scores, bias, *, groups, best, k, scale):
    chosen, weight = _route(scores, bias, groups, best, k, scale)
    order = chosen.argsort(1)
    return chosen.gather(1, order), weight.gather(1, order)


def does_not_normalise(scores, bias, *, groups, best, k, scale):
    chosen, _ = _route(scores, bias, groups, best, k, scale)
    return chosen, scores.gather(1, chosen) * scale


def groups_without_the_bias(scores, bias, *, groups, best, k, scale):
    only = scores.unflatten(1, (groups, -1)).topk(2, -1).values.sum(-1)
    return _route(scores, bias, groups, best, k, scale, strength=lambda g: only)


def groups_that_alternate(scores, bias, *, groups, best, k, scale):
    E = scores.shape[1]
    order = torch.arange(E).view(-1, groups).T.flatten()
    chosen, weight = _route(scores[:, order], bias[order], groups, best, k, scale)
    return order[chosen], weight


MUTANTS = {
    ignores_the_groups: "first the groups",
    groups_by_their_largest: "two largest",
    groups_by_their_mean: "random inputs",
    weighs_with_the_bias: "must not weigh",
    ignores_the_bias: "takes part in choosing",
    forgets_the_scale: "sum to `scale`",
    divides_one_by_itself: "not divided by itself",
    closes_with_zero: "-inf, not 0",
    softmax_of_the_scores: "ratio of the scores",
    in_the_order_of_experts: "takes part in choosing",
    does_not_normalise: "sum to `scale`",
    groups_without_the_bias: "random inputs",
    groups_that_alternate: "",
}


def with_topk(scores, bias, *, groups, best, k, scale):
    return _route(scores, bias, groups, best, k, scale)


def token_by_token(scores, bias, *, groups, best, k, scale):
    experts, weights = [], []
    for s in scores.tolist():
        b = [x + y for x, y in zip(s, bias.tolist(), strict=True)]
        size = len(s) // groups
        strength = [sum(sorted(b[g * size : (g + 1) * size])[-2:]) for g in range(groups)]
        open = sorted(range(groups), key=lambda g: -strength[g])[:best]
        chosen = sorted((e for e in range(len(s)) if e // size in open), key=lambda e: -b[e])[:k]
        total = sum(s[e] for e in chosen) if k > 1 else 1.0
        experts.append(chosen)
        weights.append([scale * s[e] / total for e in chosen])
    return torch.tensor(experts), torch.tensor(weights)


RIGHT = [with_topk, token_by_token]
