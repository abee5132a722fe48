"""Answers to exercise 20.2."""


def keeps_all(names, consistent):
    return list(names)


def asks_each_alone(names, consistent):
    return [name for name in names if not consistent([name])]


def always_leaves_one_out_of_the_whole(names, consistent):
    return [name for name in names if consistent([other for other in names if other != name])]


def gives_what_mends_it(names, consistent):
    left = list(names)
    out = []
    for name in names:
        if consistent(left):
            break
        left = [other for other in left if other != name]
        out.append(name)
    return out


def stops_after_one(names, consistent):
    for name in names:
        rest = [other for other in names if other != name]
        if not consistent(rest):
            return rest
    return list(names)


def gives_a_consistent_rest(names, consistent):
    left = list(names)
    for name in names:
        rest = [other for other in left if other != name]
        if consistent(rest):
            return rest
        left = rest
    return left


def first_part_that_clashes(names, consistent):
    for n in range(1, len(names) + 1):
        if not consistent(names[:n]):
            return names[:n]
    return list(names)


def from_the_last(names, consistent):
    left = list(names)
    for name in reversed(names):
        rest = [other for other in left if other != name]
        if not consistent(rest):
            left = rest
    return left


def changes_the_list(names, consistent):
    for name in list(names):
        rest = [other for other in names if other != name]
        if not consistent(rest):
            names.remove(name)
    return list(names)


def returns_a_set(names, consistent):
    left = set(names)
    for name in names:
        if not consistent([other for other in names if other in left - {name}]):
            left.discard(name)
    return left


def asks_with_a_set(names, consistent):
    left = list(names)
    for name in names:
        if not consistent(set(left) - {name}):
            left.remove(name)
    return left


def pairs_only(names, consistent):
    for i, a in enumerate(names):
        for b in names[i:]:
            if not consistent([a, b]):
                return sorted({a, b}, key=names.index)
    return []


MUTANTS = {
    keeps_all: "can be left out",
    asks_each_alone: "these can all hold",
    always_leaves_one_out_of_the_whole: "these can all hold",
    gives_what_mends_it: "can be left out",
    stops_after_one: "can be left out",
    gives_a_consistent_rest: "can all hold",
    first_part_that_clashes: "can be left out",
    from_the_last: "from the first to the last",
    changes_the_list: "was changed",
    returns_a_set: "should be a list",
    asks_with_a_set: "takes a list",
    pairs_only: "can",
}


def right(names, consistent):
    left = list(names)
    for name in names:
        rest = [other for other in left if other != name]
        if not consistent(rest):
            left = rest
    return left


def right_by_places(names, consistent):
    keep = [True] * len(names)
    for i in range(len(names)):
        keep[i] = False
        keep[i] = consistent([name for name, kept in zip(names, keep, strict=True) if kept])
    return [name for name, kept in zip(names, keep, strict=True) if kept]


RIGHT = [right, right_by_places]
