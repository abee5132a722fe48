"""A split is looked at for one thing: making, choosing or judging."""

from dlmlab.measure.holdout import choose_and_judge

SPLITS = {"calibration": "c", "validation": "v", "test": "t"}
LOSS = {("a", "v"): 2.0, ("a", "t"): 1.0, ("b", "v"): 1.0, ("b", "t"): 3.0, ("d", "v"): 1.0, ("d", "t"): 0.0}


def test_every_split_is_looked_at_for_one_thing_and_test_once():
    made, judged = [], []

    def make(name, texts):
        made.append((name, texts))
        return name

    def loss(name, texts):
        judged.append((name, texts))
        return LOSS[name, texts]

    assert choose_and_judge("abd", make, loss, SPLITS) == ("b", 3.0)  # not the best on test, and the first of equals
    assert made == [("a", "c"), ("b", "c"), ("d", "c")]
    assert judged == [("a", "v"), ("b", "v"), ("d", "v"), ("b", "t")]
