"""Drift: how far keys and values have moved, counted over every position once."""

import pytest
import torch

from dlmlab.decode.drift import drift, kinds, moved, token_agreement
from tests.decode.test_cache import MASK, PROMPTS, G, model, one_thread, run  # noqa: F401 (fixtures)


def test_keys_of_the_first_layer_drift_only_where_the_token_changed(model):  # noqa: F811
    out = run(model, None, prompts=[[1, 2, 3, 4]])
    rows = [r for r in drift(model, out, ages=(1, 3)) if r["layer"] == 0]
    for row in rows:
        if row["kind"] == "committed meanwhile":
            assert row["key"] > 1e-3
        else:
            assert row["key"] == pytest.approx(0, abs=1e-6)


def test_drift_covers_every_position_once_and_leaves_out_the_padding(model):  # noqa: F811
    out, alone = run(model, None), run(model, None, prompts=PROMPTS[1:2])
    assert torch.equal(out.ids[1, -G:], alone.ids[0, -G:])
    short, padded = drift(model, alone), drift(model, out, rows=(1,))
    assert sum(r["n"] for r in short if r["layer"] == 0) == (len(PROMPTS[1]) + G) * G
    for a, b in zip(short, padded, strict=True):
        assert a["n"] == b["n"] and a["key"] == pytest.approx(b["key"], abs=1e-5)


def test_a_position_is_of_one_kind():
    early, late = torch.tensor([1, 2, 3, 3, 5]), torch.tensor([1, 2, 3, 4, 5])
    groups = kinds(early, late, torch.tensor([True, True, False, False, False]), MASK)
    assert [g.int().tolist() for g in groups.values()] == [
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [0, 0, 1, 0, 0],
    ]


def test_agreement_counts_what_is_missing_as_different(model):  # noqa: F811
    a = run(model, None)
    assert token_agreement(a, a) == 1
    b = run(model, None)
    b.answers = [answer[:-1] for answer in a.answers]  # an empty one stays empty
    assert token_agreement(a, b) == pytest.approx(1 - sum(map(bool, a.answers)) / sum(map(len, a.answers)))


@pytest.mark.parametrize("age", [0, 1, 3, 4])
def test_moved_compares_each_state_with_the_one_that_many_later(age):
    x = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(0)) - 0.5  # (S, L, D)
    distance = moved(x, age)
    assert distance.shape == (4 - age, 3)
    for s in range(4 - age):
        for i in range(3):
            a, b = x[s, i], x[s + age, i]
            assert float(distance[s, i]) == pytest.approx(1 - float(a @ b / (a.norm() * b.norm())), abs=1e-6)
