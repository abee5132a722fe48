"""Blocks of lab 16: that only the mixing differs, that the causal forms are one function, and what is repeated."""

import pytest
import torch

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import Block, rope_table
from dlmlab.study.labs import lab16_blocks as blocks


def test_with_softmax_it_is_the_course_s_own_block():
    torch.manual_seed(0)
    block, h = Block(LLaDAConfig()), torch.randn(1, 9, blocks.HEADS * blocks.WIDTH)
    rope = rope_table(torch.arange(9), blocks.WIDTH, 10_000.0)
    with torch.inference_mode():
        ours = blocks.block_with(9)(blocks.SOFTMAX)
        own, _ = block(h, rope, None, lambda k, v: (k, v), None, "fused")
        assert torch.allclose(ours, own, atol=1e-5)
        assert not torch.allclose(ours, blocks.block_with(9)(blocks.FORMS["block"]["nothing"]), atol=1e-3)


@pytest.mark.parametrize("group", ("causal", "both sides"))
@pytest.mark.parametrize("length", (1, 9, 70))
def test_forms_that_are_timed_are_one_function(group, length):
    outs = {name: blocks.mixing(length)(mix) for name, mix in blocks.FORMS[group].items() if name != "softmax"}
    for name, out in outs.items():
        assert torch.allclose(out, outs["matrix"], atol=1e-3), name


def test_counts_are_repeated_and_times_are_not():
    for key in blocks.settings():
        assert blocks.run(**key, size=0).keys() == {"counts"}
    assert blocks.counted("block", 96)["nothing"] == pytest.approx(12 / 13)
    counts = blocks.counted("causal", 2048)
    assert counts["recurrence"] < counts["chunks of 8"] < counts["chunks of 64"] < counts["chunks of 256"] < 1


def test_headlines_name_every_ratio():
    row = {"group": "block", "length": 96, "ratio": {"nothing": [1.2, 1.1, 1.3, 1.0, 1.4]}}
    found = blocks.headlines([row])
    assert found["block, nothing, 96"] == 1.2 and found["block, nothing, 96, most"] == 1.4 and len(found) == 5
