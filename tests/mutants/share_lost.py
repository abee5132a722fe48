"""Answers to exercise 21.3."""


def of_what_was_right(before, after, chance=0.0):
    return (before - after) / before


def in_points(before, after, chance=0.0):
    return before - after


def what_is_left(before, after, chance=0.0):
    return (after - chance) / (before - chance)


def of_what_is_there_now(before, after, chance=0.0):
    return (before - after) / after


def the_other_way_round(before, after, chance=0.0):
    return (after - before) / (before - chance)


def in_percent(before, after, chance=0.0):
    return 100 * (before - after) / (before - chance)


def of_all_room(before, after, chance=0.0):
    return (before - after) / (1 - chance)


def never_negative(before, after, chance=0.0):
    return max(0.0, (before - after) / (before - chance))


def never_above_one(before, after, chance=0.0):
    return min(1.0, (before - after) / (before - chance))


def chance_is_a_half(before, after, chance=0.0):
    return (before - after) / (before - 0.5) if before > 0.5 else (before - after) / before


def returns_words(before, after, chance=0.0):
    return f"{(before - after) / (before - chance):.0%}"


MUTANTS = {
    of_what_was_right: "*above chance*",
    in_points: "difference in points",
    what_is_left: "what is left",
    of_what_is_there_now: "what was there *before*",
    the_other_way_round: "before less after",
    in_percent: "not percent",
    of_all_room: "what was there *before*",
    never_negative: "negative loss",
    never_above_one: "more than everything",
    chance_is_a_half: "are a quarter",
    returns_words: "should be a number",
}


def right(before, after, chance=0.0):
    return (before - after) / (before - chance)


def by_what_is_left(before, after, chance=0.0):
    return 1 - (after - chance) / (before - chance)


RIGHT = [right, by_what_is_left]
