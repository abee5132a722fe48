"""Answers to exercise 6.4."""


def _some(candidates):
    if not candidates:
        raise ValueError("none")


def _order(candidates, validate):
    _some(candidates)
    losses = [validate(candidate) for candidate in candidates]
    return losses, sorted(range(len(losses)), key=losses.__getitem__)


def a_shortlist_of_two(candidates, validate, test):
    _, order = _order(candidates, validate)
    tested = {place: test(candidates[place]) for place in order[:2]}
    best = min(tested, key=tested.__getitem__)
    return best, tested[best]


def chooses_on_the_test(candidates, validate, test):
    return _order(candidates, test)[1][0], min(map(test, candidates))


def tests_all_and_reports_the_chosen(candidates, validate, test):
    _, order = _order(candidates, validate)
    tested = [test(candidate) for candidate in candidates]
    return order[0], tested[order[0]]


def the_mean_of_both(candidates, validate, test):
    _some(candidates)
    losses = [(validate(c) + test(c)) / 2 for c in candidates]
    best = losses.index(min(losses))
    return best, test(candidates[best])


def the_test_breaks_ties(candidates, validate, test):
    losses, order = _order(candidates, validate)
    tied = [place for place in order if losses[place] == losses[order[0]]]
    best = order[0] if len(tied) == 1 else min(tied, key=lambda place: test(candidates[place]))
    return best, test(candidates[best])


def reports_the_validation(candidates, validate, test):
    losses, order = _order(candidates, validate)
    test(candidates[order[0]])
    return order[0], losses[order[0]]


def the_lower_of_both(candidates, validate, test):
    losses, order = _order(candidates, validate)
    return order[0], min(losses[order[0]], test(candidates[order[0]]))


def the_largest_loss(candidates, validate, test):
    _, order = _order(candidates, validate)
    return order[-1], test(candidates[order[-1]])


def tests_twice(candidates, validate, test):
    _, order = _order(candidates, validate)
    return order[0], min(test(candidates[order[0]]) for _ in range(2))


def the_last_of_equals(candidates, validate, test):
    losses, _ = _order(candidates, validate)
    best = max(place for place, loss in enumerate(losses) if loss == min(losses))
    return best, test(candidates[best])


def validates_again_and_again(candidates, validate, test):
    _some(candidates)
    best = 0
    for place in range(1, len(candidates)):
        if validate(candidates[place]) < validate(candidates[best]):
            best = place
    return best, test(candidates[best])


def returns_the_candidate(candidates, validate, test):
    _, order = _order(candidates, validate)
    return candidates[order[0]], test(candidates[order[0]])


def nothing_for_nobody(candidates, validate, test):
    if not candidates:
        return 0, 0.0
    _, order = _order(candidates, validate)
    return order[0], test(candidates[order[0]])


MUTANTS = {
    a_shortlist_of_two: "decides nothing",
    chooses_on_the_test: "decides nothing",
    tests_all_and_reports_the_chosen: "the leak",
    the_mean_of_both: "decides nothing",
    the_test_breaks_ties: "break the tie",
    reports_the_validation: "it flatters",
    the_lower_of_both: "it flatters",
    the_largest_loss: "the largest or the first",
    tests_twice: "once is enough",
    the_last_of_equals: "first is taken",
    validates_again_and_again: "evaluations on validation",
    returns_the_candidate: "a place among",
    nothing_for_nobody: "a ValueError",
}


def by_a_loop(candidates, validate, test):
    best, least = None, None
    for place, candidate in enumerate(candidates):
        loss = validate(candidate)
        if best is None or loss < least:
            best, least = place, loss
    if best is None:
        raise ValueError("nobody")
    return best, test(candidates[best])


def by_pairs(candidates, validate, test):
    _some(candidates)
    _, best = min((validate(candidate), place) for place, candidate in enumerate(candidates))
    return best, test(candidates[best])


RIGHT = [by_a_loop, by_pairs]
