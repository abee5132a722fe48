"""Answers to exercise 12.2."""


def takes_alpha_for_the_noise(alpha, k, V):
    return alpha * (1 - k + k / V), alpha * k * (V - 2) / V


def exchanges_the_two(alpha, k, V):
    return (1 - alpha) * k * (V - 2) / V, (1 - alpha) * (1 - k + k / V)


def forgets_the_drawn_masks(alpha, k, V):
    return (1 - alpha) * (1 - k), (1 - alpha) * k * (V - 2) / V


def of_the_noised_tokens(alpha, k, V):
    return 1 - k + k / V, k * (V - 2) / V


def all_draws_are_wrong(alpha, k, V):
    return (1 - alpha) * (1 - k + k / V), (1 - alpha) * k


def forgets_one_of_the_two(alpha, k, V):
    return (1 - alpha) * (1 - k + k / V), (1 - alpha) * k * (V - 1) / V


def masks_of_all_wrong_of_the_noised(alpha, k, V):
    return (1 - alpha) * (1 - k + k / V), k * (V - 2) / V


def adds_the_old_one(alpha, k, V):
    return (1 - alpha) * (1 - k + k / V), (1 - alpha) * k * V / (V + 2)


def always_ten_ids(alpha, k, V):
    return (1 - alpha) * (1 - k + k / 10), (1 - alpha) * k * 0.8


def returns_a_list(alpha, k, V):
    return [(1 - alpha) * (1 - k + k / V), (1 - alpha) * k * (V - 2) / V]


MUTANTS = {
    takes_alpha_for_the_noise: "probability to *keep*",
    exchanges_the_two: "masked comes first",
    forgets_the_drawn_masks: "once in V draws",
    of_the_noised_tokens: "not of all tokens",
    all_draws_are_wrong: "may be the mask, or the old one",
    forgets_one_of_the_two: "two are not wrong",
    masks_of_all_wrong_of_the_noised: "not of all tokens",
    adds_the_old_one: "a share of 0.16",
    always_ten_ids: "should be",
    returns_a_list: "a pair",
}


def right(alpha, k, V):
    return (1 - alpha) * (1 - k + k / V), (1 - alpha) * k * (V - 2) / V


def what_is_left(alpha, k, V):
    masked = (1 - alpha) * (1 - k + k / V)
    return masked, 1 - alpha - masked - (1 - alpha) * k / V


RIGHT = [right, what_is_left]
