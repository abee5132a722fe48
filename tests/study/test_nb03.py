"""Tables of notebook 03: complete, and made of what their names say."""

import itertools
import math

import pytest
import torch

from dlmlab.attention import interventions, sinks
from dlmlab.network.checkpoint import load
from dlmlab.objective.batches import TrainConfig
from dlmlab.study import nb03_growth as sink_growth
from dlmlab.study import nb03_marks as marks
from dlmlab.study import nb03_movement as study
from dlmlab.study import nb03_wild as wild
from dlmlab.study import table
from tests.tiny import one_thread, tiny_model  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")


def of_heads(m: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two heads of which the second has no sink: (S, L) -> m and marks (S, 2, L)."""
    both = torch.stack([m, torch.ones_like(m)], 1)
    return both, sinks.stands_out(both)


def test_the_spread_of_sinks_is_estimated_without_bias_and_head_by_head():
    """Runs of unequal length are compared: the mean over all pairs of a run's states must be what the run reads."""
    path = [2, 9, 14, 20, 3, 7]
    m = 0.1 + 5 * torch.eye(24)[path]  # (S, L), one sink a state
    wanted = float(torch.tensor(path, dtype=torch.float64).var()) / 24**2
    spread = study.spread(*of_heads(m))
    assert float(spread[0]) == pytest.approx(wanted, rel=1e-4) and math.isnan(spread[1])
    pairs = [float(study.spread(*of_heads(m[list(pair)]))[0]) for pair in itertools.combinations(range(len(path)), 2)]
    assert sum(pairs) / len(pairs) == pytest.approx(wanted, rel=1e-4)
    with_blanks = torch.cat([m, torch.ones(4, 24)])  # states without a sink are neither moved nor counted
    assert float(study.spread(*of_heads(with_blanks))[0]) == pytest.approx(wanted, rel=1e-4)
    assert math.isnan(study.spread(*of_heads(m[:1]))[0])  # one state has no spread


def test_shuffled_positions_spread_a_sink_that_stands_still():
    m = 0.1 + 5 * torch.eye(24)[[7] * 40]
    both, found = of_heads(m)
    assert float(study.spread(both, found)[0]) == pytest.approx(0, abs=1e-6)
    null = float(study.shuffled(both, found, generator=torch.Generator().manual_seed(0))[0])
    assert null == pytest.approx(1 / 12, rel=0.15)  # uniform over the text


def test_a_head_of_the_twin_is_judged_without_its_triangle():
    model = tiny_model("causal", init_std=0.0)  # it looks everywhere alike
    found = study.heads(model, torch.randint(1, 40, (2, 20)))
    assert found.shape == (2, 2, 4, 10)
    torch.testing.assert_close(found, torch.ones_like(found))
    assert study.heads(tiny_model(), torch.randint(1, 40, (2, 20))).shape == (2, 2, 4, 20)


def test_a_row_of_movement_has_a_number_for_every_head():
    row = study.movement(1, "llada-mini", "one level", 0)
    assert row["states"] == study.DRAWS and {len(row[key]) for key in ("has", "stays", "centroid", "null", "kind")} == {
        36
    }
    assert len(row["mean"]) == 6 and study.usual_kind([row | {"source": "x"}], "x", 0) in study.KINDS


def test_a_column_is_averaged_over_seeds_and_not_over_problems():
    rows = [{"source": "a", "problem": p, "has": [p + s, float("nan") if s else 5.0]} for p in (0, 1) for s in (0, 1)]
    assert study.by_head([*rows, {"source": "b", "problem": 0}], "a", "has").tolist() == [[0.5, 5.0], [1.5, 5.0]]


# ------------------------------------------------------------------------------------------------ marks


@pytest.mark.parametrize("model", marks.MODELS)
def test_a_mark_that_says_the_same_in_every_text_is_not_read(model):
    """The causal start mark by construction: nothing stands before it. And doing nothing costs nothing."""
    plain = marks.nats(model, "nothing", "", 0, size=2)["nats"]
    again = marks.nats(model, "mean", "start mark", 0, size=2)["nats"]
    if model == "llama-mini":
        assert again == pytest.approx(plain, abs=1e-3)
    hidden = marks.nats(model, "hide", "start mark", 0, size=2)["nats"]
    assert sum(hidden) > sum(plain) + 1


def test_controls_are_drawn_by_seed_and_answers_are_judged_one_by_one():
    first, again, other = (marks.nats("llama-mini", "hide", "token", seed, size=4)["nats"] for seed in (0, 0, 1))
    assert first == again != other
    row = marks.answers("llada-mini", "mean", "start mark", size=3)
    assert len(row["correct"]) == 3 and row["nfe"] >= 1


def test_every_change_is_measured_with_its_controls_in_three_seeds():
    keys = [tuple(key.values()) for key in marks.settings()]
    for model in marks.MODELS:
        for how in marks.HOW:
            for what in (*marks.MARKS, *(marks.CONTROLS if how != "swap" else ())):
                assert all((model, how, what, seed) in keys for seed in marks.SEEDS)
        assert isinstance(marks.changed(model, "hide", "sign", 0), interventions.WithoutKeys)


# ------------------------------------------------------------------------------------------------ the wild


def test_a_change_of_one_position_needs_to_know_which():
    with pytest.raises(ValueError, match="'shout first' is unknown; known: hide late first"):
        wild.changed(None, torch.zeros(2, 20, dtype=torch.long), "shout first", seed=0)


def test_the_text_of_the_wild_is_long_enough():
    assert len(wild.written("prose").split()) > wild.WINDOWS["prose"] * wild.LENGTH * 0.7
    assert "Apache License" in wild.written("licence")


def test_a_table_whose_models_are_missing_says_so_and_is_no_fault(monkeypatch):
    told, stored = [], table("03_wild")
    absent = type(stored)(**vars(stored) | {"missing": lambda: "pip install it", "run": None})
    assert absent.repeats(dict(stored.live[0]), told.append)
    assert "not repeated, pip install it" in told[0]


# ------------------------------------------------------------------------------------------------ growth


def test_a_sink_curve_counts_in_units_of_uniform_attention():
    model = tiny_model(attention="causal")
    with torch.no_grad():  # queries of zero look everywhere alike
        for block in model.model.transformer["blocks"]:
            block.q_proj.weight.zero_()
    curve = sink_growth.sink_curve(model, texts=torch.randint(1, 8, (3, 12)))
    assert curve["first"] == pytest.approx(1, abs=1e-4) and curve["first_top_head"] == pytest.approx(1, abs=1e-4)
    assert float(sinks.uniform_sums(12, causal=True)[0]) == pytest.approx(sum(1 / i for i in range(1, 13)))


def test_sweep_texts_of_a_packed_run_begin_with_a_start_mark_and_cross_problems():
    config = TrainConfig(name="x", context=128, max_sequence_length=128)
    texts, (_, tokenizer) = sink_growth.sweep_texts(config), load("llada-mini")
    assert texts.shape == (sink_growth.TEXTS, sink_growth.LENGTH)
    assert bool((texts[:, 0] == tokenizer.bos_token_id).all())
    assert bool((texts[:, 1:] == tokenizer.bos_token_id).any())
