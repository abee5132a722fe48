"""The packaged loop writes the tokens of the published one, on the trained model, however it is run."""

import pytest
import torch

from dlmlab.decode import literal
from dlmlab.decode.commit import Fixed
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.network import checkpoint
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt
from tests.tiny import one_thread as one_thread
from tests.tiny import tiny_model

SHAPE = {"mask_token_id": 3, "eos_token_id": 0, "max_sequence_length": 64}


@pytest.fixture(scope="module")
def mini():
    model, tokenizer = checkpoint.load("llada-mini")
    prompts = [encode_prompt(tokenizer, p.question) for p in tasks.load_split("validation")]
    return model, sorted(prompts, key=len)[:64]  # short ones are quick; their lengths differ too


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 64])
def test_the_fast_loop_writes_the_tokens_of_the_published_one(mini, batch, threads):
    model, prompts = mini
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        steps, length = (4, 8) if batch == 64 else (16, 16)
        expected = literal.generate(model, prompts[:batch], gen_length=length, steps=steps)
        out = sample(model, prompts[:batch], gen_length=length, sampler=Sampler(commit=Fixed(steps)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(out.ids, expected)
    assert batch == 1 or len({len(p) for p in prompts}) > 3


@pytest.mark.parametrize("block_length, steps, float64", [(None, 8, False), (4, 8, True), (4, 4, False), (2, 8, False)])
def test_blocks_and_budgets_agree_too(one_thread, block_length, steps, float64):
    model, prompts = tiny_model(**SHAPE), [[1, 5, 9], [1, 7], [1, 8, 8, 8, 8, 2]]
    options = dict(gen_length=8, steps=steps, block_length=block_length, float64=float64)
    expected = literal.generate(model, prompts, **options)
    out = sample(model, prompts, gen_length=8, sampler=Sampler(commit=Fixed(steps), block_length=block_length))
    assert torch.equal(out.ids, expected)


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="gen_length=8, block_length=3"):
        literal.generate(tiny_model(**SHAPE), [[1]], gen_length=8, block_length=3)
