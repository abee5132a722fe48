"""Speculation writes what the base rule writes, in its order, with fewer forwards; what it cannot be exact for it
refuses."""

import pytest
import torch

from dlmlab.decode.cache import DualCache
from dlmlab.decode.commit import EntropyBound, Factor, Fixed, Threshold
from dlmlab.decode.edit import Replace
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.decode.speculation import confirmed
from dlmlab.network.checkpoint import load
from dlmlab.task.layout import encode_prompt
from dlmlab.task.tasks import load_split
from tests.mocks import CountingDenoiser, OracleDenoiser, RandomDenoiser, ToyDenoiser, UniformDenoiser
from tests.tiny import tiny_model

V, G = 11, 8
DEPTHS = (1, 3, 20)
SAMPLERS = {
    "probability": {},
    "rounded": {"score": "rounded"},
    "margin, blocks": {"score": "margin", "block_length": 3},
    "entropy, aligned blocks": {"score": "neg_entropy", "block_length": 3, "aligned": True},
    "left to right": {"score": "left_to_right"},
    "left to right, stops": {"score": "left_to_right", "stop_at_eos": True},
    "stops": {"stop_at_eos": True},
    "end marks last": {"eos_last": True},
    "end marks last, blocks, stops": {"eos_last": True, "stop_at_eos": True, "block_length": 4},
    "forbidden": {"forbid": (3, 5)},
}
every_sampler = pytest.mark.parametrize("options", [pytest.param(s, id=n) for n, s in SAMPLERS.items()])
every_depth = pytest.mark.parametrize("depth", DEPTHS)


def prompts(mask_id: int) -> list[list[int]]:
    """Unequal prompts, two of them with masks inside."""
    other = 10 - mask_id
    return [[other, 3, 1, 4 - mask_id // 3], [5], [2, mask_id, 4, mask_id, mask_id, 1], [mask_id, 7]]


def denoisers(mask_id: int) -> dict:
    """Mock models: arbitrary ones, some with exact ties of tokens and of positions, a fixed one, an oracle."""
    random = {"random": RandomDenoiser(V, 1)}
    ties = {f"ties {seed}": RandomDenoiser(V, seed, levels=3, twins=True) for seed in range(2)}
    texts = torch.arange(5)[:, None].add(torch.arange(6 + G)).remainder(9) + 1 - mask_id // 10
    return random | ties | {"uniform": UniformDenoiser(V), "oracle": OracleDenoiser(texts, V, mask_id)}


def flat(steps: list[list[int]]) -> list[int]:
    return [column for step in steps for column in step]


def check_same(fast, slow) -> None:
    """Assert the same tokens, committed in the same order with the same confidence, and replayed from the trace."""
    assert torch.equal(fast.ids, slow.ids) and fast.answers == slow.answers
    for row in range(len(slow.ids)):
        assert flat(fast.trace.order(row)) == flat(slow.trace.order(row))
        assert torch.equal(fast.trace.states(row)[-1], slow.ids[row])
        commits = [
            torch.cat([step.confidence[step.at[:, 0] == row] for step in out.trace.steps]) for out in (fast, slow)
        ]
        assert torch.equal(*commits)
        ends = [torch.cat([s.filled[s.filled[:, 0] == row, 1] for s in out.trace.steps]) for out in (fast, slow)]
        assert torch.equal(*ends)


@every_sampler
@pytest.mark.parametrize("mask_id, eos_id", [(10, 0), (0, 4)], ids=["mask 10, eos 0", "mask 0, eos 4"])
def test_tokens_and_order_are_those_of_the_base_rule(options, mask_id, eos_id):
    for denoiser in denoisers(mask_id).values():
        request = dict(gen_length=G, mask_id=mask_id, eos_id=eos_id)
        slow = sample(denoiser, prompts(mask_id), sampler=Sampler(**options), **request)
        for depth in DEPTHS:
            fast = sample(denoiser, prompts(mask_id), sampler=Sampler(**options, speculate=depth), **request)
            check_same(fast, slow)
            assert all(a <= b for a, b in zip(fast.trace.nfe, slow.trace.nfe, strict=True))
            assert all(a >= b for a, b in zip(fast.trace.rows_through, slow.trace.rows_through, strict=True))
            if depth == 1:
                assert fast.trace.nfe == slow.trace.nfe == fast.trace.rows_through


@every_depth
def test_the_model_is_asked_for_no_more_than_the_trace_bills(depth):
    denoiser = CountingDenoiser(RandomDenoiser(V))
    out = sample(denoiser, prompts(10), sampler=Sampler(speculate=depth), gen_length=G, mask_id=10, eos_id=0)
    assert len(denoiser.batches) == len(out.trace.steps)
    assert sum(denoiser.batches) == sum(out.trace.rows_through)
    assert sum(denoiser.batches) * out.ids.shape[1] == out.trace.tokens_through
    for ids in denoiser.inputs:
        assert (ids == 10).any(1).all()  # a full text is never read
        assert len(ids.unique(dim=0)) == len(ids)  # nor the same state twice


class Product:
    """Distributions that never change: position i takes token i mod 9, the surer the further left."""

    def __call__(self, ids, valid=None):
        length = torch.arange(ids.shape[1])
        logits = 3.0 * torch.nn.functional.one_hot(length % 9, V) * (1 - length[:, None] / 100)
        return logits.expand(len(ids), -1, -1)


@pytest.mark.parametrize("depth, forwards", [(1, 40), (2, 21), (4, 11), (8, 6), (16, 4), (40, 2)])
def test_a_model_that_never_changes_its_mind_takes_one_forward_and_one_for_each_draft(depth, forwards):
    """1 + ceil((G - 1) / k) forwards, and no row in vain."""
    out = sample(Product(), [[1], [2]], sampler=Sampler(speculate=depth), gen_length=40, mask_id=10, eos_id=9)
    assert out.trace.nfe == [forwards] * 2 and out.trace.rows_through == [40] * 2
    assert all(len(step.refused) == 0 for step in out.trace.steps)


class Swap:
    """Order 0, 1, 2, ... of certain tokens, but once three are written the fifth column is surer than the fourth."""

    def __call__(self, ids, valid=None):
        sure = torch.linspace(6, 4, ids.shape[1]).repeat(len(ids), 1)
        sure[(ids != 10).sum(1) >= 3, 4] = 9.0
        return sure[..., None] * torch.nn.functional.one_hot(torch.full_like(ids, 7), V)


def test_two_places_that_swap_are_noticed_although_the_tokens_are_the_same():
    out = sample(Swap(), [[]], sampler=Sampler(speculate=6), gen_length=6, mask_id=10, eos_id=0)
    check_same(out, sample(Swap(), [[]], sampler=Sampler(), gen_length=6, mask_id=10, eos_id=0))
    assert flat(out.trace.order()) == [0, 1, 2, 4, 3, 5]
    assert [len(step) for step in out.trace.order()] == [1, 3, 2]
    assert [step.refused.tolist() for step in out.trace.steps] == [[], [[0, 3, 7]], []]
    assert [step.rows_through.tolist() for step in out.trace.steps] == [[1], [5], [2]]


def test_what_is_confirmed_is_compared_by_position_and_token_up_to_the_first_refusal():
    drafted = torch.tensor([[[5, 70], [6, 80], [7, 90]]])
    ruled = torch.tensor([[[5, 70], [6, 80], [7, 90], [8, 60]]])
    assert confirmed(drafted, ruled).tolist() == [4]
    for j, part, count in ((0, 0, 1), (0, 1, 1), (1, 0, 2), (1, 1, 2), (2, 0, 3), (2, 1, 3)):
        other = ruled.clone()
        other[0, j, part] += 1
        assert confirmed(drafted, other).tolist() == [count]
    assert confirmed(torch.empty(3, 0, 2).long(), torch.ones(3, 1, 2).long()).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"commit": Threshold(0.9)}, "several tokens"),
        ({"commit": Fixed(10)}, "several tokens"),
        ({"commit": Factor(1.0)}, "several tokens"),
        ({"commit": EntropyBound(0.1)}, "several tokens"),
        ({"cache": DualCache()}, "keys of one state"),
        ({"guidance": 1.0}, "a second text"),
        ({"temperature": 0.5}, "chance"),
        ({"score": "random"}, "chance"),
        ({"edit": Replace(0.9)}, "undo"),
        ({"cache": DualCache(), "commit": Threshold(0.9)}, "several tokens.*; cache="),
    ],
)
def test_what_speculation_cannot_be_exact_for_is_refused_with_the_reason(options, words):
    with pytest.raises(ValueError, match=f"speculate=4 .*{words}"):
        Sampler(**options, speculate=4)


@pytest.mark.parametrize("depth", [0, -1, 2.5, True, "8"])
def test_a_depth_that_is_none_is_refused(depth):
    with pytest.raises(ValueError, match="speculate"):
        Sampler(speculate=depth)


def test_logits_from_which_no_token_can_be_chosen_are_reported():
    def broken(ids, valid=None):
        logits = ToyDenoiser()(ids, valid)
        logits[(ids != 10).sum(1) >= 4] = float("nan")
        return logits

    with pytest.raises(ValueError, match="row 0.*NaN"):
        sample(broken, [[1, 2]], sampler=Sampler(speculate=4), gen_length=G, mask_id=10, eos_id=0)


def test_an_empty_answer_or_a_full_prompt_needs_no_forward():
    out = sample(RandomDenoiser(V), [[1, 2]], sampler=Sampler(speculate=4), gen_length=0, mask_id=10, eos_id=0)
    assert out.trace.steps == [] and out.ids.tolist() == [[1, 2]]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 16, 64])
def test_batches_of_any_size_and_one_and_two_threads_write_the_same_tokens(batch, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = tiny_model()
        rows = [[(3 * i + j) % 48 for j in range(1 + i % 7)] for i in range(batch)]  # unequal prompts
        slow = sample(model, rows, sampler=Sampler(), gen_length=10)
        fast = sample(model, rows, sampler=Sampler(speculate=4), gen_length=10)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(fast.ids, slow.ids) and fast.answers == slow.answers
    assert max(fast.trace.nfe) <= 10


@pytest.mark.parametrize("score", ["probability", "rounded", "left_to_right"])
def test_the_course_model_writes_the_same_texts_one_by_one_and_in_a_batch(score):
    """Texts, not orders: nearly half of this model's commits are ties in float32."""
    model, tokenizer = load("llada-mini")
    easy = [p for p in load_split("validation") if p.steps == 1][:8]
    rows = [encode_prompt(tokenizer, p.question) for p in easy]
    slow = sample(model, rows, sampler=Sampler(score=score), gen_length=9)
    together = sample(model, rows, sampler=Sampler(score=score, speculate=4), gen_length=9)
    alone = [sample(model, [row], sampler=Sampler(score=score, speculate=4), gen_length=9) for row in rows[:3]]
    assert together.answers == slow.answers
    assert [out.answers[0] for out in alone] == slow.answers[:3]
    assert sum(together.trace.nfe) < sum(slow.trace.nfe)


@pytest.mark.parametrize("attention", ["full", "block:4"])
@pytest.mark.parametrize("depth", [2, 8])
def test_a_network_is_decoded_alike_with_unequal_prompts(attention, depth):
    """A random network in float64, where a batch of another size does not decide between two places."""
    model = tiny_model(attention=attention).double()
    options = {"block_length": 4, "aligned": True} if attention != "full" else {}
    batch = [[3, 5, 7, 2, 9], [4], [6, 8, 2]]
    slow = sample(model, batch, sampler=Sampler(**options), gen_length=12)
    fast = sample(model, batch, sampler=Sampler(**options, speculate=depth), gen_length=12)
    assert torch.equal(fast.ids, slow.ids)
    assert all(flat(fast.trace.order(i)) == flat(slow.trace.order(i)) for i in range(3))
