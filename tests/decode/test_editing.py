"""The short loop of one block: it writes what the sampler writes, and ends however often a model changes its mind."""

import pytest
import torch

from dlmlab.decode.commit import Threshold
from dlmlab.decode.edit import Replace
from dlmlab.decode.editing import write_block
from dlmlab.decode.sampling import Sampler, sample
from tests.tiny import one_thread, tiny_model, tiny_moe

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("tau, edit_tau, extra", [(0.95, 0.9, 16), (0.3, 0.25, 4), (0.5, 0.0, 2)])
@pytest.mark.parametrize("make", [tiny_model, lambda: tiny_moe("full")], ids=["llada", "llada2"])
def test_it_writes_what_the_sampler_writes(make, tau, edit_tau, extra):
    model, prompt, L = make(), [7, 5, 9, 11], 10
    mask_id, rule = model.config.mask_token_id or 0, Replace(edit_tau, extra)
    sampler = Sampler(commit=Threshold(tau, strict=True), edit=rule)
    wanted = sample(model, [prompt], gen_length=L, sampler=sampler, mask_id=mask_id, eos_id=49)
    x = torch.tensor(prompt + [mask_id] * L)
    with torch.no_grad():
        found, forwards = write_block(
            lambda ids: model(ids[None]).logits[0], x, mask_id, tau=tau, edit_tau=edit_tau, extra=extra
        )
    assert found.tolist() == wanted.ids[0].tolist() and forwards == wanted.trace.nfe[0]
    assert x[-1] == mask_id  # the input is left alone


def test_a_model_that_never_keeps_a_word_is_stopped():
    calls = []

    def restless(x):
        calls.append(x)
        return 20.0 * torch.nn.functional.one_hot((x + 1) % 3, 4).float()

    out, forwards = write_block(restless, torch.full((5,), 3), 3, extra=7)
    assert forwards == len(calls) == 1 + 7 and not bool((out == 3).any())
    assert write_block(restless, torch.tensor([0, 1]), 3)[1] == 0  # no mask, no forward
