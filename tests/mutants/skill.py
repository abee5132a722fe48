"""Answers to exercise 21.1."""


def _score(said, happened):
    return sum((p - h) ** 2 for p, h in zip(said, happened, strict=True)) / len(said)


def _constant(happened):
    return [sum(happened) / len(happened)] * len(happened)


def gives_the_score(said, happened):
    return _score(said, happened)


def in_percent(said, happened):
    return 100 * (1 - _score(said, happened) / _score(_constant(happened), happened))


def against_a_coin(said, happened):
    return 1 - _score(said, happened) / 0.25


def against_the_mean_of_what_was_said(said, happened):
    own = _score([sum(said) / len(said)] * len(said), happened)
    return 1 - _score(said, happened) / max(own, 1e-12)


def never_below_zero(said, happened):
    return max(0.0, 1 - _score(said, happened) / _score(_constant(happened), happened))


def only_what_did_not_happen(said, happened):
    own = sum(p**2 for p, h in zip(said, happened, strict=True) if not h) / len(said)
    return 1 - own / _score(_constant(happened), happened)


def distances_not_squared(said, happened):
    def far(values):
        return sum(abs(p - h) for p, h in zip(values, happened, strict=True))

    return 1 - far(said) / far(_constant(happened))


def squares_of_the_reader_only(said, happened):
    share = sum(happened) / len(happened)
    return 1 - _score(said, happened) * len(said) / sum(abs(share - h) for h in happened)


def absolute_against_square(said, happened):
    own = sum(abs(p - h) for p, h in zip(said, happened, strict=True)) / len(said)
    return 1 - own / _score(_constant(happened), happened)


def rounds_to_yes_and_no(said, happened):
    return 1 - _score([float(p > 0.5) for p in said], happened) / _score(_constant(happened), happened)


def confidence_in_any_answer(said, happened):
    own = [max(p, 1 - p) for p in said]
    return 1 - _score(own, happened) / _score(_constant(happened), happened)


def returns_words(said, happened):
    return f"{1 - _score(said, happened) / _score(_constant(happened), happened):.2f}"


MUTANTS = {
    gives_the_score: "skill compares",
    in_percent: "not percent",
    against_a_coin: "is yours 0.5",
    against_the_mean_of_what_was_said: "nor the mean of what was said",
    never_below_zero: "negative is allowed",
    only_what_did_not_happen: "every case counts",
    distances_not_squared: "a sure error much",
    squares_of_the_reader_only: "has squares as well",
    absolute_against_square: "a sure error much",
    rounds_to_yes_and_no: "throws the doubt away",
    confidence_in_any_answer: "sure and right everywhere",
    returns_words: "should be a number",
}


def right(said, happened):
    return 1 - _score(said, happened) / _score(_constant(happened), happened)


def by_the_variance(said, happened):
    share = sum(happened) / len(happened)
    return 1 - _score(said, happened) / (share * (1 - share))


RIGHT = [right, by_the_variance]
