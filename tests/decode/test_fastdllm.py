"""Fast-dLLM's loop: the tokens of ours under the same rule, the forwards it says, and the three cases that differ."""

from types import SimpleNamespace

import pytest
import torch

from dlmlab.decode import fastdllm
from dlmlab.decode.cache import DualCache
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.network import checkpoint
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt
from tests.mocks import OracleDenoiser, RandomDenoiser
from tests.tiny import one_thread as one_thread
from tests.tiny import tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

MASK, EOS, V = 3, 0, 11
SHAPE = {"mask_token_id": MASK, "eos_token_id": EOS, "max_sequence_length": 64}
PROMPTS = [[1, 7, 9, 2, 5], [1, 8], [1, 4, 6], [1, 9, 9, 9, 9, 9, 4]]


class Maskless:
    """A model that never proposes the mask: what is left to differ from ours is the loop."""

    def __init__(self, model):
        self.model, self.config, self.device, self.frame = model, model.config, model.device, model.frame

    def __call__(self, *args, **options):
        out = self.model(*args, **options)
        out.logits[..., MASK] = -torch.inf
        return out


class Recall:
    """A denoiser as a model whose cache is exact: it keeps the whole text and answers for the columns that are asked.

    `inputs`: what each forward read, (B, q) ids.
    """

    def __init__(self, denoiser, *, proposes_mask: bool = False):
        self.denoiser, self.proposes_mask, self.inputs = denoiser, proposes_mask, []
        self.config = SimpleNamespace(mask_token_id=MASK, eos_token_id=EOS, attention="full")
        self.device = torch.device("cpu")

    def __call__(self, ids, valid=None, *, kv=None, positions=None, logits_to_keep=slice(None)):
        self.inputs.append(ids.clone())
        if positions is None:
            self.text, self.valid, positions = ids.clone(), valid, slice(None)
        else:
            self.text[:, positions] = ids
        logits = self.denoiser(self.text, self.valid)
        if not self.proposes_mask:
            logits[..., MASK] = -torch.inf
        return SimpleNamespace(logits=logits[:, positions][:, logits_to_keep])


class Given:
    """Every place has the same proposal wherever it stands: token 5, as probable as `sure` (L,) says, else the rest."""

    def __init__(self, sure, token=5):
        self.sure, self.token = torch.tensor(sure), token

    def __call__(self, ids, valid=None):
        p = ((1 - self.sure) / (V - 2))[None, :, None].repeat(len(ids), 1, V)
        p[..., self.token] = self.sure
        return p.log()


def ours(model, prompts, length, block_length, tau, cache=None):
    sampler = Sampler(commit=Threshold(tau), block_length=block_length, cache=cache)
    return sample(model, prompts, gen_length=length, sampler=sampler)


@pytest.fixture(scope="module")
def mini():
    model, tokenizer = checkpoint.load("llada-mini")
    return model, [encode_prompt(tokenizer, p.question) for p in tasks.load_split("validation")]


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("block_length", [8, 32])
def test_on_the_trained_model_it_writes_our_tokens(mini, batch, block_length):
    model, prompts = mini
    prompts = prompts[:batch]
    theirs = fastdllm.generate(model, prompts, block_length=block_length)
    assert torch.equal(theirs, ours(model, prompts, 40, block_length, 0.9, DualCache()).ids)
    assert batch == 1 or len({len(p) for p in prompts}) > 1


@pytest.mark.parametrize("tau", [0.3, 0.5, 2])
@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[1:2], [p[:2] for p in PROMPTS]], ids=["padded", "one", "equal"])
def test_keys_grow_old_as_in_our_dual_cache(prompts, tau):
    """With random weights stale keys change tokens: only a loop that refreshes when ours does writes the same."""
    for seed in range(3):
        model = Maskless(tiny_model(seed=seed, n_layers=3, **SHAPE))
        theirs = fastdllm.generate(model, prompts, gen_length=12, block_length=6, tau=tau)
        assert torch.equal(theirs, ours(model, prompts, 12, 6, tau, DualCache()).ids)
        assert not torch.equal(theirs, ours(model, prompts, 12, 6, tau).ids)  # stale keys change tokens here


@pytest.mark.parametrize("length, block_length", [(8, 4), (8, 8), (7, 3), (5, 32), (0, 4)])
def test_with_an_exact_cache_it_is_the_threshold_in_blocks(length, block_length):
    for seed in range(4):
        model = Recall(RandomDenoiser(V, seed))
        together = fastdllm.generate(model, PROMPTS, gen_length=length, block_length=block_length, tau=0.4)
        assert torch.equal(together, ours(model, PROMPTS, length, block_length, 0.4).ids)
        for row, prompt in zip(together, PROMPTS, strict=True):
            alone = fastdllm.generate(model, [prompt], gen_length=length, block_length=block_length, tau=0.4)
            assert row[-len(alone[0]) :].tolist() == alone[0].tolist()


def test_a_block_is_one_forward_of_the_text_and_then_forwards_of_the_block_for_all_rows():
    model = Recall(Given([0.95, 0.2, 0.3, 0.4, 0.95, 0.95, 0.95]))
    fastdllm.generate(model, [[1], [1]], gen_length=6, block_length=3)
    # first block: the surest of three unsure places, one a forward; second: all at once
    assert [tuple(ids.shape) for ids in model.inputs] == [(2, 7), (2, 3), (2, 3), (2, 7)]
    assert [(ids[0] == MASK).sum() for ids in model.inputs] == [6, 2, 1, 3]


def test_full_rows_stay_until_the_slowest_is_done_and_ours_leave():
    texts = torch.tensor([[1, 5, 5, 5], [2, 6, 6, 6]])
    sure = OracleDenoiser(texts, V, MASK)

    def slow_second_row(ids, valid=None):
        logits = sure(ids)
        logits[ids[:, 0] == 2] *= 0.05
        return logits

    model = Recall(slow_second_row)
    assert torch.equal(fastdllm.generate(model, texts[:, :1].tolist(), gen_length=3, block_length=3), texts)
    assert [len(ids) for ids in model.inputs] == [2, 2, 2]
    model.inputs.clear()
    assert torch.equal(ours(model, texts[:, :1].tolist(), 3, 3, 0.9).ids, texts)
    assert [len(ids) for ids in model.inputs] == [2, 1, 1]


def test_what_reaches_the_threshold_is_taken_and_the_first_of_equals_where_nothing_does():
    p = torch.tensor([[0.5, 0.95, 0.9], [0.6, 0.6, 0.3], [0.99, 0.2, 0.2], [0.9, 0.9, 0.9]])  # of token 0
    masked = torch.tensor([[True, True, True], [False, True, True], [False, True, True], [False, False, False]])
    logits = torch.stack([p, *[(1 - p) / 9] * 9], -1).log()  # (4, 3, 10)
    chosen = fastdllm.transfer(logits, masked, 0.9 - 1e-6)
    assert chosen.tolist() == [[False, True, True], [False, True, False], [False, True, False], [False] * 3]
    even, everywhere = torch.zeros(1, 3, 2), torch.ones(1, 3, dtype=torch.bool)
    assert fastdllm.transfer(even, everywhere, 0.5).all()  # equal to the threshold is enough


def test_a_mask_inside_a_prompt_may_be_left_over_and_ours_fills_it():
    sure = [0.95, 0.2, 0.95, 0.95, 0.95]
    model = Recall(Given(sure))
    assert fastdllm.generate(model, [[1, MASK]], gen_length=3, block_length=3).tolist() == [[1, MASK, 5, 5, 5]]
    assert ours(model, [[1, MASK]], 3, 3, 0.9).ids.tolist() == [[1, 5, 5, 5, 5]]
    model = Recall(Given([0.95, 0.92, *sure[2:]]))  # sure enough for the first forward
    assert fastdllm.generate(model, [[1, MASK]], gen_length=3, block_length=3).tolist() == [[1, 5, 5, 5, 5]]


def test_where_the_mask_is_proposed_the_published_loop_would_never_end():
    model = Recall(Given([0.5] * 4, token=MASK), proposes_mask=True)
    with pytest.raises(ValueError, match=r"forward 2 proposes the mask, 3, in every place it would fill \(3 are left"):
        fastdllm.generate(model, [[1]], gen_length=3, block_length=3)
    assert bool((ours(model, [[1]], 3, 3, 0.9).ids != MASK).all())


@pytest.mark.parametrize(
    "options, says",
    [
        ({"block_length": 0}, "block_length=0 must be a whole number >= 1"),
        ({"tau": 90}, "tau=90 must be a finite number <= 2"),
        ({"gen_length": -1}, "gen_length=-1"),
        ({"gen_length": 80}, "outside 1..64"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        fastdllm.generate(tiny_model(**SHAPE), [[1, 7]], **options)


def test_a_model_that_does_not_read_both_sides_and_logits_without_a_number_are_refused():
    with pytest.raises(ValueError, match="attention='causal'"):
        fastdllm.generate(tiny_model("causal", **SHAPE), [[1, 7]], gen_length=4)
    broken = Recall(lambda ids, valid: torch.full((*ids.shape, V), torch.nan), proposes_mask=True)
    with pytest.raises(ValueError, match="forward 1, row 0, position 2: logits are NaN"):
        fastdllm.generate(broken, [[1, 7]], gen_length=4)
