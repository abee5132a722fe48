"""What lab 13 measures: pairs that are ranked, bills, and what was given up."""

from types import SimpleNamespace

import pytest
import torch

from dlmlab.decode.trace import Step, Trace
from dlmlab.study.labs import lab13_exchanged as exchanged
from dlmlab.study.labs import lab13_remasked as remasked


def test_pairs_are_ranked_by_hand():
    right = torch.tensor([True, False, True, False])
    assert remasked.ranked(torch.tensor([0.9, 0.1, 0.5, 0.5]), right) == pytest.approx((2 + 1.5) / 4)
    assert remasked.ranked(torch.tensor([0.1, 0.9, 0.1, 0.9]), right) == 0


def test_every_quoted_comparison_finds_its_rows():
    rows = [key | {"correct": "1011" * 125, "read": 7.0} for key in remasked.settings()]
    for row in rows:
        row["correct"] = row["correct"][: remasked.problems(row["by"], row["how"])]
    found = remasked.gains(rows)
    assert found["stored - random"].mean == found["overwrite - mask, truth"].mean == 0
    assert found["leave-one-out - threshold 0.9"].mean < -10
    assert remasked.lines(rows)["five forwards, stored, mask, 2, k 8, right"] == 75.0


def test_what_is_given_up_is_sorted_by_what_it_was():
    """A right 4, a wrong 5 and an end mark 0 are masked (9) again; the 7 stays."""
    step = {"rows": torch.tensor([0]), "confidence": torch.ones(4), "nfe": 1, "tokens_through": 0, "flops": 0}
    step |= {"seconds": 0.0, "at": torch.tensor([[0, 0], [0, 1], [0, 2], [0, 3]]), "tokens": torch.tensor([4, 5, 0, 7])}
    none = {"at": torch.empty(0, 2, dtype=torch.long), "tokens": torch.empty(0, dtype=torch.long)}
    again = {"edited": torch.tensor([[0, 0], [0, 1], [0, 2]]), "edited_to": torch.tensor([9, 9, 9])}
    trace = Trace(torch.tensor([[9, 9, 9, 9]]), 0, [Step(**step), Step(**(step | none | again))])
    for truth, kinds in (([4, 6, 0, 7], (1, 0, 1, 1)), ([4, 5, 3, 7], (0, 1, 2, 0))):  # an end mark for a 3 is early
        found = exchanged.given_up(SimpleNamespace(trace=trace), torch.tensor([truth]), 0)
        assert {kind: n.tolist() for kind, n in found.items()} == {
            kind: [n] for kind, n in zip(exchanged.KINDS, kinds, strict=True)
        }


def test_plain_schedules_stand_beside_the_rules():
    rows = [
        key
        | {"correct": "10" * 250, "touched": "0" * 500, "ended": "1" * 500, "nfe": 5.0}
        | {"end": 2.0, "early": 1.0, "right": 3.0, "wrong": 1.0}
        for key in exchanged.settings()
    ]
    found = exchanged.gains(rows)
    assert found["P2 0.5, 5 - left to right"].mean < -30 and found["P2 0.25 - P2 0.5, 5"].mean == 0
    quoted = exchanged.lines(rows)
    assert (
        quoted["P2 0.5, 5, percent wrong"] == 25.0
        and quoted["P2 0.5, 5, gained by giving up wrong"] == 0
        and quoted["P2 0.5, 5, gained by giving up wrong or early"] == 100
        and quoted["P2 0.5, 5, exact"] == 50.0
    )


def test_rules_are_compared_with_draws_of_as_many_forwards():
    rows = [key | {"correct": "10" if key["rule"] == "plain" else "11"} for key in exchanged.DRAWN.settings()]
    assert {d.mean for d in exchanged.drawn_gains(rows).values()} == {50.0}
