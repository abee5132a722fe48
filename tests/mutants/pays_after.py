"""Answers to exercise 15.3."""

import math


def forgets_our_bytes(model_bytes, ours, theirs):
    return model_bytes / theirs


def forgets_their_bytes(model_bytes, ours, theirs):
    return model_bytes / ours if ours else math.inf


def sends_it_with_a_text(model_bytes, ours, theirs):
    return (model_bytes + ours) / theirs


def adds_both(model_bytes, ours, theirs):
    return model_bytes / (theirs + ours)


def takes_the_factor(model_bytes, ours, theirs):
    return model_bytes * ours / theirs


def rounds_up(model_bytes, ours, theirs):
    return math.ceil(model_bytes / (theirs - ours)) if theirs > ours else math.inf


def negative(model_bytes, ours, theirs):
    return model_bytes / (theirs - ours) if theirs != ours else math.inf


def divides_by_zero(model_bytes, ours, theirs):
    return model_bytes / (theirs - ours)


def takes_the_distance(model_bytes, ours, theirs):
    return model_bytes / abs(theirs - ours) if theirs != ours else math.inf


def returns_words(model_bytes, ours, theirs):
    return f"{model_bytes / max(theirs - ours, 1)} texts"


MUTANTS = {
    forgets_our_bytes: "writes something",
    forgets_their_bytes: "what does the other codec pay",
    sends_it_with_a_text: "sent once",
    adds_both: "are added",
    takes_the_factor: "count bytes",
    rounds_up: "do not round",
    negative: "no number of texts pays",
    divides_by_zero: "no number of texts pays",
    takes_the_distance: "no number of texts pays",
    returns_words: "should be a number",
}


def right(model_bytes, ours, theirs):
    return model_bytes / (theirs - ours) if theirs > ours else math.inf


def by_cases(model_bytes, ours, theirs):
    saved = theirs - ours
    if saved <= 0:
        return float("inf")
    return model_bytes / saved


RIGHT = [right, by_cases]
