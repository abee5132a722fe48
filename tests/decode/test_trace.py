"""A trace is the whole history: states, order and costs follow from it without the model."""

import json

import pytest
import torch

from dlmlab.decode.trace import Step, Trace, cut_at_end

MASK, EOS = 9, 0


def step(rows, at, tokens, *, filled=(), nfe=1, **costs) -> Step:
    """Make a step that commits `tokens` at (row, column) pairs."""
    costs = {"tokens_through": 8, "flops": 100, "seconds": 0.5} | costs
    more = {"filled": torch.tensor(filled).reshape(-1, 2).long()} if filled else {}
    confidence = torch.full((len(tokens),), 1 / 3)
    return Step(
        torch.tensor(rows), torch.tensor(at).reshape(-1, 2), torch.tensor(tokens), confidence, nfe, **costs, **more
    )


@pytest.fixture
def trace() -> Trace:
    """Give two rows of four columns; row 1 stops after its second forward, its rest becomes end marks."""
    start = torch.tensor([[5, MASK, MASK, MASK], [6, MASK, MASK, MASK]])
    steps = [
        step([0, 1], [[0, 3], [1, 1], [1, 2]], [1, 2, 3], nfe=2),
        step([0, 1], [[0, 1]], [4], filled=[[1, 3]], flops=50),
        step([0], [[0, 2]], [7], seconds=0.25),
    ]
    return Trace(start, EOS, steps)


def test_the_states_of_a_row_are_its_text_before_and_after_each_of_its_forwards(trace):
    M = MASK
    assert torch.stack(trace.states(0)).tolist() == [[5, M, M, M], [5, M, M, 1], [5, 4, M, 1], [5, 4, 7, 1]]
    assert torch.stack(trace.states(1)).tolist() == [[6, M, M, M], [6, 2, 3, M], [6, 2, 3, EOS]]


def test_states_are_copies(trace):
    trace.states(0)[0][:] = 8
    assert trace.start[0].tolist() == [5, MASK, MASK, MASK] and trace.states(0)[1].tolist() == [5, MASK, MASK, 1]


def test_the_order_names_what_was_predicted_and_not_what_was_filled(trace):
    assert trace.order(0) == [[3], [1], [2]] and trace.order(1) == [[1, 2], []]


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_outside_the_batch_is_refused(trace, row):
    for read in (trace.states, trace.order):
        with pytest.raises(ValueError, match=rf"row={row} is not in the batch: 0\.\.1"):
            read(row)


def test_costs_are_summed_and_forwards_belong_to_rows(trace):
    assert trace.nfe == [4, 3]  # the first step read two texts
    assert (trace.tokens_through, trace.flops, trace.seconds) == (24, 250, 1.25)
    assert Trace(trace.start).nfe == [0, 0] and Trace(trace.start).flops == 0


def test_the_table_is_plain_and_complete(trace):
    table = json.loads(json.dumps(trace.table()))
    assert [row["tokens"] for row in table] == [[1, 2, 3], [4], [7]] and table[0]["at"] == [[0, 3], [1, 1], [1, 2]]
    assert table[0]["confidence"] == [0.333333] * 3 and table[1]["flops"] == 50 and table[2]["rows"] == [0]


@pytest.mark.parametrize("ids, kept", [([7, 8, EOS, 9, EOS], [7, 8]), ([EOS, 7], []), ([7, 8], [7, 8]), ([], [])])
def test_a_text_ends_before_its_first_end_mark(ids, kept):
    before = list(ids)
    assert cut_at_end(ids, EOS) == kept and ids == before and cut_at_end(ids, EOS) is not ids
