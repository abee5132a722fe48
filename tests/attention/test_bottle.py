"""The bottle: texts follow the definition of their language, models learn them, and the judge is judged."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from dlmlab.attention import bottle
from dlmlab.attention.bottle import MASK, RATE, START, SYMBOLS, TRIGGERS, Language
from tests.tiny import one_thread  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def language() -> Language:
    return Language.draw(concentration=0.1, generator=seeded())  # few successors: quickly learned


@pytest.fixture(scope="module")
def texts(language) -> torch.Tensor:
    return language.sample(400, generator=seeded(1))


# ------------------------------------------------------------------------------------------------ the language


def test_a_chain_gives_every_trigger_its_rate_and_the_rest_to_ordinary_symbols(language):
    assert language.next.shape == (SYMBOLS, SYMBOLS) and bool((language.next >= 0).all())
    torch.testing.assert_close(language.next.sum(1), torch.ones(SYMBOLS))
    assert bool((language.next[:, :TRIGGERS] == RATE).all())
    few, even = (Language.draw(concentration=c, generator=seeded()).next[:, TRIGGERS:] for c in (0.1, 100.0))
    assert float(few.amax(1).mean()) > 0.2 > 0.05 > float(even.amax(1).mean())  # few successors, or all alike


def test_after_a_trigger_comes_the_symbol_before_it(texts):
    assert texts.shape == (400, 64) and bool((texts[:, 0] == START).all())
    assert bool(((texts[:, 1:] >= 0) & (texts[:, 1:] < SYMBOLS)).all()) and bool((texts[:, 1] >= TRIGGERS).all())
    trigger = texts[:, 1:-1] < TRIGGERS
    assert torch.equal(texts[:, 2:][trigger], texts[:, :-2][trigger])
    assert bool((texts[:, 2:][trigger] >= TRIGGERS).all())  # so no trigger follows a trigger


def test_symbols_come_at_the_rates_of_the_chain(language, texts):
    before, after = texts[:, 1:-1].flatten(), texts[:, 2:].flatten()
    free = before >= TRIGGERS
    n = int(free.sum())
    for trigger in range(TRIGGERS):
        share = float((after[free] == trigger).double().mean())
        assert share == pytest.approx(RATE, abs=5 * math.sqrt(RATE * (1 - RATE) / n))
    most = int(before[free].bincount(minlength=SYMBOLS).argmax())
    follows = after[before == most]
    seen = follows.bincount(minlength=SYMBOLS) / len(follows)
    assert float((seen - language.next[most]).abs().sum()) / 2 < 3 / math.sqrt(len(follows))  # total variation


def test_language_and_texts_are_functions_of_their_generators(language):
    assert torch.equal(language.next, Language.draw(concentration=0.1, generator=seeded()).next)
    assert not torch.equal(language.next, Language.draw(concentration=0.1, generator=seeded(1)).next)
    state = torch.get_rng_state()
    a, b, c = (language.sample(4, length=20, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c) and a.shape == (4, 20)
    assert torch.equal(torch.get_rng_state(), state)


# ------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize("attention", ["causal", "full"])
def test_a_few_steps_improve_on_the_untrained_model(attention, language, texts):
    state = torch.get_rng_state()
    model, curve = bottle.train(attention, language, seed=0, steps=30, every=15, rows=16)
    assert torch.equal(torch.get_rng_state(), state) and not model.training
    assert [entry["step"] for entry in curve] == [1, 15, 30]
    assert all(0 <= entry["start"] <= 1 for entry in curve)
    with torch.inference_mode():
        before, after = (
            float(bottle.loss(m, texts[:64], generator=seeded())) for m in (bottle.build(attention, seed=0), model)
        )
    assert before == pytest.approx(math.log(SYMBOLS + 2), abs=0.1) == curve[0]["loss"]
    assert after < before - 0.05


def test_training_is_a_function_of_its_seed(language):
    def trained(seed: int, elsewhere: int) -> dict:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(elsewhere)  # what the process drew before has no say
            return bottle.train("full", language, seed=seed, steps=2, rows=4)[0].state_dict()

    a, b, c = trained(1, 0), trained(1, 5), trained(2, 0)
    assert all(torch.equal(a[k], b[k]) for k in a) and not all(torch.equal(a[k], c[k]) for k in a)


# ------------------------------------------------------------------------------------------------ the judges


class Copies:
    """A model that predicts the symbol `back` places before the position it answers for."""

    def __init__(self, attention: str, back: int):
        self.config, self.back, self.keys = SimpleNamespace(attention=attention), back, []

    def __call__(self, ids, attention_mask=None):
        self.keys.append(attention_mask)
        # causal logits at i answer for i + 1, the others for i
        guess = ids.roll(self.back - 1 if self.config.attention == "causal" else self.back, 1)
        return SimpleNamespace(logits=F.one_hot(guess, SYMBOLS + 2).float())


@pytest.mark.parametrize("attention", ["causal", "full"])
def test_copy_accuracy_is_one_for_the_rule_of_the_language_and_low_for_another(attention, texts):
    assert bottle.copy_accuracy(Copies(attention, 2), texts) == 1.0
    assert bottle.copy_accuracy(Copies(attention, 1), texts) == 0.0  # repeats the trigger itself
    assert bottle.copy_accuracy(Copies(attention, 3), texts) < 0.6


@pytest.mark.parametrize("attention", ["causal", "full"])
def test_copy_accuracy_passes_on_which_keys_are_hidden(attention, texts):
    oracle, mask = Copies(attention, 2), torch.rand(400, 64, generator=seeded()) < 0.5
    bottle.copy_accuracy(oracle, texts, mask)
    rows, _ = (texts[:, 2:-1] < TRIGGERS).nonzero().T
    assert torch.equal(oracle.keys[0], mask[rows])


def test_the_symbol_to_predict_is_the_only_one_that_is_masked(texts):
    model, shown = Copies("full", 2), []
    bottle.copy_accuracy(lambda_with(model, shown), texts[:50])
    ids = shown[0]
    at = (ids == MASK).nonzero()
    assert torch.equal(at[:, 0], torch.arange(len(ids)))
    assert bool((ids[at[:, 0], at[:, 1] - 1] < TRIGGERS).all())


def lambda_with(model, shown):
    """Note the ids that a model is shown."""

    def call(ids, keys=None):
        shown.append(ids)
        return model(ids, keys)

    call.config = model.config
    return call


@pytest.mark.parametrize("attention", ["causal", "full"])
def test_the_loss_without_keys_is_the_loss_of_the_model_that_does_not_see_them(attention, texts):
    model, x0 = bottle.build(attention, seed=3), texts[:8]
    for weight in model.parameters():  # otherwise near uniform: nothing to tell apart
        weight.data *= 3
    everything = torch.ones_like(x0, dtype=torch.bool)
    with torch.no_grad():
        plain, all_seen, no_start = (
            float(bottle.loss(model, x0, keys, generator=seeded())) for keys in (None, everything, x0 != START)
        )
        if attention == "causal":
            logits = model(x0, x0 != START).logits[:, :-1]
            wanted = float(F.cross_entropy(logits.flatten(0, 1), x0[:, 1:].flatten()))
            assert no_start == pytest.approx(wanted, rel=1e-4)
    assert all_seen == pytest.approx(plain, rel=1e-5) and abs(no_start - plain) > 1e-4


@pytest.mark.parametrize("attention", ["causal", "full"])
def test_attention_to_the_start_is_averaged_by_what_stands_at_the_query(attention, texts):
    model, ids = bottle.build(attention, seed=3), texts[:6].clone()
    ids[:, 20:30] = MASK
    with torch.no_grad():
        for block in model.model.transformer["blocks"]:  # otherwise near uniform: nothing to tell apart
            block.q_proj.weight *= 30
            block.k_proj.weight *= 30
        maps = model(ids, output_attentions=True).attentions[0]
    sums = {"ordinary": [], "trigger": [], "mask": []}
    for b in range(6):
        for i in range(8, 64):
            kind = "mask" if ids[b, i] == MASK else "trigger" if ids[b, i] < TRIGGERS else "ordinary"
            sums[kind].append(float(maps[b, 0, i, 0]))
    wanted = {kind: sum(values) / len(values) for kind, values in sums.items()}
    assert bottle.attention_to_start(model, ids) == pytest.approx(wanted, rel=1e-4)
    assert math.isnan(bottle.attention_to_start(model, texts[:6])["mask"])


def test_the_two_objectives_differ_in_attention_alone():
    causal, full = (bottle.build(attention, seed=0) for attention in ("causal", "full"))
    assert all(torch.equal(a, b) for a, b in zip(causal.parameters(), full.parameters(), strict=True))
    with pytest.raises(ValueError, match="'both' is unknown"):
        bottle.build("both", seed=0)
