"""What the tables of notebook 05 are made of: equal real bits, equal noise, orders of equal mean, as many states."""

from dataclasses import replace

import pytest
import torch

from dlmlab.compress import registry, storage
from dlmlab.compress.quant.precision import Moment
from dlmlab.network import parts
from dlmlab.network.codes import cells
from dlmlab.study import nb05_activations, nb05_errors, nb05_methods, nb05_phases, nb05_qat, nb05_texts, nb05_where
from dlmlab.study.judging import dense, texts
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


# ------------------------------------------------------------------------------------------------ methods


def test_no_method_changes_the_bits_that_are_stored():
    small = registry.compress(
        dense(), "gptq", nb05_methods.spec(3), calib=texts("uniform", 0, "answer", n=4), packed=True
    )
    found = nb05_methods.stored("llada-mini", 3)
    assert storage.bits_of(small) == pytest.approx(found["real_bits"], abs=1e-5)
    assert storage.model_bytes(small) == found["bytes"]


def test_the_noise_of_the_control_is_as_large_as_rounding_in_every_group_and_is_no_rounding():
    spec, model = nb05_methods.spec(2), dense("llama-mini")
    rounded = registry.compress(model, "rtn", spec)
    noised = nb05_methods.noised(model, 2, torch.Generator().manual_seed(0))
    for W, a, b in zip(*(parts.weights(m).values() for m in (model, rounded, noised)), strict=True):
        assert torch.allclose(*(cells(x - W, spec).norm(dim=-1) for x in (a, b)), rtol=1e-3)
        cosine = torch.cosine_similarity((a - W).flatten(), (b - W).flatten(), dim=0)
        assert abs(float(cosine)) < 0.05


def test_what_reads_no_texts_is_repeated_for_every_seed_and_losses_of_twins_are_paired():
    rows = [
        {"model": model, "method": method, "bits": bits, "seed": seed, "correct": correct}
        for seed in range(3)
        for model, method, bits, correct in (
            ("llada-mini", "float", 32, "1111"),
            ("llama-mini", "float", 32, "1111"),
            ("llada-mini", "rtn", 2, "1100"),
            ("llama-mini", "rtn", 2, "1000"),
        )
    ]
    assert nb05_methods.twins(rows, "rtn", 2).mean == -0.25
    (row,) = nb05_methods.store.select(rows, model="llada-mini", method="rtn", seed=0)
    assert [r["seed"] for r in nb05_methods.every_seed([row], method="rtn")] == [0, 1, 2]


# ------------------------------------------------------------------------------------------------ phases


def test_every_order_of_the_low_levels_has_the_mean_of_the_uniform_one():
    assert len(set(nb05_phases.LOW)) == 7
    for group in (nb05_phases.LOW, nb05_phases.WIDE, nb05_phases.PUBLISHED):
        assert len({sum(map(int, levels.split("-"))) for levels in group}) == 1


def test_random_orders_deal_every_level_once_in_three_and_differ_by_seed():
    order = nb05_phases.dealt([4, 3, 2], 0)
    assert all(sorted(order[i : i + 3]) == [2, 3, 4] for i in range(0, len(order), 3))
    assert order == nb05_phases.dealt([4, 3, 2], 0) != nb05_phases.dealt([4, 3, 2], 1)


def test_rules_cut_a_run_where_they_say():
    def levels(rule, by):
        found = nb05_phases.rule_of(rule, [4, 3, 2], by, 0)
        return [found(Moment(step, 1 - step / 9, 0.1 * step)) for step in range(9)]

    assert (
        levels("steps", "fixed") == levels("share", "nats") == levels("steps", "chance") == [4] * 3 + [3] * 3 + [2] * 3
    )
    assert levels("steps", "threshold") == [4, 3] + [2] * 7
    assert levels("confidence", "threshold") == [4] * 4 + [3] * 4 + [2]


def test_likelihood_by_share_is_that_of_the_levels_third_by_third():
    """A schedule by share sends every state through one model: its bound is made of theirs."""
    found = nb05_phases.run("nats", "share", "3-3-3", 0, size=3)["nats"]
    assert found == pytest.approx(nb05_methods.bound(nb05_phases.at(3), 0, 3), abs=2e-3)
    other = nb05_phases.run("nats", "share", "4-3-2", 0, size=3)["nats"]
    assert other != pytest.approx(found, abs=2e-3)


def test_where_chance_orders_the_tokens_only_the_order_is_another_one():
    fixed, chance = (nb05_phases.SAMPLERS[by][0] for by in ("fixed", "chance"))
    assert replace(chance, score=fixed.score) == fixed and chance.score == "random"
    one, again = (nb05_phases.run("chance", "steps", "3-3-3", 0, size=2)["correct"] for _ in range(2))
    assert one == again


def test_a_schedule_is_compared_with_the_line_at_the_bits_it_used():
    key = {"by": "threshold", "rule": "steps", "seed": 0}
    rows = [
        key | {"levels": levels, "mean_bits": bits, "correct": correct}
        for levels, bits, correct in (
            ("2-2-2", 2, "0000"),
            ("3-3-3", 3, "1100"),
            ("4-4-4", 4, "1111"),
            ("4-3-2", 2.5, "1100"),
            ("2-3-4", 3.5, "1110"),
        )
    ]
    found = nb05_phases.against_line(rows)
    assert found["4-3-2 by steps"].mean == 25.0  # the line has one of four there
    assert found["2-3-4 by steps"].mean == 0.0


# ------------------------------------------------------------------------------------------------ texts, places


def test_every_kind_of_state_comes_in_equal_number():
    for mode, region in nb05_texts.KINDS:
        assert len(nb05_texts.states(mode, region, 0)) == nb05_texts.STATES


def test_effective_rank_counts_equal_directions():
    assert nb05_texts.effective_rank(torch.eye(5, dtype=torch.float64)) == pytest.approx(5)
    assert nb05_texts.effective_rank(torch.diag(torch.tensor([3.0, 0, 0]))) == pytest.approx(1)


def test_thirds_of_the_masks_add_up_to_the_bound():
    found = nb05_where.by_thirds(dense(), size=3)
    for whole, *thirds in zip(*found.values(), strict=True):
        assert whole == pytest.approx(sum(thirds) / 3, abs=2e-4)
    assert sum(found["high"]) > sum(found["low"])  # with few masks an answer is nearly known


def test_one_part_alone_is_rounded():
    whole, every = parts.weights(dense()), parts.weights(nb05_where.rounded("all", "", 2))
    for part in ("layer 2", "v_proj"):
        only = parts.weights(nb05_where.rounded("only", part, 2))
        for name, W in whole.items():
            assert torch.equal(only[name], every[name] if nb05_where.inside(part)(name) else W), name


def test_a_rival_is_what_costs_less_and_a_loss_is_a_multiple_of_the_loss_of_the_float_model():
    rows = [
        {"kind": kind, "part": part, "bits": 2, "nats": [cost, cost + 1], "high": [cost]}
        for kind, part, cost in (("only", "layer 0", 3), ("only", "layer 1", 1), ("float", "", 1), ("all", "", 8))
    ]
    assert nb05_where.rivals(rows, "layer 0", ("layer 0", "layer 1"))["layer 1"].mean == 2
    assert nb05_where.times_float(rows, 2, "high") == 8


def test_bits_go_where_they_save_most_and_never_above_the_mean():
    sizes = {"a": 100, "b": 100, "c": 200}
    costs = {name: {b: scale / 4**b for b in nb05_where.WIDTHS} for name, scale in (("a", 100), ("b", 1), ("c", 1))}
    bits = nb05_where.allocate(costs, sizes, 3)
    assert bits["a"] > bits["b"] >= bits["c"]
    assert sum(bits[n] * sizes[n] for n in sizes) <= 3 * 400
    dealt = nb05_where.shuffled(bits, sizes, 0)
    assert dealt["c"] == bits["c"] and sorted(dealt.values()) == sorted(bits.values())


# ------------------------------------------------------------------------------------------------ activations, errors


def test_one_grid_for_all_of_a_text_does_more_harm_than_one_a_token_and_ff_out_can_be_left_alone():
    loss = {}
    for grain in ("token", "tensor", "token but ff_out"):
        with nb05_activations.rounded(dense(), 4, grain) as model:
            loss[grain] = sum(nb05_methods.bound(model, 0, 6))
    assert loss["token but ff_out"] < loss["token"] < loss["tensor"]


def test_a_model_beside_itself_has_no_errors(monkeypatch):
    monkeypatch.setattr(nb05_errors, "changed", lambda change, bits, seed: dense())
    found = nb05_errors.twin_runs("rtn", 3, 0, 2)
    assert found["flips"] == found["frontier"] == found["mismatch"] == [0.0, 0.0] and found["first"] == [0, 0]


def test_a_control_of_changed_weights_stays_what_it_is_during_a_run():
    one, again, other = (nb05_errors.changed("weights", 3, seed) for seed in (0, 0, 1))
    W, same, another = (next(iter(parts.weights(model).values())) for model in (one, again, other))
    assert torch.equal(W, same) and not torch.equal(W, another)


def test_gptq_stands_beside_the_trained_models_of_its_width():
    rows = nb05_qat.beside_gptq([{"start": "3", "loss": "kl"}], [{"model": "llada-mini", "method": "gptq", "bits": 3}])
    assert [(row["start"], row["loss"]) for row in rows] == [("3", "kl"), ("3", "gptq")]


def trimmed(batch):
    return [tuple(ids[real].tolist()) for ids, real in zip(batch[0], batch[1], strict=True)]


def test_a_pass_of_training_sees_every_problem_once_and_a_seed_its_own_order():
    one, other = nb05_qat.drawn(0), nb05_qat.drawn(1)
    each = nb05_qat.SPLIT // nb05_qat.ROWS
    first, second = ([x for step in steps for x in trimmed(one(step))] for steps in (range(each), (each,)))
    assert len(first) == len(set(first)) == nb05_qat.SPLIT
    assert set(second) < set(first) and second != first[: nb05_qat.ROWS]
    assert set(trimmed(other(0))) != set(trimmed(one(0))) and trimmed(other(0)) == trimmed(nb05_qat.drawn(1)(0))
