"""Tables of notebook 03: complete, and made of what their names say."""

import itertools
import math

import pytest
import torch

from dlmlab.attention import bottle, interventions, sinks
from dlmlab.network.checkpoint import load
from dlmlab.objective.batches import TrainConfig
from dlmlab.study import nb03_growth as sink_growth
from dlmlab.study import nb03_sinks as study
from tests.tiny import tiny_model


def test_the_spread_of_a_centroid_is_estimated_without_bias():
    """Runs of unequal length are compared: the mean over all pairs of a run's states must be what the run reads."""
    path = [2, 9, 14, 20, 3, 7]
    m = 0.1 + 5 * torch.eye(24)[path]  # (S, L), one sink a state
    wanted = float(torch.tensor(path, dtype=torch.float64).var()) / 24**2
    spread, coverage = study.centroid_spread(m)
    assert spread == pytest.approx(wanted, rel=1e-2) and coverage == 1
    pairs = [study.centroid_spread(m[list(pair)])[0] for pair in itertools.combinations(range(len(path)), 2)]
    assert sum(pairs) / len(pairs) == pytest.approx(spread, rel=1e-4)
    with_blanks = torch.cat([m, torch.ones(4, 24)])  # states without a sink are neither moved nor counted
    assert study.centroid_spread(with_blanks) == (pytest.approx(spread, rel=1e-4), 0.6)
    assert math.isnan(study.centroid_spread(m[:1])[0])  # one state has no spread


def test_hiding_nothing_changes_no_prediction():
    row = study.hide("llama-mini", "nothing", 0, size=2)
    assert row["kl"] == [0.0, 0.0] and row["correct"] == "11"


def test_the_states_of_a_causal_run_are_judged_at_their_last_token():
    _, tokenizer = load("llama-mini")
    prompt = tuple(tokenizer("<|startoftext|> ben has 8 marbles", add_special_tokens=False)["input_ids"])
    ids, real, at = study.dense_states("llama-mini", prompt)
    assert real.sum(1).tolist() == list(range(len(prompt), len(prompt) + len(ids)))  # one token more a state
    assert bool(at[:, -1].all()) and int(at.sum()) == len(ids)


@pytest.mark.parametrize("name, k, kind", [("strongest", 3, "Strongest"), ("start mark", -1, "OfKind")])
def test_a_line_names_its_choice(name, k, kind):
    assert isinstance(study.choice("llada-mini", name, k), getattr(interventions, kind))


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


def test_a_bottle_is_judged_without_its_start_mark():
    language = bottle.Language.draw(generator=torch.Generator().manual_seed(0))
    found = sink_growth.judge_bottle(bottle.build("full", seed=0), language, seed=0)
    assert {"loss", "loss_without_start", "start_0.1", "start_0.9"} <= set(found)
    assert found["loss"] == pytest.approx(math.log(bottle.SYMBOLS + 2), abs=0.1)  # untrained: knows nothing
