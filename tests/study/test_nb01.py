"""The table of notebook 01: a summary does not make problems out of seeds."""

import math
import tomllib

import torch

import dlmlab as dl
from dlmlab import paths
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


def test_the_blind_opponents_stop_at_the_end_mark_and_take_every_number_of_forwards():
    """A rule was once compared with left to right that went on after its end mark, and with five forwards only."""
    rows = dl.nb01_sampling.summarize(dl.nb01_sampling.stored())
    stops = {row["sampler"]: row for row in rows if row["method"] == dl.nb01_sampling.STOPPED}
    assert {repr(dl.Fixed(n)) for n in range(3, 9)} <= stops.keys()
    goes_on = {row["sampler"]: row for row in rows if row["method"] == "left to right"}
    for sampler in stops.keys() & goes_on.keys():  # the same texts, fewer forwards
        assert stops[sampler]["exact_match"] == goes_on[sampler]["exact_match"]
        assert stops[sampler]["nfe"] < goes_on[sampler]["nfe"]


def test_the_fair_control_of_the_threshold_is_the_schedule_that_stops():
    """With as many forwards as the threshold 0.9, and the pages say that it loses to it; below three it leads."""
    rows = dl.nb01_sampling.summarize(dl.nb01_sampling.stored())
    blind = [row for row in rows if row["method"] in dl.nb01_sampling.BLIND and row["n"] == 500]
    found = dl.nb01_sampling.headlines(dl.nb01_sampling.stored())
    for tau, forwards, word in ((0.9, 6, "lower"), (0.7, 4, "higher")):
        (rule,) = (row for row in rows if row.items() >= dl.nb01_sampling.key("threshold", dl.Threshold(tau)).items())
        control = dl.control.fair_control(blind, rule["nfe"])
        assert (control["method"], control["sampler"]) == (dl.nb01_sampling.STOPPED, repr(dl.Fixed(forwards)))
        name = "threshold" if tau == 0.9 else f"threshold {tau}"
        assert found[f"{name} against left to right, stop at end, {forwards} forwards, word"] == word


def test_five_forwards_put_two_results_of_one_calculation_into_one_portion_and_six_do_not():
    results = range(4, 40, 6)  # places of the results of `a op b = c ;`
    for forwards, most in ((5, 2), (6, 1)):
        ends = torch.tensor(dl.commit.num_transfer_tokens(40, forwards)).cumsum(0).tolist()
        portions = zip([0, *ends], ends, strict=False)
        # of the five results that an answer can have
        assert max(sum(a <= place < b for place in list(results)[:5]) for a, b in portions) == most


def test_the_least_sure_first_is_the_mirror_of_the_surest_first():
    score, eligible = torch.tensor([[0.1, 0.9, 0.5, -math.inf]]), torch.tensor([[True, True, True, False]])
    seen = dl.commit.Candidates(score, eligible, score, score[..., None], torch.tensor([1]))
    assert dl.nb01_sampling.LeastSure(3)(seen).tolist() == [[True, False, False, False]]
    assert dl.Fixed(3)(seen).tolist() == [[False, True, False, False]]


def test_the_page_says_that_the_training_masked_the_end_of_answers():
    """Left to right meets states that most rows of the last part of the training had: no fair fight of orders."""
    recipe = tomllib.loads((dl.checkpoint.DATA / "llada-mini" / "training.toml").read_text(encoding="utf-8"))
    assert recipe["suffix"][-1][1] > 0.5
    (page,) = (path for path in paths.notebooks(paths.checkout()) if path.name.startswith("01"))
    assert "from a point to its end" in page.read_text(encoding="utf-8")
