"""Answers to exercise 6.6."""


def _inside(points, reference):
    return sorted((x, y) for x, y in points if x < reference[0] and y < reference[1])


def sums_the_boxes(points, reference):
    return sum((reference[0] - x) * (reference[1] - y) for x, y in _inside(points, reference))


def box_of_the_best_of_each(points, reference):
    inside = _inside(points, reference)
    if not inside:
        return 0.0
    return (reference[0] - min(x for x, _ in inside)) * (reference[1] - min(y for _, y in inside))


def largest_box(points, reference):
    return max(((reference[0] - x) * (reference[1] - y) for x, y in _inside(points, reference)), default=0.0)


def straight_from_point_to_point(points, reference):
    area, low, before = 0.0, reference[1], None
    for x, y in _inside(points, reference):
        if y < low:
            area += (reference[0] - x) * (low - y) + (0 if before is None else (x - before) * (low - y) / 2)
            low, before = y, x
    return area


def forgets_to_sort(points, reference):
    area, low = 0.0, reference[1]
    for x, y in points:
        if x < reference[0] and y < low:
            area, low = area + (reference[0] - x) * (low - y), y
    return area


def sorts_the_callers_list(points, reference):
    points.sort()
    return forgets_to_sort(points, reference)


def counts_equal_points_twice(points, reference):
    area, low = 0.0, reference[1]
    for x, y in _inside(points, reference):
        if y <= low:
            area, low = area + (reference[0] - x) * max(low - y, 1), y
    return area


def counts_dominated_points(points, reference):
    area, low = 0.0, reference[1]
    for x, y in _inside(points, reference):
        area, low = area + (reference[0] - x) * abs(low - y), y
    return area


def from_zero(points, reference):
    return sum(x * y for x, y in points[:1]) if len(points) == 1 else forgets_to_sort(sorted(points), reference)


def divides_by_the_box(points, reference):
    return forgets_to_sort(sorted(points), reference) / (reference[0] * reference[1])


def higher_is_better(points, reference):
    return forgets_to_sort([(-x, -y) for x, y in sorted(points)], (-reference[0], -reference[1]))


def takes_what_is_outside(points, reference):
    area, low = 0.0, reference[1]
    for x, y in sorted(points):
        if y < low:
            area, low = area + abs(reference[0] - x) * (low - y), y
    return area


def starts_at_the_first_point(points, reference):
    inside = _inside(points, reference)
    area, low = 0.0, inside[0][1] if inside else 0.0
    for x, y in inside[1:]:
        if y < low:
            area, low = area + (reference[0] - x) * (low - y), y
    return area


def fails_without_points(points, reference):
    return forgets_to_sort(sorted(points), reference) if points else float("nan")


def reference_exchanged(points, reference):
    return forgets_to_sort(sorted(points), reference[::-1])


def returns_nothing(points, reference):
    forgets_to_sort(sorted(points), reference)


MUTANTS = {
    sums_the_boxes: "counts once",
    box_of_the_best_of_each: "the best of each",
    largest_box: "not all",
    straight_from_point_to_point: "no slope",
    forgets_to_sort: "in any order",
    sorts_the_callers_list: "sort a copy",
    counts_equal_points_twice: "an equal point",
    counts_dominated_points: "dominated points",
    from_zero: "the other side",
    divides_by_the_box: "not a share",
    higher_is_better: "3 by 5",
    takes_what_is_outside: "below the reference",
    starts_at_the_first_point: "3 by 5",
    fails_without_points: "dominate nothing",
    reference_exchanged: "3 by 5",
    returns_nothing: "return statement",
}


def from_the_other_side(points, reference):
    """Sort by the second objective and sweep the first."""
    area, left = 0, reference[0]
    for y, x in sorted((y, x) for x, y in points):
        if y < reference[1] and x < left:
            area, left = area + (left - x) * (reference[1] - y), x
    return area


def strips_of_the_front(points, reference):
    """Keep the front first; each of its points has the strip up to the next one."""
    inside = set(_inside(points, reference))
    front = sorted(p for p in inside if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in inside))
    ends = ([x for x, _ in front] + [reference[0]])[1:]
    return sum((end - x) * (reference[1] - y) for (x, y), end in zip(front, ends, strict=True))


RIGHT = [from_the_other_side, strips_of_the_front]
