"""The study of bottles: who is idle and who works, controls that match, and a sink that grows while the test runs."""

from dataclasses import replace

import pytest
import torch

from dlmlab.attention import backcopy
from dlmlab.attention.backcopy import CAUSAL, DIFFUSION, MASK, SYMBOLS, TRIGGERS
from dlmlab.study import nb03_bottles as study
from tests.tiny import one_thread  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------------ who works


def test_a_mask_works_beside_a_trigger_whose_other_side_is_seen():
    t, M = 0, MASK
    x0 = torch.tensor([[9, t, 9, 20, 30, t, 30, 40, 50, t, 50, 60]])
    xt = torch.tensor([[9, t, M, 20, M, t, 30, M, M, t, M, 60]])
    jobs = study.jobs(xt, x0, causal=False)
    assert jobs["work"][0].nonzero()[:, 0].tolist() == [2, 4]
    assert jobs["idle"][0].nonzero()[:, 0].tolist() == [7]  # 8 and 10 ask each other
    causal = {job: at[0].nonzero()[:, 0].tolist() for job, at in study.jobs(x0, x0, causal=True).items()}
    assert causal == {"work": [9], "idle": [8, 10, 11]}  # the first eight see few keys


def test_a_copy_at_the_end_of_a_text_is_no_work():
    x0 = torch.tensor([[9, 20, 20, 30, 0]])
    assert study.jobs(torch.tensor([[MASK, MASK, 20, MASK, 0]]), x0, causal=False)["idle"].tolist() == [
        [True, True] + [False] * 3
    ]
    assert not study.jobs(torch.tensor([[9, 20, 20, MASK, 0]]), x0, causal=False)["work"].any()  # nothing beyond it


@pytest.mark.parametrize("share", study.SHARES)
def test_masks_are_a_share_of_all_tokens_and_never_triggers(share):
    x0 = DIFFUSION.texts(3000, generator=seeded())
    xt = study.masked_texts(x0, share, generator=seeded())
    assert float((xt == MASK).float().mean()) == pytest.approx(share, abs=0.01)
    assert bool((xt[x0 < TRIGGERS] < TRIGGERS).all()) and torch.equal(xt[xt != MASK], x0[xt != MASK])


def test_what_is_drawn_is_of_the_pool_and_as_many_as_asked():
    pool = torch.rand(200, 20, generator=seeded()) < 0.4
    count = torch.randint(0, 12, (200,), generator=seeded())
    found = study.drawn(pool, count, generator=seeded())
    assert not bool((found & ~pool).any()) and torch.equal(found.sum(1), count.minimum(pool.sum(1)))
    many = torch.stack([study.drawn(pool[:1], torch.tensor([2]), generator=seeded(s)) for s in range(300)])
    assert bool(many.any(0)[pool[:1]].all())  # any of them


def test_controls_take_as_many_keys_and_nobody_takes_the_asked_one():
    recipe = replace(DIFFUSION, start=True)
    x0 = recipe.texts(40, generator=seeded())
    xt = study.masked_texts(x0, 0.3, generator=seeded())
    asked = study.drawn(xt == MASK, torch.ones(40), generator=seeded())
    sets = dict(study.changes(recipe.build(0).eval(), xt, asked, generator=seeded()))
    assert {"start", "second", "trigger", "mask", "top mask"} < set(sets)
    for name, keys in sets.items():
        kind, _, control = name.partition(", ")
        assert not bool((keys & asked).any())
        if control:
            assert not bool((keys & sets[kind]).any())
            free = ((xt < SYMBOLS) & (xt >= TRIGGERS) if control == "control" else xt == MASK) & ~asked & ~sets[kind]
            assert torch.equal(keys.sum(1), sets[kind].sum(1).minimum(free.sum(1))), name
            assert bool((free | ~keys).all())
    assert torch.equal(sets["mask"], (xt == MASK) & ~asked) and bool((sets["top mask"] <= sets["mask"]).all())
    assert bool(sets["start"][:, 0].all()) and int(sets["start"].sum()) == 40
    assert torch.equal(sets["second"][:, 1], ~asked[:, 1]) and not bool(sets["second"][:, 2:].any())


# ------------------------------------------------------------------------------------------------ in seconds


@pytest.fixture(scope="module")
def small():
    """A causal bottle of 250 steps, and what is measured of it."""
    model = backcopy.train(replace(CAUSAL, steps=250, rows=16), seed=0)
    return study.judge(model, CAUSAL, seed=0, texts=64)


def test_idle_queries_of_a_causal_bottle_park_on_the_start_mark_and_triggers_look_left(small):
    (to_start,), (working,) = small["0 symbol > start"][0], small["0 trigger > start"][0]
    assert to_start > 0.8 and working < 0.2 and small["0 symbol > start fair"][0][0] > 10
    assert small["0 trigger > left"][0][0] > 0.8 and small["0 copies"] > 0.9
    assert small["0 symbol > left"][0][0] < 0.1


def test_a_parking_place_is_missed_as_a_key_and_as_a_constant_but_tells_nothing(small):
    hidden, empty, dull = (small[f"0 {how} start idle"] for how in ("hide", "empty", "mean"))
    assert hidden > 0.05 and empty > 0.05 and abs(dull) < 1e-3  # the same in every text
    for change in ("hide second", "empty second", "hide start, control", "empty start, control"):
        assert abs(small[f"0 {change} idle"]) < 0.01


def test_triggers_need_the_symbols_they_read_and_not_the_start_mark(small):
    assert all(abs(small[f"0 {how} start work"]) < 0.05 for how in study.HOW)
    assert all(small[f"0 {how} trigger, control work"] > 0.3 for how in study.HOW)


@pytest.fixture(scope="module")
def masked():
    """What is measured of the diffusion bottle that is shipped: one trained here depends on the processor."""
    return study.judge(backcopy.shipped(), DIFFUSION, seed=1, texts=64)


def test_an_idle_head_of_a_diffusion_bottle_looks_at_masks_the_more_there_are(masked):
    few, some, many = (max(masked[f"{share:g} symbol > mask"][0]) for share in study.SHARES[1:])
    assert few < some < many and some > 0.3 and many > 0.6
    assert max(masked["0.07 symbol > mask fair"][0]) > 4
    assert max(masked["0.07 trigger > mask"][0]) < some
    to_masks = dict(masked["filling to masks"])
    assert to_masks[max(to_masks)] > to_masks[1] + 0.2  # as the text is filled in it dissolves


def test_masks_are_a_constant_to_those_that_park_there(masked):
    hidden, empty, dull = (masked[f"0.37 {how} mask idle"] for how in study.HOW)
    assert empty > 0.1 and hidden < empty and abs(dull) < 0.01
    assert max(masked["0.37 work mask > across"][0]) > 0.5 and masked["0.37 copies"] > 0.4


# ------------------------------------------------------------------------------------------------ the table


def test_a_bottle_that_was_trained_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setitem(study.RECIPES, "diffusion", replace(DIFFUSION, steps=2, rows=4))
    model, curve = study.trained("diffusion", 3, folder=tmp_path)
    assert [entry[0] for entry in curve] == [1] and len(curve[0][2]) == 2
    monkeypatch.setattr(backcopy, "train", None)
    again, kept = study.trained("diffusion", 3, folder=tmp_path)
    assert kept == curve
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_slice_is_the_beginning_of_the_curve(monkeypatch):
    monkeypatch.setattr(study, "EVERY", 2)
    monkeypatch.setitem(study.RECIPES, "diffusion", replace(DIFFUSION, rows=4, steps=4))
    whole = study.watched(study.RECIPES["diffusion"], 1)[1]
    assert [entry[0] for entry in whole] == [1, 2, 4]
    assert study.measure("diffusion", 1, size=2) == {"curve": whole[:2]}


def test_filling_a_text_follows_it_to_the_last_mask():
    model = DIFFUSION.build(0).eval()
    x0 = DIFFUSION.texts(3, generator=seeded())
    found = study.filling(model, x0, head=1)
    most = int(backcopy.maskable(x0).sum(1).max())
    left = [n for n, _ in found["filling top is mask"]]
    assert left == list(range(most, 0, -1)) and [n for n, _ in found["filling to masks"]][-1] == 1
    for n, value in found["filling to masks"][2:]:
        assert value == pytest.approx(n / 32, rel=0.1)  # untrained: every token gets its fair share
