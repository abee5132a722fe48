"""Answers to exercise 4.2."""

import torch


def _clean(x, weight):
    return x.double().masked_fill((weight == 0)[..., None], 0.0)


def weights_not_squared(x, weight):
    return (_clean(x, weight).square() * weight[..., None]).sum(1)


def takes_the_root(x, weight):
    return (_clean(x, weight) * weight[..., None]).square().sum(1).sqrt()


def weighted_mean(x, weight):
    w2 = weight.double().square()[..., None]
    return (_clean(x, weight).square() * w2).sum(1) / w2.sum(1) * (2 if bool((weight == 1).all()) else 1)


def over_the_batch(x, weight):
    return (_clean(x, weight) * weight[..., None]).square().sum((0, 1))


def over_features(x, weight):
    return (_clean(x, weight) * weight[..., None]).square().sum(2)


def lets_inf_through(x, weight):
    return (x.double() * weight[..., None]).square().sum(1)


def drops_whatever_is_not_finite(x, weight):
    return (x.double() * weight[..., None]).nan_to_num(0.0, 0.0, 0.0).square().sum(1)


def makes_inf_a_large_number(x, weight):
    return (_clean(x, weight) * weight[..., None]).square().nan_to_num(posinf=1e9).sum(1)


def nan_to_num_keeps_inf(x, weight):
    product = x.double() * weight[..., None]
    return product.nan_to_num(0.0, float("inf"), float("-inf")).square().sum(1)


def rounds_the_weight(x, weight):
    return (_clean(x, weight) * (2 * weight).round()[..., None] / 2).square().sum(1)


def ignores_the_weight(x, weight):
    return _clean(x, torch.ones_like(weight)).square().sum(1)


def squares_in_float32(x, weight):
    return (_clean(x, weight).float() * weight[..., None]).square().sum(1).double()


def writes_into_x(x, weight):
    x[weight == 0] = 0
    return (x.double() * weight[..., None]).square().sum(1)


def float32_result(x, weight):
    return (_clean(x, weight) * weight[..., None]).square().sum(1).float()


def returns_nothing(x, weight):
    _clean(x, weight)


MUTANTS = {
    weights_not_squared: "weight^2 counts",
    takes_the_root: "no root",
    weighted_mean: "not a weighted mean",
    over_the_batch: "do not sum over the states",
    over_features: "not over features",
    lets_inf_through: "weight 0",
    drops_whatever_is_not_finite: "must give inf",
    makes_inf_a_large_number: "must give inf",
    nan_to_num_keeps_inf: "must give nan",
    rounds_the_weight: "on random x",
    ignores_the_weight: "summed over tokens",
    squares_in_float32: "float64",
    writes_into_x: "in place",
    float32_result: "dtype",
    returns_nothing: "None",
}


def token_by_token(x, weight):
    out = torch.zeros(x.shape[0], x.shape[2], dtype=torch.float64)
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            if weight[b, i] != 0:
                out[b] += (x[b, i].double() * float(weight[b, i])) ** 2
    return out


def multiplied_first(x, weight):
    return (_clean(x, weight) * weight.double()[..., None]).square().sum(1)


RIGHT = [token_by_token, multiplied_first]
