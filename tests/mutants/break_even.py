"""Answers to exercise 6.3."""


def _checked(against, mask):
    if against <= mask:
        raise ValueError(against)


def forgets_the_mask(bits, against, *, mask=1.0):
    _checked(against, mask)
    return max(0.0, 1 - against / bits)


def the_share_that_stays(bits, against, *, mask=1.0):
    _checked(against, mask)
    return min(1.0, (against - mask) / bits)


def in_percent(bits, against, *, mask=1.0):
    _checked(against, mask)
    return 100 * max(0.0, 1 - (against - mask) / bits)


def mask_of_kept_weights_only(bits, against, *, mask=1.0):
    _checked(against, mask)
    return max(0.0, 1 - against / (bits + mask))


def mask_of_one_bit_always(bits, against, *, mask=1.0):
    _checked(against, mask)
    return max(0.0, 1 - (against - 1) / bits)


def below_zero(bits, against, *, mask=1.0):
    _checked(against, mask)
    return 1 - (against - mask) / bits


def mask_counted_twice(bits, against, *, mask=1.0):
    _checked(against, mask)
    return max(0.0, 1 - (against - 2 * mask) / bits)


def all_removed_instead_of_an_error(bits, against, *, mask=1.0):
    return min(1.0, max(0.0, 1 - (against - mask) / bits))


def an_error_only_below_the_mask(bits, against, *, mask=1.0):
    if against < mask:
        raise ValueError(against)
    return max(0.0, 1 - (against - mask) / bits)


def rounds_to_percent(bits, against, *, mask=1.0):
    _checked(against, mask)
    return round(max(0.0, 1 - (against - mask) / bits), 2)


def of_the_other_format(bits, against, *, mask=1.0):
    _checked(against, mask)
    return max(0.0, 1 - (bits - mask) / against)


def returns_text(bits, against, *, mask=1.0):
    return f"{1 - (against - mask) / bits:.0%}"


MUTANTS = {
    forgets_the_mask: "a bit of every weight",
    the_share_that_stays: "*stays*",
    in_percent: "percentage",
    mask_of_kept_weights_only: "not multiplied",
    mask_of_one_bit_always: "an argument",
    below_zero: "never below",
    mask_counted_twice: "has the solution",
    all_removed_instead_of_an_error: "a ValueError",
    an_error_only_below_the_mask: "a ValueError",
    rounds_to_percent: "has the solution",
    of_the_other_format: "has the solution",
    returns_text: "a number",
}


def step_by_step(bits, against, *, mask=1.0):
    left = against - mask  # bits a weight for the codes
    if left <= 0:
        raise ValueError("the mask takes all")
    kept = left / bits
    return 0.0 if kept >= 1 else 1 - kept


def as_a_difference(bits, against, *, mask=1.0):
    _checked(against, mask)
    return max(0.0, bits + mask - against) / bits


RIGHT = [step_by_step, as_a_difference]
