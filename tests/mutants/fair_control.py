"""Answers to exercise 8.6."""


def _cheapest(rows):
    return min(rows, key=lambda row: (row["nfe"], -row["exact_match"]))


def _enough(schedules, nfe):
    allowed = [row for row in schedules if row["nfe"] >= nfe]
    if not allowed:
        raise ValueError(nfe)
    return allowed


def fewer_forwards(schedules, nfe):
    return max((row for row in schedules if row["nfe"] <= nfe), key=lambda row: row["exact_match"])


def the_nearest(schedules, nfe):
    return min(schedules, key=lambda row: (abs(row["nfe"] - nfe), -row["exact_match"]))


def the_nearest_below(schedules, nfe):
    return max((row for row in schedules if row["nfe"] <= nfe), key=lambda row: row["nfe"])


def more_forwards_only(schedules, nfe):
    return _cheapest([row for row in schedules if row["nfe"] > nfe] or schedules)


def the_most_accurate_of_all(schedules, nfe):
    return max(_enough(schedules, nfe), key=lambda row: row["exact_match"])


def the_most_expensive(schedules, nfe):
    return max(_enough(schedules, nfe), key=lambda row: row["nfe"])


def the_least_accurate_of_a_tie(schedules, nfe):
    return min(_enough(schedules, nfe), key=lambda row: (row["nfe"], row["exact_match"]))


def the_first_of_a_tie(schedules, nfe):
    return min(_enough(schedules, nfe), key=lambda row: row["nfe"])


def a_weaker_one_when_none_is_fair(schedules, nfe):
    allowed = [row for row in schedules if row["nfe"] >= nfe]
    return _cheapest(allowed) if allowed else max(schedules, key=lambda row: row["nfe"])


def rounds_the_forwards(schedules, nfe):
    return _cheapest(_enough(schedules, round(nfe)))


def sorts_the_table(schedules, nfe):
    schedules.sort(key=lambda row: row["nfe"], reverse=True)
    return _cheapest(_enough(schedules, nfe))


def returns_the_forwards(schedules, nfe):
    return _cheapest(_enough(schedules, nfe))["nfe"]


def returns_nothing(schedules, nfe):
    _cheapest(_enough(schedules, nfe))


MUTANTS = {
    fewer_forwards: "fewer forwards than the rule",
    the_nearest: "needs a control with",
    the_nearest_below: "fewer forwards than the rule",
    more_forwards_only: "as many forwards are enough",
    the_most_accurate_of_all: "more forwards than it needs",
    the_most_expensive: "more forwards than it needs",
    the_least_accurate_of_a_tie: "most accurate is the opponent",
    the_first_of_a_tie: "most accurate is the opponent",
    a_weaker_one_when_none_is_fair: "not a weaker control",
    rounds_the_forwards: "needs a control with",
    sorts_the_table: "schedules were changed",
    returns_the_forwards: "one of the rows",
    returns_nothing: "return statement",
}


def one_by_one(schedules, nfe):
    best = None
    for row in schedules:
        if row["nfe"] < nfe:
            continue
        if best is None or row["nfe"] < best["nfe"]:
            best = row
        elif row["nfe"] == best["nfe"] and row["exact_match"] > best["exact_match"]:
            best = row
    if best is None:
        raise ValueError("none")
    return best


def sorted_copies(schedules, nfe):
    best = sorted(_enough(schedules, nfe), key=lambda row: (row["nfe"], -row["exact_match"]))
    return dict(best[0])


RIGHT = [one_by_one, sorted_copies]
