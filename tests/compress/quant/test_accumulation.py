"""A model beside itself differs by nothing; beside another one, by what can be counted by hand."""

import pytest
import torch

from dlmlab.compress.quant.accumulation import Jittered, free_running, relative_size, teacher_forced
from dlmlab.compress.registry import compress
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.network.codes import QSpec
from tests.compress.quant.helpers import seeded
from tests.mocks import ModelOf, RandomDenoiser
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
PROMPTS = [[5, 6, 7, 8], [9, 10], [11, 12, 13]]


def always(token: int, order: int = 1):
    """A model that writes one token everywhere, surest at the left (order 1) or at the right (-1)."""

    def logits(ids, valid=None):
        place = torch.arange(ids.shape[1]) * -order
        return torch.eye(20)[token] * (10 + 0.1 * place)[None, :, None].expand(len(ids), -1, 1)

    return ModelOf(logits, mask_id=1, eos_id=0)


@pytest.mark.parametrize("sampler", [Sampler(commit=Fixed(6)), Sampler(commit=Threshold(0.3), block_length=3)])
def test_a_model_beside_itself_differs_by_nothing(sampler):
    model = tiny_model(mask_token_id=1, eos_token_id=0)
    a, b = (sample(model, PROMPTS, gen_length=6, sampler=sampler) for _ in range(2))
    forced, free = teacher_forced(model, model, a, block_length=sampler.block_length), free_running(a, b)
    assert max(forced.kl) < 1e-9 and set(forced.flips) == set(forced.frontier) == {0.0}
    assert set(free.distance) == {0.0} and free.first == [None] * 3 and free.mismatch == [0.0] * 3
    assert forced.rows[0] == 3 and len(forced.rows) == len(a.trace.steps)


def test_a_jittered_twin_differs_and_more_noise_differs_more():
    model, sampler = ModelOf(RandomDenoiser(20, seed=2), mask_id=1, eos_id=0), Sampler(commit=Fixed(6))
    out = sample(model, PROMPTS, gen_length=6, sampler=sampler)
    kl = []
    for size in (0.0, 0.05, 0.5):
        twin = Jittered(model, size, seeded())
        forced = teacher_forced(model, twin, out)
        kl.append(sum(forced.kl))
        assert relative_size(model, twin, tiny_ids(4, 9, vocab=20)) == pytest.approx(size, rel=0.1, abs=1e-9)
    assert kl[0] < 1e-6 < kl[1] < kl[2]
    other = sample(Jittered(model, 0.5, seeded()), PROMPTS, gen_length=6, sampler=sampler)
    assert sum(free_running(out, other).mismatch) > 0
    with pytest.raises(ValueError, match="size"):
        Jittered(model, -1.0, seeded())


def test_rows_of_a_run_add_up_to_all_of_it():
    model, sampler = ModelOf(RandomDenoiser(20, seed=2), mask_id=1, eos_id=0), Sampler(commit=Fixed(6))
    other = ModelOf(RandomDenoiser(20, seed=3), mask_id=1, eos_id=0)
    out = sample(model, PROMPTS, gen_length=6, sampler=sampler)
    each = [teacher_forced(model, other, out, rows=[row]).kl for row in range(3)]
    assert len({kl[0] for kl in each}) == 3
    assert [sum(kl) / 3 for kl in zip(*each, strict=True)] == pytest.approx(teacher_forced(model, other, out).kl)


def test_two_models_that_write_other_tokens_in_the_same_order():
    sampler = Sampler(commit=Fixed(4))
    a, b = (sample(always(token), PROMPTS, gen_length=4, sampler=sampler) for token in (3, 4))
    free = free_running(a, b)
    assert free.distance == [0.25, 0.5, 0.75, 1.0] and free.first == [1, 1, 1] and free.mismatch == [1.0] * 3
    forced = teacher_forced(always(3), always(4), a)
    assert forced.flips == [1.0] * 4 and forced.frontier == [1.0] * 4 and forced.rows == [3] * 4


def test_two_models_that_write_the_same_tokens_in_another_order():
    sampler = Sampler(commit=Fixed(4))
    a, b = (sample(always(3, order), PROMPTS, gen_length=4, sampler=sampler) for order in (1, -1))
    free = free_running(a, b)
    assert free.distance == [0.5, 1.0, 0.5, 0.0] and free.first == [1, 1, 1] and free.mismatch == [0.0] * 3
    forced = teacher_forced(always(3), always(3, -1), a)
    assert forced.flips == [0.0] * 4 and forced.frontier == [1.0, 1.0, 1.0, 0.0]  # at last one mask is left
    blocks = sample(always(3), PROMPTS, gen_length=4, sampler=Sampler(commit=Fixed(4), block_length=2))
    assert teacher_forced(always(3), always(3, -1), blocks, block_length=2).frontier == [1.0, 0.0, 1.0, 0.0]


def test_a_row_alone_has_the_errors_that_it_has_in_company():
    model = tiny_model(mask_token_id=1, eos_token_id=0)
    coarse, sampler = compress(model, "rtn", QSpec(2)), Sampler(commit=Fixed(3))
    together = teacher_forced(model, coarse, sample(model, PROMPTS, gen_length=6, sampler=sampler))
    alone = [teacher_forced(model, coarse, sample(model, [p], gen_length=6, sampler=sampler)) for p in PROMPTS]
    assert together.kl == pytest.approx([sum(x) / 3 for x in zip(*(a.kl for a in alone), strict=True)], rel=1e-3)
    assert together.flips == pytest.approx([sum(x) / 3 for x in zip(*(a.flips for a in alone), strict=True)])
    assert min(together.kl) > 0


def test_runs_of_other_prompts_are_refused():
    a, b = (sample(always(3), p, gen_length=4) for p in (PROMPTS, [[5, 6, 7, 9], *PROMPTS[1:]]))
    with pytest.raises(ValueError, match="same prompts"):
        free_running(a, b)
