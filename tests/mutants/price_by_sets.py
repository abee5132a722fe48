"""Answers to exercise 15.5."""

import math
from itertools import combinations, permutations


def _sums(price, places, masks):
    every = frozenset(places)
    return [sum(price(every - {*s}, i) for i in s) for s in combinations(places, masks)]


def all_sets_alike(price, places):
    n = len(places)
    values = [n / masks * value for masks in range(1, n + 1) for value in _sums(price, places, masks)]
    return sum(values) / len(values)


def forgets_the_factor(price, places):
    n = len(places)
    return sum(sum(found := _sums(price, places, masks)) / len(found) for masks in range(1, n + 1)) / n


def adds_up_the_sets(price, places):
    return sum(sum(_sums(price, places, masks)) / masks for masks in range(1, len(places) + 1))


def of_a_place(price, places):
    return right(price, places) / len(places)


def never_all_masked(price, places):
    n = len(places)
    return sum(sum(_sums(price, places, masks)) / masks / math.comb(n, masks) for masks in range(1, n))


def never_one_left(price, places):
    n = len(places)
    return sum(sum(_sums(price, places, masks)) / masks / math.comb(n, masks) for masks in range(2, n + 1))


def one_order(price, places):
    return sum(price(frozenset(places[:k]), i) for k, i in enumerate(places))


def all_at_once(price, places):
    return sum(price(frozenset(), i) for i in places)


def sees_the_other_masks(price, places):
    return sum(price(frozenset(places) - {i}, i) for i in places)


def knows_what_is_masked(price, places):
    n = len(places)
    sets = [s for masks in range(1, n + 1) for s in combinations(places, masks)]
    return sum(price(frozenset(s), i) / len(s) / math.comb(n, len(s)) for s in sets for i in s)


def gives_a_list(price, places):
    n = len(places)
    total = 0.0
    for masks in range(1, n + 1):
        for s in combinations(places, masks):
            known = [i for i in places if i not in s]
            total += sum(price(known, i) for i in s) / masks / math.comb(n, masks)
    return total


def one_value_a_size(price, places):
    n = len(places)
    return [sum(_sums(price, places, masks)) / masks / math.comb(n, masks) for masks in range(1, n + 1)]


MUTANTS = {
    all_sets_alike: "every set weighs the same",
    forgets_the_factor: "n / l is missing",
    adds_up_the_sets: "their mean is meant",
    of_a_place: "mean of one place",
    never_all_masked: "l goes up to n",
    never_one_left: "l begins at 1",
    one_order: "one order",
    all_at_once: "all at once",
    sees_the_other_masks: "not known",
    knows_what_is_masked: "known is what is not in S",
    gives_a_list: "takes a frozenset",
    one_value_a_size: "should be a number",
}


def right(price, places):
    n = len(places)
    return sum(sum(_sums(price, places, masks)) / masks / math.comb(n, masks) for masks in range(1, n + 1))


def by_orders(price, places):
    orders = [*permutations(places)]
    return sum(price(frozenset(o[:k]), i) for o in orders for k, i in enumerate(o)) / len(orders)


RIGHT = [right, by_orders]
