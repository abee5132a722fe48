"""The table of notebook 01: a summary does not make problems out of seeds."""

import dlmlab as dl
from dlmlab.measure.evaluate import Proportion


def test_three_seeds_of_the_same_problems_do_not_shrink_the_interval():
    row = {"method": "m", "sampler": "s", "nfe": 4.0, "gflop": 1.0, "correct": "1100" * 25}
    (one,) = dl.nb01_sampling.summarize([row | {"seed": 0}])
    (three,) = dl.nb01_sampling.summarize([row | {"seed": seed} for seed in range(3)])
    assert (one["low"], one["high"]) == (three["low"], three["high"]) == Proportion(50, 100).interval
    assert three["seeds"] == 3 and three["spread"] == 0


def test_the_spread_is_between_seeds():
    rows = [
        {"method": "m", "sampler": "s", "nfe": 4.0, "gflop": 1.0, "seed": i, "correct": c}
        for i, c in enumerate(("1100", "1110"))
    ]
    (summary,) = dl.nb01_sampling.summarize(rows)
    assert summary["spread"] == 0.25 and summary["exact_match"] == 0.625


def test_a_rule_of_ones_own_is_judged_like_the_rules_of_the_table():
    """The short loop with the threshold answers as the packaged sampler does: unpadded, batch by length of prompt."""
    table = dl.nb01_sampling.run("threshold", repr(dl.Threshold(0.9)), 0, size=6)
    mine = dl.nb01_sampling.point(
        "mine", dl.loop.reverse_loop, lambda score, eligible: dl.commit.threshold_commit(score, eligible, 0.9), size=6
    )
    assert mine["correct"] == table["correct"] and abs(mine["nfe"] - table["nfe"]) < 0.5
    assert (
        mine["method"] == "mine" and (mine["low"], mine["high"]) == Proportion(mine["correct"].count("1"), 6).interval
    )


def test_a_rule_that_takes_everything_needs_one_forward():
    mine = dl.nb01_sampling.point("all", dl.loop.reverse_loop, lambda score, eligible: eligible, size=3)
    assert mine["nfe"] == 1.0 and len(mine["correct"]) == 3
