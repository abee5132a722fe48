"""Answers to exercise 4.5."""


def share_of_equal_entries(a, b):
    return (a == b).float().mean().item()


def by_the_first(a, b):
    return ((a & b).sum() / a.sum()).item() if a.any() else 1.0


def dice(a, b):
    return (2 * (a & b).sum() / (a.sum() + b.sum())).item() if a.any() or b.any() else 1.0


def mean_of_rows(a, b):
    either = (a | b).sum(1)
    return ((a & b).sum(1) / either).mean().item() if either.all() else 1.0


def kept_by_both(a, b):
    return ((~a & ~b).sum() / (~a | ~b).sum()).item()


def empty_is_nan(a, b):
    return ((a & b).sum() / (a | b).sum()).item()


def empty_divides_by_zero(a, b):
    return int((a & b).sum()) / int((a | b).sum())


def empty_is_0(a, b):
    return int((a & b).sum()) / max(int((a | b).sum()), 1)


def writes_into_a(a, b):
    either = int((a | b).sum())
    a &= b
    return int(a.sum()) / either if either else 1.0


def returns_nothing(a, b):
    (a & b).sum() / (a | b).sum()


MUTANTS = {
    share_of_equal_entries: "both masks keep",
    by_the_first: "either",
    dice: "Dice",
    mean_of_rows: "row by row",
    kept_by_both: "2 weights are removed",
    empty_is_nan: "empty",
    empty_divides_by_zero: "0 / 0",
    empty_is_0: "empty",
    writes_into_a: "in place",
    returns_nothing: "None",
}


def with_sets(a, b):
    x, y = (set(m.flatten().nonzero()[:, 0].tolist()) for m in (a, b))
    return len(x & y) / len(x | y) if x | y else 1.0


def from_sizes(a, b):
    both = int((a & b).sum())
    either = int(a.sum()) + int(b.sum()) - both
    return both / either if either else 1.0


RIGHT = [with_sets, from_sizes]
