"""Answers to exercise 20.1."""


def _others(a, op, b, c):
    return {"+": lambda: a + b == c, "-": lambda: a - b == c, "*": lambda: a * b == c}[op]()


def _world(c):
    return [c >= 0, c <= 99]


def divides_as_the_solver_does(a, op, b, c):
    return [a / b == c if op == "/" else _others(a, op, b, c), *_world(c)]


def divides_down(a, op, b, c):
    return [a // b == c if op == "/" else _others(a, op, b, c), *_world(c)]


def forgets_zero(a, op, b, c):
    return [b * c == a if op == "/" else _others(a, op, b, c), *_world(c)]


def forgets_the_rest(a, op, b, c):
    return [*([a / b == c, b != 0] if op == "/" else [_others(a, op, b, c)]), *_world(c)]


def forbids_zero_everywhere(a, op, b, c):
    return [*([b * c == a, b != 0, a != 0] if op == "/" else [_others(a, op, b, c)]), *_world(c)]


def forgets_the_world(a, op, b, c):
    return [b * c == a, b != 0] if op == "/" else [_others(a, op, b, c)]


def forgets_the_lower_end(a, op, b, c):
    return [*([b * c == a, b != 0] if op == "/" else [_others(a, op, b, c)]), c <= 99]


def ends_below_99(a, op, b, c):
    return [*([b * c == a, b != 0] if op == "/" else [_others(a, op, b, c)]), c >= 0, c < 99]


def begins_above_0(a, op, b, c):
    return [*([b * c == a, b != 0] if op == "/" else [_others(a, op, b, c)]), c > 0, c <= 99]


def chains(a, op, b, c):
    return [*([b * c == a, b != 0] if op == "/" else [_others(a, op, b, c)]), 0 <= c <= 99]


def joins_with_and(a, op, b, c):
    return [b * c == a and b != 0 if op == "/" else _others(a, op, b, c), *_world(c)]


def takes_the_distance(a, op, b, c):
    if op == "-":
        return [(a - b) * (a - b) == c * c, *_world(c)]
    return [*([b * c == a, b != 0] if op == "/" else [_others(a, op, b, c)]), *_world(c)]


def says_one_verdict(a, op, b, c):
    return b * c == a if op == "/" else _others(a, op, b, c)


def returns_texts(a, op, b, c):
    return [f"a {op} b == c"]


def forgets_to_return(a, op, b, c):
    [_others(a, op, b, c) if op != "/" else b * c == a]


MUTANTS = {
    divides_as_the_solver_does: "cuts the rest off",
    divides_down: "no //",
    forgets_zero: "no division by zero has a result",
    forgets_the_rest: "cuts the rest off",
    forbids_zero_everywhere: "0 / 4 = 0",
    forgets_the_world: "up to 99",
    forgets_the_lower_end: "below 0",
    ends_below_99: "99 is a number like others",
    begins_above_0: "0 / 4 = 0",
    chains: "one condition after the other",
    joins_with_and: "one condition after the other",
    takes_the_distance: "exchanged",
    says_one_verdict: "should be a list",
    returns_texts: "no condition",
    forgets_to_return: "None",
}


def right(a, op, b, c):
    return [*([b * c == a, b != 0] if op == "/" else [_others(a, op, b, c)]), *_world(c)]


def right_with_bounds_first(a, op, b, c):
    stated = {"+": [a + b == c], "-": [b + c == a], "*": [a * b == c], "/": [c * b == a, b != 0]}
    return [0 <= c, 99 >= c, *stated[op]]


RIGHT = [right, right_with_bounds_first]
