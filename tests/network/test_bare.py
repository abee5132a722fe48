"""The forward without the class: the numbers of the class, and only where it can give them."""

import copy

import pytest
import torch

from dlmlab.decode import literal
from dlmlab.decode.sampling import sample
from dlmlab.network.bare import Bare
from dlmlab.network.checkpoint import load
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt
from tests.tiny import one_thread, tiny_ids, tiny_model, tiny_moe  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")


def close(a, b):
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-4, rtol=1e-5)


def full(**changes):
    return tiny_model(n_kv_heads=4, **changes)


@pytest.mark.parametrize("batch", [1, 16, 64])
def test_logits_are_those_of_the_class(batch):
    model, _ = load("llada-mini")
    ids = torch.randint(5, 300, (batch, 61), generator=torch.Generator().manual_seed(batch))
    with torch.inference_mode():
        assert close(Bare(model)(ids).logits, model(ids).logits)


@pytest.mark.parametrize("keep", [slice(2, 5), torch.tensor([0, 3]), torch.tensor([[0, 3], [1, 1], [4, 2]])])
@pytest.mark.parametrize("padded", [False, True])
def test_padding_and_the_positions_that_are_asked_for(keep, padded):
    model, ids = full(), torch.randint(4, 50, (3, 8), generator=torch.Generator().manual_seed(5))
    mask = torch.ones(3, 8, dtype=torch.bool)
    if padded:
        mask[1, :2] = False
    valid = mask if padded else None
    with torch.inference_mode():
        found, expected = (m(ids, valid, logits_to_keep=keep).logits for m in (Bare(model), model))
        whole = Bare(model)(ids, valid).logits
        assert close(found, expected) and close(whole[mask], model(ids, valid).logits[mask])
    assert not close(whole, Bare(full(seed=1))(ids, valid).logits)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("batch", "length"), [(1, 8), (16, 6), (64, 2)])
def test_tokens_are_those_of_the_published_loop(batch, length, threads):
    model, tokenizer = load("llada-mini")
    prompts = [encode_prompt(tokenizer, p.question) for p in tasks.load_split("test")[:batch]]
    assert batch == 1 or len({*map(len, prompts)}) > 1  # unequal lengths
    torch.set_num_threads(threads)
    theirs = literal.generate(model, prompts, gen_length=length)
    for network in (model, Bare(model)):
        assert torch.equal(theirs, sample(network, prompts, gen_length=length).ids)


def test_its_weights_are_those_of_its_beginning():
    model, ids = full(), tiny_ids()
    bare, before = Bare(model), copy.deepcopy(model)
    with torch.inference_mode():
        model.pieces.blocks[0].k_proj.weight.mul_(2)
        assert close(bare(ids).logits, before(ids).logits) and not close(bare(ids).logits, model(ids).logits)


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (full(attention="causal"), "attention='causal'"),
        (tiny_model(), "4 queries on 2 keys"),
        (full().to(torch.bfloat16), "bfloat16"),
        (tiny_moe("full", num_key_value_heads=4), "fused queries"),
    ],
)
def test_what_it_cannot_compute_is_refused(model, word):
    with pytest.raises(ValueError, match=word):
        Bare(model)
