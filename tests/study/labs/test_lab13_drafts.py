"""Drafts: which tokens are in question, and that what is noted of them is of them."""

import torch

from dlmlab.network.checkpoint import load
from dlmlab.study.labs import lab13_drafts as source


def test_in_question_is_the_answer_up_to_and_with_its_first_end_mark():
    x = torch.tensor([0, 5, 7, 3, 0, 4, 0])  # an end mark in the prompt does not count
    assert source.places_of(x, 2, 0).nonzero()[:, 0].tolist() == [2, 3, 4]
    assert source.places_of(torch.tensor([1, 2, 3]), 1, 0).nonzero()[:, 0].tolist() == [1, 2]
    assert source.places_of(torch.tensor([1, 0, 0]), 1, 0).nonzero()[:, 0].tolist() == [1]


def test_a_draft_holds_its_own_confidences():
    """Three drafts of different lengths: what a batch notes is what a text alone gives."""
    _, tokenizer = load("llada-mini")
    found = source.drafts("threshold 0.5", size=3)
    seen = source.visible("threshold 0.5", size=3)
    stored, again, alone, known = (
        source.confidence("threshold 0.5", by, 3) for by in ("stored", "re-evaluated", "leave-one-out", "truth")
    )
    for i, d in enumerate(found):
        assert len(d.x) == len(d.places) == len(stored[i]) == len(seen[i].present) and d.forwards >= 1
        assert d.x[d.places][-1] == tokenizer.eos_token_id and int(d.places.sum()) >= 3
        p = source.denoiser()(d.x[None])[0].clone()
        p[:, tokenizer.mask_token_id] = -torch.inf
        own = p.softmax(-1).gather(1, d.x[:, None])[:, 0]
        assert torch.allclose(again[i], own, atol=1e-4)
        assert bool((alone[i][~d.places] == 1).all()) and bool((known[i][d.places] == d.right[d.places].float()).all())
        assert 0 < float(stored[i][d.places].min()) <= 1
