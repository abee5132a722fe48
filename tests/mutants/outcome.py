"""Answers to exercise 19.3."""


def keyword(wrote, end, correct):
    return "refused" if wrote[0] == end else "answered"


def no_refusal_is_success(wrote, end, correct):
    return "refused" if (wrote == end).all() else "answered"


def first_token(wrote, end, correct):
    if wrote[0] == end:
        return "refused"
    return "answered" if correct else "other"


def any_end_mark(wrote, end, correct):
    if correct:
        return "answered"
    return "refused" if (wrote == end).any() else "other"


def last_token(wrote, end, correct):
    if correct and not (wrote == end).all():
        return "answered"
    return "refused" if (wrote[1:] == end).all() else "other"


def wrong_is_refused(wrote, end, correct):
    return "answered" if correct else "refused"


def believes_the_verifier_first(wrote, end, correct):
    if correct:
        return "answered"
    return "refused" if (wrote == end).all() else "other"


def end_is_zero(wrote, end, correct):
    if (wrote == 0).all():
        return "refused"
    return "answered" if correct else "other"


def returns_a_bool(wrote, end, correct):
    return bool(correct)


def other_words(wrote, end, correct):
    return "success" if correct else "refused" if (wrote == end).all() else "failure"


MUTANTS = {
    keyword: "nonsense is neither",
    no_refusal_is_success: "nonsense is neither",
    first_token: "not the whole",
    any_end_mark: "neither",
    last_token: "all must be",
    wrong_is_refused: "neither",
    believes_the_verifier_first: "added nothing",
    end_is_zero: "not 0",
    returns_a_bool: "should be a text",
    other_words: "is none of",
}


def right(wrote, end, correct):
    if (wrote == end).all():
        return "refused"
    return "answered" if correct else "other"


def right_by_a_set(wrote, end, correct):
    return "refused" if set(wrote.tolist()) == {end} else ("other", "answered")[bool(correct)]


RIGHT = [right, right_by_a_set]
