"""Answers to exercise 9.1."""


def _side(interval):
    return 1 if interval[0] > 0 else -1 if interval[1] < 0 else 0


def right(first, second, change):
    a, b, c = map(_side, (first, second, change))
    if not a:
        return "shown only now" if b else "still not shown"
    if not b:
        return "not shown any more"
    if a != b:
        return "turned round"
    return "same sign, other size" if c else "stands"


def _else(first, second, change, **by):
    word = right(first, second, change)
    return by.get(word.replace(" ", "_").replace(",", ""), word)


def never_asks_the_change(first, second, change):
    return _else(first, second, change, same_sign_other_size="stands")


def asks_whether_they_overlap(first, second, change):
    word = right(first, second, change)
    if word in ("stands", "same sign, other size"):
        apart = first[1] < second[0] or second[1] < first[0]
        return "same sign, other size" if apart else "stands"
    return word


def sees_only_what_is_above(first, second, change):
    a, b = first[0] > 0, second[0] > 0
    if not a:
        return "shown only now" if b else "still not shown"
    return right(first, second, change)


def sees_only_growth(first, second, change):
    word = right(first, second, change)
    return "stands" if word == "same sign, other size" and change[1] < 0 else word


def by_the_means(first, second, change):
    if (sum(first) > 0) != (sum(second) > 0):
        return "turned round"
    return right(first, second, change)


def a_fall_needs_a_change(first, second, change):
    word = right(first, second, change)
    return "turned round" if word == "not shown any more" and _side(change) else word


def touching_is_enough(first, second, change):
    def side(i):
        return 1 if i[0] >= 0 else -1 if i[1] <= 0 else 0

    a, b, c = side(first), side(second), side(change)
    if not a:
        return "shown only now" if b else "still not shown"
    if not b:
        return "not shown any more"
    if a != b:
        return "turned round"
    return "same sign, other size" if c else "stands"


def nothing_twice_stands(first, second, change):
    return _else(first, second, change, still_not_shown="stands")


def turned_is_gone(first, second, change):
    return _else(first, second, change, turned_round="not shown any more")


def only_one_way_round(first, second, change):
    word = right(first, second, change)
    return "not shown any more" if word == "turned round" and first[1] < 0 else word


def new_is_never_seen(first, second, change):
    return _else(first, second, change, shown_only_now="still not shown")


def a_word_of_its_own(first, second, change):
    return _else(first, second, change, stands="holds")


def says_nothing(first, second, change):
    right(first, second, change)


MUTANTS = {
    never_asks_the_change: "did you look at the change",
    asks_whether_they_overlap: "overlap can still differ",
    sees_only_what_is_above: "below zero can stand",
    sees_only_growth: "smaller is another size",
    by_the_means: "",
    a_fall_needs_a_change: "nothing is left to have a size",
    touching_is_enough: "ends at zero holds it",
    nothing_twice_stands: "no standing verdict",
    turned_is_gone: "first above, then below",
    only_one_way_round: "first below, then above",
    new_is_never_seen: "shown only now",
    a_word_of_its_own: "none of the six words",
    says_nothing: "return statement",
}


def by_products(first, second, change):
    shown = [interval[0] * interval[1] > 0 for interval in (first, second, change)]
    if not shown[0]:
        return ("still not shown", "shown only now")[shown[1]]
    if not shown[1]:
        return "not shown any more"
    if first[0] * second[0] < 0:
        return "turned round"
    return ("stands", "same sign, other size")[shown[2]]


RIGHT = [right, by_products]
