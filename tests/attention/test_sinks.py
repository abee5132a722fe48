"""Sinks: every definition and statistic against full maps, worked examples, scipy, and sinks planted on command."""

import math
from types import SimpleNamespace

import pytest
import torch
from scipy import stats
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

from dlmlab.attention import sinks
from dlmlab.network.checkpoint import load
from dlmlab.study.nb03_movement import texts
from tests.tiny import SIZES, one_thread, tiny_ids, tiny_model  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
N, H, L, S = SIZES["n_layers"], SIZES["n_heads"], 24, 12


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(at: list[list[int]], *, length: int = L, strength: float = 2.0) -> torch.Tensor:
    """Make column sums (S, H, L) with sinks at the positions listed for each state."""
    plan = torch.zeros(len(at), length)
    for s, positions in enumerate(at):
        plan[s, positions] = strength
    return sinks.planted_sums(plan, generator=seeded())


def concentrations() -> torch.Tensor:
    """Make rows of positive numbers, from even to one that has nearly all, (20, L)."""
    return torch.rand(20, L, generator=seeded(1), dtype=torch.float64) ** torch.linspace(0.1, 30, 20)[:, None]


def all_maps(model, ids, mask=None) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack(model(ids, mask, output_attentions=True).attentions)  # (N, B, H, L, L)


# ------------------------------------------------------------------------------------------------ any model


def other_model() -> dict:
    """Make models that are not the course's: a small encoder and a small causal model of Transformers."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bert = BertModel(BertConfig(vocab_size=50, attn_implementation="eager", initializer_range=0.3, **sizes))
        llama = LlamaModel(LlamaConfig(vocab_size=50, attn_implementation="eager", num_key_value_heads=2, **sizes))
    return {"full": bert.eval(), "causal": llama.eval()}


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_any_model_that_returns_attentions_can_be_measured(attention):
    model, ids = other_model()[attention], tiny_ids(3, 12)
    maps = sinks.attention_maps(model, ids)
    assert maps.shape == (2, 3, 4, 12, 12)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 3, 4, 12))
    torch.testing.assert_close(sinks.received(model, ids), maps.sum(3))
    real = torch.arange(12) >= torch.tensor([[0], [0], [4]])
    padded = sinks.received(model, ids, real.long())
    assert float(padded[:, 2, :, :4].max()) == 0
    torch.testing.assert_close(padded[:, 2].sum(-1), torch.full((2, 4), 8.0))


def test_maps_of_the_course_s_model_sum_to_what_it_sums_itself():
    model, ids = tiny_model(), tiny_ids(3, 12)
    torch.testing.assert_close(sinks.attention_maps(model, ids).sum(3), sinks.received(model, ids))


@pytest.mark.parametrize("attentions, said", [(None, "eager"), ((None, None), "eager"), ("two", "shapes")])
def test_a_model_without_attentions_is_refused(attentions, said):
    maps = tuple(torch.ones(1, h, 3, 3) for h in (2, 4)) if attentions == "two" else attentions
    with pytest.raises(ValueError, match=said):
        sinks.attention_maps(lambda **given: SimpleNamespace(attentions=maps), tiny_ids(1, 3))


# ------------------------------------------------------------------------------------------------ from whom to whom


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("own_keys", [True, False])
def test_given_attention_and_fair_shares_are_averages_over_the_marked_queries(causal, own_keys):
    model, ids = tiny_model("causal" if causal else "full"), tiny_ids(3, 12)
    maps = all_maps(model, ids)
    queries = torch.rand(3, 12, generator=seeded()) < 0.4
    keys = torch.rand(3, 12, 12, generator=seeded(1)) < 0.15
    keys = keys if own_keys else keys[:, 0]
    shares, fair = torch.zeros(N, H), torch.zeros(N, H)
    n = m = 0
    for b, q in queries.nonzero().tolist():
        marked = keys[b, q] if own_keys else keys[b]
        to = maps[:, b, :, q][..., marked].sum(-1)
        shares, n = shares + to, n + 1
        seen = marked[: q + 1] if causal else marked
        if int(seen.sum()):
            fair, m = fair + to * len(seen) / int(seen.sum()), m + 1
    assert 0 < m < n
    torch.testing.assert_close(sinks.given(maps, queries, keys), shares / n)
    torch.testing.assert_close(sinks.fair_shares(maps, queries, keys, causal=causal), fair / m)


def test_a_uniform_look_is_one_fair_share_of_anything():
    L, triangle = 10, torch.ones(10, 10).tril()
    everyone = torch.ones(1, L, dtype=torch.bool)
    for causal, maps in ((False, torch.full((L, L), 1 / L)), (True, triangle / triangle.sum(-1, keepdim=True))):
        for k in range(L):
            keys = torch.arange(L)[None] == k
            fair = sinks.fair_shares(maps[None, None, None], everyone, keys, causal=causal)
            torch.testing.assert_close(fair, torch.ones(1, 1))
    assert sinks.fair_shares(maps[None, None, None], everyone, ~everyone, causal=True).isnan().all()


# ------------------------------------------------------------------------------------------------ what is captured


@pytest.mark.parametrize("attention", ["full", "causal", "block:3"])
def test_received_attention_is_the_column_sum_of_the_map_and_adds_up_to_the_number_of_queries(attention):
    model, ids = tiny_model(attention), tiny_ids(3, 12)
    sums = sinks.received(model, ids)
    assert sums.shape == (N, 3, H, 12)
    torch.testing.assert_close(sums, all_maps(model, ids).sum(3))
    torch.testing.assert_close(sinks.attention_mass(sums).sum(1), torch.full((3,), 12.0 * N * H))


@pytest.mark.parametrize("attention", ["full", "causal"])
def test_capturing_column_sums_does_not_change_the_logits(attention):
    model, ids = tiny_model(attention), tiny_ids()
    with torch.no_grad():
        plain, read = model(ids).logits, model(ids, output_column_sums=True).logits
    torch.testing.assert_close(read, plain)


def test_padding_neither_gives_nor_gets_attention():
    model, ids = tiny_model(), tiny_ids(1, 8)
    padded = torch.cat([torch.full((1, 3), 7), ids], 1)
    mask = torch.tensor([[False] * 3 + [True] * 8])
    sums = sinks.received(model, padded, mask)
    assert not sums[..., :3].any()
    torch.testing.assert_close(sums[..., 3:], sinks.received(model, ids))  # RoPE knows distances only


# ------------------------------------------------------------------------------------------------ definitions


@pytest.mark.parametrize("causal", [False, True])
def test_mean_attention_is_the_mean_over_the_queries_that_see_a_key(causal):
    model, ids = tiny_model("causal" if causal else "full"), tiny_ids(2, 10)
    maps, alpha = all_maps(model, ids), sinks.mean_attention(sinks.received(model, ids), causal=causal)
    for k in range(10):
        torch.testing.assert_close(alpha[..., k], maps[..., k if causal else 0 :, k].mean(-1))


@pytest.mark.parametrize("causal", [False, True])
def test_uniform_attention_gives_the_uniform_sums(causal):
    model = tiny_model("causal" if causal else "full")
    for block in model.model.transformer["blocks"]:
        torch.nn.init.zeros_(block.q_proj.weight)  # every score is 0
    sums = sinks.received(model, tiny_ids(1, L))
    torch.testing.assert_close(sums, sinks.uniform_sums(L, causal=causal).expand_as(sums))
    assert sinks.uniform_sums(L, causal=causal).sum() == pytest.approx(L)
    alpha = sinks.mean_attention(sums, causal=causal)
    # the first key is seen by all queries, query i gives it 1 / (i + 1)
    first = sum(1 / (i + 1) for i in range(L)) / L if causal else 1 / L
    torch.testing.assert_close(alpha[..., 0], torch.full((N, 1, H), first))
    torch.testing.assert_close(alpha[..., -1], torch.full((N, 1, H), 1 / L))


def test_the_first_position_of_a_causal_map_has_a_harmonic_head_start():
    head_start = float(sinks.uniform_sums(72, causal=True)[0])
    assert head_start == pytest.approx(math.log(72) + 0.5772, abs=0.01)


def test_the_sink_rate_is_the_share_of_heads_above_eps():
    alpha = torch.zeros(2, 1, 2, 3)  # 2 layers of 2 heads
    alpha[0, 0, 0] = torch.tensor([0.5, 0.3, 0.2])  # 0.3 is not above 0.3
    alpha[1, 0, 1] = torch.tensor([0.31, 0.4, 0.29])
    assert sinks.sink_rate(alpha).tolist() == [[0.5, 0.25, 0.0]]
    assert sinks.sink_rate(alpha, eps=0.1).tolist() == [[0.5, 0.5, 0.5]]


def test_a_position_stands_out_when_it_gets_three_more_than_the_mean_of_the_others():
    L = 11
    limit = (L + 3 * (L - 1)) / L  # solves c = (L - c) / (L - 1) + 3
    for c, out in ((limit - 1e-3, False), (limit + 1e-3, True)):
        sums = torch.full((L,), (L - c) / (L - 1))
        sums[4] = c
        assert sinks.stands_out(sums).tolist() == [out and i == 4 for i in range(L)]


def test_means_instead_of_sums_can_never_stand_out():
    sums = torch.zeros(50)
    sums[0] = 50.0  # one position gets all there is
    assert sinks.stands_out(sums)[0] and not sinks.stands_out(sums / 50).any()


def test_above_spread_counts_in_standard_deviations_of_the_row_itself():
    mass = torch.tensor([0.0, 0, 0, 1])  # mean 1/4, sd sqrt(3/16): the last is sqrt(3) of them above
    for std, out in ((1.72, True), (1.74, False)):
        assert sinks.above_spread(mass, std).tolist() == [False, False, False, out]


def test_above_spread_flags_a_tail_of_noise_and_at_most_a_fifth():
    noise = torch.randn(2000, 72, generator=seeded())
    share = float(sinks.above_spread(noise).double().mean())
    assert share == pytest.approx(float(stats.norm.sf(2)), abs=0.004)  # its own mean and sd: nearly a Gaussian tail
    skewed = concentrations()
    assert float(sinks.above_spread(skewed).double().mean(-1).max()) <= 0.2  # Cantelli: 1 / (1 + 2^2)
    for length in (1, 7, 72, 300):
        assert not sinks.above_spread(torch.full((length,), 36.3)).any()


@pytest.mark.parametrize("normalise, uniform", [("none", 0.5), ("per_head", 0.5), ("zscore", 0.0)])
def test_the_soft_score_of_uniform_mass(normalise, uniform):
    score = sinks.soft_sink_score(torch.full((2, 72), 36.0), normalise=normalise)
    torch.testing.assert_close(score, torch.full((2, 72), uniform), atol=1e-4, rtol=0)


def test_the_soft_score_is_the_published_sigmoid():
    mass = torch.tensor([[1.0, 2.0, 3.0, 10.0]])
    mean, sd = 4.0, math.sqrt((9 + 4 + 1 + 36) / 4)
    by_hand = [1 / (1 + math.exp(-5 * (m - mean - 1.5 * sd))) for m in (1, 2, 3, 10)]
    assert sinks.soft_sink_score(mass, std=1.5, normalise="none")[0].tolist() == pytest.approx(by_hand, rel=1e-4)
    by_hand = [1 / (1 + math.exp(-5 * (m - mean - 1.5 * sd) / mean)) for m in (1, 2, 3, 10)]
    assert sinks.soft_sink_score(mass, std=1.5, normalise="per_head")[0].tolist() == pytest.approx(by_hand, rel=1e-4)
    by_hand = [1 / (1 + math.exp(-5 * ((m - mean) / sd - 1.5))) for m in (1, 2, 3, 10)]
    assert sinks.soft_sink_score(mass, std=1.5)[0].tolist() == pytest.approx(by_hand, rel=1e-4)


def test_only_the_standardised_score_knows_no_scale():
    mass = concentrations().float()
    scores = {n: [sinks.soft_sink_score(c * mass, normalise=n) for c in (1, 1e-4, 1000)] for n in ("zscore", "none")}
    for scaled in scores["zscore"][1:]:
        torch.testing.assert_close(scaled, scores["zscore"][0], atol=1e-4, rtol=0)
    step = scores["none"][-1]
    assert bool(((step < 0.01) | (step > 0.99)).float().mean() > 0.95)  # unnormalised mass makes a step of it


# ------------------------------------------------------------------------------------------------ planted sinks


def every_reading(sums: torch.Tensor) -> dict:
    """Hold all instruments against column sums (S, H, L)."""
    m, layers = sums.mean(1), sums.transpose(0, 1)[:, :, None]  # (S, L); (N, B, H, L) with the heads as layers
    return {
        "strongest": m.argmax(-1).tolist(),
        "above_spread": sinks.above_spread(m),
        "stands_out": sinks.stands_out(m),
        "rate": sinks.sink_rate(sinks.mean_attention(layers, causal=False)),  # (S, L)
    }


def test_every_instrument_finds_a_fixed_sink():
    sums = planted([[5]] * S)
    m, read, alone = sums.mean(1), every_reading(sums), torch.eye(L, dtype=torch.bool)[5].expand(S, L)
    assert read["strongest"] == [5] * S
    assert torch.equal(read["above_spread"], alone) and torch.equal(read["stands_out"], alone)
    assert torch.equal(read["rate"], alone.float())  # of every head
    score = sinks.soft_sink_score(m)
    assert torch.equal(score > 0.5, alone)
    assert sinks.centroid(m, alone).tolist() == [5.0] * S


def test_a_sink_that_moves_on_command_is_read_exactly():
    path = [2, 2, 2, 9, 9, 14, 20, 20, 3, 7, 7, 7]
    m = planted([[p] for p in path]).mean(1)
    assert m.argmax(-1).tolist() == path
    for criterion in (sinks.above_spread, sinks.stands_out):
        assert sinks.centroid(m, criterion(m)).tolist() == pytest.approx(path, rel=1e-5)
    without = planted([[4], [], [10], []]).mean(1)  # states without a sink have no centroid
    c = sinks.centroid(without, sinks.stands_out(without))
    assert c[[0, 2]].tolist() == [4.0, 10.0] and c[[1, 3]].isnan().all()


def test_without_a_sink_the_absolute_criteria_stay_silent_and_the_spread_still_flags_some():
    read = every_reading(planted([[]] * 60))
    assert not read["stands_out"].any() and not read["rate"].any()
    assert 0.005 < float(read["above_spread"].float().mean()) < 0.08


def test_permuting_the_other_positions_changes_no_statistic_of_a_sink():
    m = planted([[5]] * S).mean(1)
    others = [i for i in range(L) if i != 5]
    order = torch.arange(L)
    order[others] = torch.tensor(others)[torch.randperm(L - 1, generator=seeded(3))]
    for statistic in (
        lambda m: sinks.stands_out(m)[:, 5],
        lambda m: sinks.above_spread(m)[:, 5],
        lambda m: sinks.soft_sink_score(m)[:, 5],
        lambda m: sinks.centroid(m, sinks.stands_out(m)),
    ):
        torch.testing.assert_close(statistic(m[:, order]), statistic(m))


def test_planted_sums_are_column_sums_and_stronger_plants_draw_more():
    strength = torch.zeros(4, L)
    strength[:, 3] = torch.tensor([0.0, 0.5, 1.0, 2.0])
    sums = sinks.planted_sums(strength, heads=3, generator=seeded())
    assert sums.shape == (4, 3, L)
    torch.testing.assert_close(sums.sum(-1), torch.full((4, 3), float(L)))
    share = sums[..., 3].mean(1) / L
    assert share[0] < 0.1 and share[3] > 0.9 and bool((share.diff() > 0).all())
    again = sinks.planted_sums(strength, heads=3, generator=seeded())
    assert torch.equal(sums, again) and not torch.equal(sums, sinks.planted_sums(strength, generator=seeded())[:, :3])


# ------------------------------------------------------------------------------------------------ nulls


def test_over_base_rate_compares_shares():
    kinds = torch.tensor([[0, 1, 1, 1], [0, 1, 3, 3]])
    mass = torch.tensor([[4.0, 1.0, 1.0, 2.0], [2.0, 1.0, 4.0, 1.0]])  # 16 in all
    lift = sinks.over_base_rate(mass, kinds, 5)
    assert lift[[0, 1, 3]].tolist() == pytest.approx([(6 / 16) / (2 / 8), (5 / 16) / (4 / 8), (5 / 16) / (2 / 8)])
    assert lift[[2, 4]].isnan().all()
    assert sinks.over_base_rate(torch.ones(2, 4), kinds, 5)[[0, 1, 3]].tolist() == pytest.approx([1.0] * 3)
    order = torch.randperm(4, generator=seeded())
    torch.testing.assert_close(sinks.over_base_rate(mass[:, order], kinds[:, order], 5), lift, equal_nan=True)
    share = torch.tensor([2, 4, 0, 2, 0]) / 8
    assert float((lift.nan_to_num() * share).sum()) == pytest.approx(1.0)  # lifts weighted by places add up to 1


# ------------------------------------------------------------------------------------------------ wrong arguments


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m: sinks.soft_sink_score(m, normalise="softmax"), "'softmax' is unknown; known: none, per_head"),
        (lambda m: sinks.attention_mass(m), r"shape \(12, 24\) has 2 dimensions, must be \(N, B, H, L\)"),
        (lambda m: sinks.sink_rate(m), r"must be \(N, B, H, L\)"),
        (lambda m: sinks.over_base_rate(m, torch.zeros(S, L - 1), 1), r"\(12, 24\), kinds \(12, 23\)"),
        (lambda m: sinks.over_base_rate(m, torch.full((S, L), 3), 3), r"kinds 3\.\.3 must lie in 0\.\.2"),
    ],
)
def test_wrong_arguments_are_named_with_the_allowed_range(call, words):
    with pytest.raises(ValueError, match=words):
        call(torch.rand(S, L, generator=seeded()))


# ------------------------------------------------------------------------------------------------ head by head


def test_each_head_may_have_its_own_sink_and_their_mean_none():
    sums = torch.stack([planted([[3 * h]])[0, h] for h in range(H)])[None, None]  # (1, 1, H, L), one sink a head
    marks = sinks.stands_out(sums)
    assert sinks.sinks_a_text(marks).tolist() == [[1.0] * H]
    assert marks[0, 0].int().argmax(-1).tolist() == [3 * h for h in range(H)]
    spread = torch.full((1, 1, 8, L), 0.8)
    spread[0, 0, torch.arange(8), torch.arange(8)] = 0.2 * L + 0.8  # eight heads, eight places
    assert float(sinks.sinks_a_text(sinks.stands_out(spread)).mean()) == 1
    assert float(sinks.stands_out(spread.mean(2)).sum()) == 0
    with pytest.raises(ValueError, match=r"must be \(N, B, H, L\)"):
        sinks.sinks_a_text(sinks.stands_out(sums.mean(2)))


def test_llada_mini_has_a_sink_a_head_that_the_mean_of_its_heads_hides():
    model, _ = load("llada-mini")
    sums = sinks.received(model, texts())
    a_head = sinks.sinks_a_text(sinks.stands_out(sums))
    assert a_head.shape == (6, 6) and float(a_head.mean()) == pytest.approx(1.02, abs=0.02)
    assert float(sinks.stands_out(sums.mean(2)).sum()) == 0


def test_fair_shares_of_a_causal_model_leave_nothing_of_the_triangle():
    """Uniform causal attention is one fair share everywhere; a key with three times its share reads three."""
    L = 16
    uniform = torch.ones(L, L).tril() / torch.arange(1, L + 1)[:, None]
    lift = sinks.lift(uniform[None, None, None], causal=True)
    torch.testing.assert_close(lift, torch.ones(1, 1, 1, L // 2))
    scores = torch.zeros(L, L)
    scores[:, 5] = torch.linspace(0.1, 3, L)
    maps = scores.masked_fill(~torch.ones(L, L).tril().bool(), -torch.inf).softmax(-1)
    wanted = sum(float(maps[i, 5]) * (i + 1) for i in range(8, 16)) / 8
    assert float(sinks.lift(maps[None, None, None], causal=True)[..., 5]) == pytest.approx(wanted, rel=1e-5)
    assert float(maps[:, 15].sum() / uniform[:, 15].sum()) < 3  # the last key is not among the judged ones


def test_fair_shares_of_a_full_map_are_its_column_sums():
    maps = torch.rand(2, 3, 4, 9, 9, generator=torch.Generator().manual_seed(0)).softmax(-1)
    torch.testing.assert_close(sinks.lift(maps, causal=False), maps.sum(-2))
    with pytest.raises(ValueError, match="4 dimensions"):
        sinks.lift(maps[0], causal=True)
