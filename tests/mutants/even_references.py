"""Answers to exercise 20.3."""

from dlmlab.compress.joint.front import dominated_area


def _start(ours, theirs):
    return max(max(point) for point in (*ours, *theirs))


def _ahead(ours, theirs, t):
    return dominated_area(ours, (t, t)) - dominated_area(theirs, (t, t))


def _line(ours, theirs, start):
    return _ahead(ours, theirs, start), _ahead(ours, theirs, start + 1) - _ahead(ours, theirs, start)


def _zero(ours, theirs, start):
    value, slope = _line(ours, theirs, start)
    return start - value / slope if abs(slope) > 1e-9 else start


def says_never(ours, theirs):
    return []


def does_not_look_where_it_lies(ours, theirs):
    start = _start(ours, theirs)
    return [t] if (t := _zero(ours, theirs, start)) != start else []


def divides_by_no_slope(ours, theirs):
    start = _start(ours, theirs)
    value, slope = _line(ours, theirs, start)
    return [t] if value and (t := start - value / round(slope, 9)) > start else []


def starts_at_ten(ours, theirs):
    return [t] if (t := _zero(ours, theirs, 10)) != 10 and t > _start(ours, theirs) else []


def starts_inside(ours, theirs):
    start = min(max(point) for point in (*ours, *theirs))
    return [t] if (t := _zero(ours, theirs, start)) > start else []


def takes_the_middle(ours, theirs):
    for t in range(int(_start(ours, theirs)) + 1, 1000):
        if _ahead(ours, theirs, t) * _ahead(ours, theirs, t + 1) < 0:
            return [t + 0.5]
    return []


def takes_the_first_whole_one(ours, theirs):
    t = int(_start(ours, theirs)) + 1
    before = _ahead(ours, theirs, t) > 0
    return [float(n) for n in range(t, 1000) if (_ahead(ours, theirs, n) > 0) != before][:1]


def only_if_ours_is_behind_first(ours, theirs):
    start = _start(ours, theirs)
    value, slope = _line(ours, theirs, start)
    return [start - value / slope] if value < 0 < slope else []


def wrong_sign(ours, theirs):
    start = _start(ours, theirs)
    value, slope = _line(ours, theirs, start)
    t = start + value / slope if abs(slope) > 1e-9 else start
    return [t] if t > start else []


def returns_the_pair(ours, theirs):
    return (_zero(ours, theirs, _start(ours, theirs)),) * 2


def returns_the_number(ours, theirs):
    return _zero(ours, theirs, _start(ours, theirs))


def sorts_the_callers_list(ours, theirs):
    ours.sort(reverse=True)
    start = _start(ours, theirs)
    return [t] if (t := _zero(ours, theirs, start)) > start else []


def forgets_to_return(ours, theirs):
    _zero(ours, theirs, _start(ours, theirs))


MUTANTS = {
    says_never: "even between",
    does_not_look_where_it_lies: "before it begins",
    divides_by_no_slope: "no division by 0",
    starts_at_ten: "moved by 100",
    starts_inside: "even between",
    takes_the_middle: "halfway",
    takes_the_first_whole_one: "6.052",
    only_if_ours_is_behind_first: "exchanged",
    wrong_sign: "even between",
    returns_the_pair: "should be a list",
    returns_the_number: "should be a list",
    sorts_the_callers_list: "was changed",
    forgets_to_return: "None",
}


def right(ours, theirs):
    start = _start(ours, theirs)
    return [t] if (t := _zero(ours, theirs, start)) > start + 1e-9 else []


def right_from_far_away(ours, theirs):
    start = _start(ours, theirs)
    a, b = _ahead(ours, theirs, start + 10), _ahead(ours, theirs, start + 20)
    if abs(b - a) < 1e-9:
        return []
    t = start + 10 - 10 * a / (b - a)
    return [t] if t > start + 1e-9 else []


RIGHT = [right, right_from_far_away]
