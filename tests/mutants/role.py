"""Answers to exercise 3.5."""


def hide_and_empty_define_it(hide, empty, mean, small=0.02):
    if empty[0] > small and hide[0] > small:
        return "read"
    return "parked" if hide[0] > small else "spare"


def parked_where_hiding_costs_only(hide, empty, mean, small=0.02):
    if mean[0] > small:
        return "read"
    if mean[0] < -small or mean[1] > small:
        return "open"
    if hide[0] > small:
        return "parked"
    return "spare" if hide[1] <= small and empty[1] <= small else "open"


def parked_where_emptying_costs_only(hide, empty, mean, small=0.02):
    if mean[0] > small:
        return "read"
    if mean[0] < -small or mean[1] > small:
        return "open"
    if empty[0] > small:
        return "parked"
    return "spare" if hide[1] <= small and empty[1] <= small else "open"


def parked_takes_both(hide, empty, mean, small=0.02):
    if mean[0] > small:
        return "read"
    if mean[0] < -small or mean[1] > small:
        return "open"
    if hide[0] > small and empty[0] > small:
        return "parked"
    return "spare" if hide[1] <= small and empty[1] <= small else "open"


def no_evidence_is_evidence_of_absence(hide, empty, mean, small=0.02):
    if mean[0] > small:
        return "read"
    if hide[0] > small or empty[0] > small:
        return "parked"
    return "spare" if hide[1] <= small and empty[1] <= small else "open"


def middle_of_the_interval(hide, empty, mean, small=0.02):
    h, e, m = (sum(x) / 2 for x in (hide, empty, mean))
    if m > small:
        return "read"
    if m < -small:
        return "open"
    return "parked" if max(h, e) > small else "spare"


def middle_only_of_the_others(hide, empty, mean, small=0.02):
    if mean[0] > small:
        return "read"
    if mean[0] < -small or mean[1] > small:
        return "open"
    return "parked" if max(sum(hide), sum(empty)) / 2 > small else "spare"


def asks_the_mean_last(hide, empty, mean, small=0.02):
    if hide[1] <= small and empty[1] <= small:
        return "spare"
    if mean[0] > small:
        return "read"
    if mean[0] < -small or mean[1] > small:
        return "open"
    return "parked" if hide[0] > small or empty[0] > small else "open"


def a_gain_is_as_good_as_nothing(hide, empty, mean, small=0.02):
    if mean[0] > small:
        return "read"
    if mean[1] > small:
        return "open"
    if hide[0] > small or empty[0] > small:
        return "parked"
    return "spare" if hide[1] <= small and empty[1] <= small else "open"


def zero_instead_of_small(hide, empty, mean, small=0.02):
    if mean[0] > 0.02:
        return "read"
    if mean[0] < -0.02 or mean[1] > 0.02:
        return "open"
    if hide[0] > 0.02 or empty[0] > 0.02:
        return "parked"
    return "spare" if hide[1] <= 0.02 and empty[1] <= 0.02 else "open"


def equal_is_more(hide, empty, mean, small=0.02):
    if mean[0] > small:
        return "read"
    if mean[0] < -small or mean[1] > small:
        return "open"
    if hide[0] > small or empty[0] > small:
        return "parked"
    return "spare" if hide[1] < small and empty[1] < small else "open"


def never_open(hide, empty, mean, small=0.02):
    if mean[0] > small:
        return "read"
    return "parked" if hide[0] > small or empty[0] > small else "spare"


def yes_or_no(hide, empty, mean, small=0.02):
    return mean[0] > small


MUTANTS = {
    hide_and_empty_define_it: "what this text says is not missed",
    parked_where_hiding_costs_only: "emptying alone costs",
    parked_where_emptying_costs_only: "hiding alone costs",
    parked_takes_both: "one of the two is enough",
    no_evidence_is_evidence_of_absence: "does not show that it costs nothing",
    middle_of_the_interval: "does not show that it costs nothing",
    middle_only_of_the_others: "the middle of an interval decides nothing",
    asks_the_mean_last: "whatever hiding and emptying cost",
    a_gain_is_as_good_as_nothing: "the mean helps",
    zero_instead_of_small: "is it used?",
    equal_is_more: "exactly `small` is not more",
    never_open: "does not show that it costs nothing",
    yes_or_no: "one of read, parked, spare, open",
}


def three_words_first(hide, empty, mean, small=0.02):
    def more(x):
        return x[0] > small

    def little(x):
        return x[1] <= small

    if more(mean):
        return "read"
    if little(mean) and mean[0] >= -small:
        if more(hide) or more(empty):
            return "parked"
        if little(hide) and little(empty):
            return "spare"
    return "open"


def worst_of_the_two(hide, empty, mean, small=0.02):
    low, high = max(hide[0], empty[0]), max(hide[1], empty[1])
    if mean[0] > small:
        return "read"
    if not (-small <= mean[0] and mean[1] <= small):
        return "open"
    return "parked" if low > small else "open" if high > small else "spare"


RIGHT = [three_words_first, worst_of_the_two]
