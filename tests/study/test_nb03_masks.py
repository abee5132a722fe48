"""What the masks of a diffusion bottle cost: the same texts for all, and controls that take as many keys."""

import pytest
import torch

from dlmlab.attention import backcopy
from dlmlab.attention.backcopy import DIFFUSION, MASK
from dlmlab.study import nb03_bottles
from dlmlab.study import nb03_masks as study
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("share", study.SHARES)
def test_every_text_has_both_jobs_and_as_many_symbols_as_a_control_takes(share):
    xt, x0, asked = study.texts(share)
    jobs, model = nb03_bottles.jobs(xt, x0, causal=False), DIFFUSION.build(0).eval()
    assert len(xt) == study.TEXTS and float((xt == MASK).float().mean()) == pytest.approx(share, abs=0.05)
    for job, at in asked.items():
        assert bool((at.sum(1) == 1).all()) and bool((at <= jobs[job]).all())
        sets = dict(nb03_bottles.changes(model, xt, at, generator=torch.Generator().manual_seed(0)))
        assert set(study.WHAT[job]) <= sets.keys()
        assert torch.equal(sets["mask"].sum(1), sets["mask, control"].sum(1))
        for what in ("top mask", "top mask, other mask", "top mask, control"):
            assert bool((sets[what].sum(1) == 1).all())


def test_controls_are_drawn_alike_for_every_bottle():
    xt, _, asked = study.texts(study.SHARES[0])
    drawn = [
        dict(nb03_bottles.changes(model, xt, asked["idle"], generator=torch.Generator().manual_seed(0)))
        for model in (backcopy.shipped(), DIFFUSION.build(1).eval())
    ]
    for what in ("mask, control", "top mask, control"):
        assert torch.equal(drawn[0][what], drawn[1][what])
    assert not torch.equal(drawn[0]["top mask"], drawn[1]["top mask"])


def test_a_difference_is_paired_text_by_text():
    """Texts differ by far more than the two changes do, in the same way under both."""
    hard = torch.linspace(0, 9, study.GROUPS, dtype=torch.float64)
    rows = [
        {"bottle": "b", "seed": seed, "a": (hard + 0.1 + 0.01 * seed).tolist(), "c": hard.tolist()} for seed in (0, 1)
    ]
    paired, alone = study.difference(rows, "a", "c", bottle="b"), study.difference(rows, "a", bottle="b")
    assert paired.mean == pytest.approx(0.105) and paired.high - paired.low < 0.02 and paired.word == "higher"
    assert alone.high - alone.low > 1 and paired.seeds == pytest.approx((0.1, 0.11))
    with pytest.raises(ValueError, match="no row"):
        study.difference(rows, "a", bottle="none")


def test_groups_are_means_of_consecutive_texts():
    nats = torch.arange(study.TEXTS, dtype=torch.float32)
    size = study.TEXTS // study.GROUPS
    assert study.grouped(nats) == [size * k + (size - 1) / 2 for k in range(study.GROUPS)]
