"""Exercise 15.5. Prices that depend on what is known: a few places, all orders, and sums over sets in their place."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise


def check_price_by_sets(fn: Callable) -> None:
    """Judge an answer to 15.5."""
    draw = Cases(155)
    for places in ((2, 0), (4,), (7, 1, 5), (0, 1, 2, 3), (9, 3, 6, 4, 1), (5, 8, 2)):
        bits = {
            (frozenset(known), i): draw.int(1, 10**6) / 10**5
            for count in range(len(places))
            for known in combinations(places, count)
            for i in places
            if i not in known
        }
        _judge(fn, bits, places)


def _judge(fn: Callable, bits: dict, places: Sequence[int]) -> None:
    def price(known: frozenset[int], i: int) -> float:
        require(isinstance(known, frozenset), f"known is a {type(known).__name__}, price takes a frozenset of places")
        require(i in places and known <= {*places}, f"price was asked for place {i} of the places {places}")
        require(i not in known, "the place that is written is among those that are known: known is what is not in S")
        return bits[known, i]

    got = fn(price, places)
    require(got is not None, NOTHING)
    require(isinstance(got, Real), f"the result is a {type(got).__name__}, it should be a number")
    right = _mean(bits, places)
    for message, wrong in _mistakes(bits, places).items():
        if not close(wrong, right, 1e-4):
            require(not close(got, wrong), message)
    require(close(got, right), f"{len(places)} places: {float(got):.3f} bits, it should be {right:.3f}")


def _mean(bits: dict, places: Sequence[int]) -> float:
    """Average over all orders, which is what the sets have to give."""
    total = sum(bits[frozenset(order[:k]), i] for order in permutations(places) for k, i in enumerate(order))
    return total / math.factorial(len(places))


def _mistakes(bits: dict, places: Sequence[int]) -> dict[str, float]:
    n, every = len(places), frozenset(places)

    def of_size(masks: int) -> list[float]:
        return [sum(bits[every - {*s}, i] for i in s) for s in combinations(places, masks)]  # one for each set

    def mean(masks: int) -> float:
        return sum(of_size(masks)) / len(of_size(masks))

    found = {
        "every set weighs the same: first every number l is as likely as any other, then every set of l places": sum(
            n / masks * value for masks in range(1, n + 1) for value in of_size(masks)
        )
        / (2**n - 1),
        "the factor n / l is missing: S stands for one step of an order, which writes one of its l places": sum(
            mean(masks) for masks in range(1, n + 1)
        )
        / n,
        "the sets of l places are added up: their mean is meant": sum(
            sum(of_size(masks)) / masks for masks in range(1, n + 1)
        ),
        "that is the mean of one place: the whole is n times as much": _mean(bits, places) / n,
        "where every place is masked a first one is written, too: l goes up to n": sum(
            mean(masks) / masks for masks in range(1, n)
        ),
        "the last place is missing: l begins at 1": sum(mean(masks) / masks for masks in range(2, n + 1)),
        "that is one order, as the places are listed: the mean over all is meant": sum(
            bits[frozenset(places[:k]), i] for k, i in enumerate(places)
        ),
        "that is all at once: what is written first helps what comes later": sum(bits[frozenset(), i] for i in places),
        "the other masked places are not known: only what is outside S is": sum(bits[every - {i}, i] for i in places),
    }
    return found


EXERCISE = Exercise(
    id="15.5",
    title="The mean of all orders, without an order",
    minutes=10,
    difficulty=3,
    objective="Compute the mean price of a random order from sets of masks.",
    path="dlmlab.codec.price_by_sets",
    stub='''\
def price_by_sets(price: Callable, places: Sequence[int]) -> float:
    """Give the mean price of all orders of places, in bits, from the sets S of places that are still masked.

        mean over l = 1..n, then over the sets S of l places:  n / l  times the sum over i in S of price(known, i)

    price(known, i): bits of place i when a frozenset of places, those outside S, is known.
    """
    raise NotImplementedError
''',
    hints=(
        "In an order, when l places are left, which sets can they be, and how likely is each? Which of them is next?",
        "For each l make all sets of l places (itertools.combinations) and what is known beside each. Take the mean "
        "over the sets, and only then the mean over l.",
        "sum(sum(price(frozenset(places) - {*s}, i) for s in combinations(places, l) for i in s) / l / "
        "math.comb(n, l) for l in range(1, n + 1))",
    ),
    check=check_price_by_sets,
)
