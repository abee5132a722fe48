"""What `04_smaller` takes out of the model: half of the bytes, the units that were chosen, and its differences."""

import pytest

from dlmlab.compress import removal
from dlmlab.network import parts
from dlmlab.study import nb04_smaller as smaller
from dlmlab.study.judging import dense, texts
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("chosen", [smaller.SELECTED, smaller.RANDOM])
@pytest.mark.parametrize("mix", smaller.MIXES)
def test_a_mix_holds_at_most_half_of_the_bytes_and_not_much_less(mix, chosen):
    keep, small = smaller.MIXES[mix], smaller.removed(smaller.MIXES[mix], chosen, 0)
    assert [parts.shape(block) for block in parts.blocks(small)] == [(keep.heads, keep.neurons)] * keep.layers
    assert 0.48 < smaller.block_bytes(small) / smaller.block_bytes(dense()) <= 0.5


def test_chosen_layers_are_those_of_the_least_influence_and_random_ones_follow_the_seed():
    def left(chosen: str, seed: int) -> list[int]:
        norms = [block.attn_norm.weight for block in parts.blocks(dense())]
        kept = [block.attn_norm.weight for block in parts.blocks(smaller.removed(smaller.Kept(layers=3), chosen, seed))]
        return [i for i, norm in enumerate(norms) if any(bool((norm == k).all()) for k in kept)]

    influence = removal.block_influence(dense(), texts("uniform", 0, "answer"))
    assert left(smaller.SELECTED, 0) == sorted(sorted(range(6), key=influence.__getitem__)[3:])
    drawn = {tuple(left(smaller.RANDOM, seed)) for seed in smaller.SEEDS}
    assert len(drawn) > 1 and tuple(left(smaller.RANDOM, 0)) in drawn


def test_no_steps_leave_the_model_as_it_was_cut():
    assert smaller.made(smaller.DENSE, "", 0, steps=0) is dense()


def test_differences_are_to_the_dense_model_and_to_every_control():
    answers = {("dense", "", 0): "1111"}
    for mix in smaller.MIXES:
        answers |= {
            (mix, smaller.SELECTED, smaller.STEPS): "1100",
            (mix, smaller.SELECTED, 0): "0000",
            (mix, smaller.RANDOM, smaller.STEPS): "1000",
        }
    rows = [
        key | {"correct": answers[key["mix"], key["chosen"], key["steps"]], "block_bytes": 1 if key["chosen"] else 2}
        for key in smaller.settings()
    ]
    found = smaller.headlines(rows)
    for mix in smaller.MIXES:
        points = {name: found[f"{mix} - {name}, points"] for name in ("dense", "random", "before")}
        assert points == {"dense": -50, "random": 25, "before": 50}
        assert found[mix] == 0.5 and found[f"{mix}, bytes"] == 0.5
