"""The bottles: texts follow the definition of their language, what is forced holds, and a sink grows in seconds."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dlmlab.attention import backcopy, sinks
from dlmlab.attention.backcopy import CAUSAL, DIFFUSION, MASK, RECIPES, SHORT, START, SYMBOLS, TRIGGERS, Forced
from dlmlab.attention.trajectories import value_norms
from dlmlab.network.model import LLaDAModelLM
from tests.tiny import one_thread  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sharpened(recipe) -> LLaDAModelLM:
    """Build a model whose attention is far from uniform before any training."""
    model = recipe.build(0).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 8 if weight.ndim == 2 else 1
    return model


# ------------------------------------------------------------------------------------------------ the language


def test_after_a_trigger_comes_the_symbol_before_it_and_never_a_trigger():
    x = backcopy.draw(500, 40, rate=0.1, generator=seeded())
    assert x.shape == (500, 40) and bool(((x >= 0) & (x < SYMBOLS)).all()) and bool((x[:, 0] >= TRIGGERS).all())
    trigger = x[:, 1:-1] < TRIGGERS
    assert int(trigger.sum()) > 3000
    assert torch.equal(x[:, 2:][trigger], x[:, :-2][trigger]) and bool((x[:, 2:][trigger] >= TRIGGERS).all())


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_symbols_are_independent_of_what_stands_before_them(rate):
    x = backcopy.draw(4000, 32, rate=rate, generator=seeded())
    free = x[:, :-1] >= TRIGGERS  # what follows is drawn
    before, after = x[:, :-1][free], x[:, 1:][free]
    n = len(after)
    assert float((after < TRIGGERS).sum()) / n == pytest.approx(TRIGGERS * rate, abs=4 * (0.25 / n) ** 0.5)
    counts = torch.zeros(SYMBOLS, SYMBOLS).index_put_((before, after), torch.ones(n), accumulate=True)[TRIGGERS:]
    expected = counts.sum(1, keepdim=True) * torch.tensor(
        [rate] * TRIGGERS + [(1 - TRIGGERS * rate) / (SYMBOLS - TRIGGERS)] * (SYMBOLS - TRIGGERS)
    )
    degrees = len(counts) * (SYMBOLS - 1)
    chi = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi - degrees) < 5 * (2 * degrees) ** 0.5  # a table of pairs would be thousands above


def test_a_rate_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"rate=0.4 of each trigger must lie in \[0, 1/3\]"):
        backcopy.draw(1, 4, rate=0.4, generator=seeded())


def test_a_start_mark_stands_in_front():
    x = replace(DIFFUSION, start=True).texts(300, generator=seeded())
    assert x.shape == (300, 33) and bool((x[:, 0] == START).all()) and bool((x[:, 1:] < SYMBOLS).all())
    assert torch.equal(x[:, 1:], DIFFUSION.texts(300, generator=seeded()))


# ------------------------------------------------------------------------------------------------ the models


def test_recipes_build_the_course_s_own_model_and_seeds_matter():
    for name, recipe in RECIPES.items():
        model = recipe.build(0)
        assert isinstance(model, LLaDAModelLM) and isinstance(model, Forced) == bool(recipe.force), name
        assert (model.config.n_layers, model.config.n_heads) == (recipe.layers, recipe.heads)
    a, b, c = (DIFFUSION.build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[k], b[k]) for k in a) and not all(torch.equal(a[k], c[k]) for k in a)
    for name, recipe in RECIPES.items():  # a variant is a bottle with one thing changed, an extra key is two
        base = DIFFUSION if name == "diffusion" else SHORT
        changed = [key for key, value in vars(recipe).items() if value != vars(base)[key]]
        assert name == "causal" or len(changed) <= 1 + (name == "extra key"), name
    with pytest.raises(ValueError, match="force='gold' is unknown; known: '', 'hidden masks'"):
        replace(DIFFUSION, force="gold").build(0)


def half_masked(recipe, B: int = 6) -> torch.Tensor:
    x = recipe.texts(B, generator=seeded())
    return torch.where(backcopy.maskable(x) & (torch.rand(x.shape, generator=seeded(1)) < 0.5), MASK, x)


def test_no_other_query_attends_to_a_hidden_mask():
    recipe = RECIPES["hidden masks"]
    model, xt = sharpened(recipe), half_masked(recipe)
    others = ~torch.eye(xt.shape[1], dtype=torch.bool).expand(len(xt), -1, -1)
    masks = others & (xt == MASK)[:, None]
    everyone = torch.ones_like(xt, dtype=torch.bool)
    assert float(sinks.given(sinks.attention_maps(model, xt), everyone, masks).abs().max()) == 0
    free = sharpened(DIFFUSION)
    assert float(sinks.given(sinks.attention_maps(free, xt), everyone, masks).min()) > 0.01


def test_an_extra_key_hands_over_nothing():
    recipe = RECIPES["extra key"]
    model, xt = sharpened(recipe), half_masked(recipe)
    norms = value_norms(model, xt)
    assert float(norms[..., 0].max()) == 0 and float(norms[..., 1:].min()) > 0
    keys = sinks.given(sinks.attention_maps(model, xt), xt < SYMBOLS, xt == START)
    assert float(keys.min()) > 0  # it is attended to all the same


@pytest.mark.parametrize("name", ["hidden masks", "extra key"])
def test_a_text_reads_alike_alone_and_in_company(name):
    model, xt = sharpened(RECIPES[name]), half_masked(RECIPES[name])
    with torch.no_grad():
        torch.testing.assert_close(model(xt[2:3]).logits, model(xt).logits[2:3], rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------------------------------------ training


def test_the_loss_is_that_of_next_symbols_or_of_masked_ones_that_are_no_triggers(monkeypatch):
    x0 = CAUSAL.texts(4, generator=seeded())
    model = sharpened(CAUSAL)
    logits = model(x0).logits
    wanted = [F.cross_entropy(logits[b, i], x0[b, i + 1]) for b in range(4) for i in range(64)]
    torch.testing.assert_close(backcopy.loss(model, x0, generator=seeded()), torch.stack(wanted).mean())
    x0, seen = replace(DIFFUSION, start=True).texts(64, generator=seeded()), []
    model = sharpened(DIFFUSION)
    model.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    value = backcopy.loss(model, x0, generator=seeded())
    (xt,) = seen
    masked = xt == MASK
    assert not bool(masked[x0 < TRIGGERS].any()) and not bool(masked[x0 == START].any())
    assert 0.3 < float(masked.float().mean()) < 0.5  # of all times, of three tokens in four
    torch.testing.assert_close(value, F.cross_entropy(model(xt).logits[masked], x0[masked]))


def test_training_repeats_itself_and_tells_every_step():
    told = []
    short = replace(DIFFUSION, steps=3, rows=4)
    a = backcopy.train(short, seed=1, watch=lambda step, model, loss: told.append((step, loss))).state_dict()
    b, c = (backcopy.train(short, seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(a[k], b[k]) for k in a) and not all(torch.equal(a[k], c[k]) for k in a)
    assert [step for step, _ in told] == [1, 2, 3] and all(3 < loss < 6 for _, loss in told)


def test_one_function_each_trains_a_bottle():
    for make, recipe in ((backcopy.causal, CAUSAL), (backcopy.diffusion, DIFFUSION)):
        made, wanted = make(5, steps=1).state_dict(), backcopy.train(replace(recipe, steps=1), seed=5).state_dict()
        assert all(torch.equal(made[k], wanted[k]) for k in made)


def test_the_shipped_bottle_is_trained_and_parks_on_masks():
    model = backcopy.shipped()
    x0 = DIFFUSION.texts(64, generator=seeded(3))
    xt = torch.where(backcopy.maskable(x0) & (torch.rand(x0.shape, generator=seeded(4)) < 0.15), MASK, x0)
    with torch.no_grad():
        nats = backcopy.loss(model, x0, generator=seeded())
    assert float(nats) < 3.7  # log 64 is 4.2: it copies
    to_masks = sinks.given(sinks.attention_maps(model, xt), (xt >= TRIGGERS) & (xt < SYMBOLS), xt == MASK)
    assert float(to_masks[0].max()) > 0.5


def test_words_of_a_text_are_one_a_token():
    x = torch.tensor([START, 9, 0, 9, MASK, 17])
    assert backcopy.words(x) == ["^", "9", "T0", "9", "▢", "17"]
