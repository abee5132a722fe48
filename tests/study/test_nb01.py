"""The table of notebook 01: a summary does not make problems out of seeds."""

import dlmlab as dl
from dlmlab.measure.evaluate import Proportion

ROW = {"method": "m", "sampler": "s", "nfe": 4.0, "gflop": 1.0, "text_tokens": 17.0}


def test_three_seeds_of_the_same_problems_do_not_shrink_the_interval():
    row = ROW | {"correct": "1100" * 25, "clean": "1000" * 25}
    (one,) = dl.nb01_sampling.summarize([row | {"seed": 0}])
    (three,) = dl.nb01_sampling.summarize([row | {"seed": seed} for seed in range(3)])
    assert (one["low"], one["high"]) == (three["low"], three["high"]) == Proportion(50, 100).interval
    assert three["seeds"] == 3 and three["spread"] == 0 and three["clean"] == 0.25 and three["n"] == 100


def test_the_spread_is_between_seeds():
    rows = [ROW | {"seed": i, "correct": c, "clean": c} for i, c in enumerate(("1100", "1110"))]
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


def test_a_row_without_chance_stands_beside_every_seed_over_the_problems_of_both():
    key = dl.nb01_sampling.key
    long = ROW | key("sure", "s") | {"seed": 0, "correct": "1110" * 50}
    short = [ROW | key("chance", "s") | {"seed": i, "correct": c * 25} for i, c in enumerate(("1100", "1010"))]
    found = dl.nb01_sampling.compared([long, *short], key("sure", "s"), key("chance", "s"))
    assert found.seeds == (0.25, 0.25) and found.mean == 0.25 and found.word == "higher"
    assert dl.nb01_sampling.compared([long, *short], key("chance", "s"), key("sure", "s")).word == "lower"


def test_clean_is_judged_over_the_same_problems_and_never_above_correct():
    for row in dl.nb01_sampling.stored():
        assert len(row["clean"]) == len(row["correct"])
        assert all(c <= r for c, r in zip(row["clean"], row["correct"], strict=True))


def test_every_quoted_difference_has_its_rows():
    found = dl.nb01_sampling.headlines(dl.nb01_sampling.stored())
    assert all(f"{name}, word" in found for name in dl.nb01_sampling.COMPARED)
