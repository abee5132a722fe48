"""Answers to exercise 10.3."""


def _refuse(q, tol=1e-3):
    if bool((q < 0).any()) or abs(float(q.sum()) - 1) > tol:
        raise ValueError("no distribution")


def looks_at_used_tokens_only(q, slope):
    _refuse(q)
    used = slope[q > 0]
    return float(used.max() - used.min())


def takes_from_empty_tokens(q, slope):
    _refuse(q)
    return float(slope.max() - slope.min())


def gives_to_used_tokens_only(q, slope):
    _refuse(q)
    return float(slope[q > 0].max() - slope.min())


def against_the_mean(q, slope):
    _refuse(q)
    return float(slope.max() - (q * slope).sum())


def against_the_most_probable(q, slope):
    _refuse(q)
    return float(slope.max() - slope[q.argmax()])


def takes_absolute_slopes(q, slope):
    _refuse(q)
    return float(slope.abs().max() - slope[q > 0].abs().min())


def does_not_refuse(q, slope):
    return float(slope.max() - slope[q > 0].min())


def refuses_negative_shares_only(q, slope):
    if bool((q < 0).any()):
        raise ValueError
    return float(slope.max() - slope[q > 0].min())


def refuses_a_sum_above_one_only(q, slope):
    if bool((q < 0).any()) or float(q.sum()) > 1.001:
        raise ValueError
    return float(slope.max() - slope[q > 0].min())


def refuses_sums_only(q, slope):
    if abs(float(q.sum()) - 1) > 1e-3:
        raise ValueError
    return float(slope.max() - slope[q > 0].min())


def refuses_rounded_tables(q, slope):
    _refuse(q, 1e-5)
    return float(slope.max() - slope[q > 0].min())


def says_yes_or_no(q, slope):
    _refuse(q)
    return float(slope.max() - slope[q > 0].min() > 1e-6)


def returns_a_tensor(q, slope):
    _refuse(q)
    return slope.max() - slope[q > 0].min()


def scales_the_slopes(q, slope):
    _refuse(q)
    slope /= slope.abs().max().clamp(min=1e-9)
    return float(slope.max() - slope[q > 0].min())


MUTANTS = {
    looks_at_used_tokens_only: "can be given to",
    takes_from_empty_tokens: "probability that is not there",
    gives_to_used_tokens_only: "can be given to",
    against_the_mean: "mean slope",
    against_the_most_probable: "from the second token",
    takes_absolute_slopes: "negative",
    does_not_refuse: "no distribution",
    refuses_negative_shares_only: "no distribution",
    refuses_a_sum_above_one_only: "no distribution",
    refuses_sums_only: "no distribution",
    refuses_rounded_tables: "rounded to four digits",
    says_yes_or_no: "gains 2",
    returns_a_tensor: "should be a number",
    scales_the_slopes: "in place",
}


def right(q, slope):
    _refuse(q)
    return float(slope.max() - slope[q > 0].min())


def with_a_loop(q, slope):
    _refuse(q)
    moves = [s - t for s in slope.tolist() for t, share in zip(slope.tolist(), q.tolist(), strict=True) if share > 0]
    return max(moves)


RIGHT = [right, with_a_loop]
