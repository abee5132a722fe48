"""A Llama in the course's class computes what it did."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from dlmlab.attention import sinks
from dlmlab.network.llama import converted
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def llama(**changes) -> LlamaForCausalLM:
    small = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=50, num_key_value_heads=2, tie_word_embeddings=True, **small | changes)
    config._attn_implementation = "eager"
    return LlamaForCausalLM(config).eval()


@torch.inference_mode()
def test_a_converted_llama_gives_the_same_logits_and_the_same_attention():
    theirs = llama(rope_parameters={"rope_type": "default", "rope_theta": 5000.0})
    ours, ids = converted(theirs), torch.randint(50, (3, 11), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(ours(ids).logits, theirs(ids).logits, atol=1e-5)
    assert torch.allclose(sinks.received(ours, ids), sinks.received(theirs, ids), atol=1e-5)


def test_a_llama_that_the_course_does_not_compute_is_refused():
    with pytest.raises(ValueError, match="biases"):
        converted(llama(attention_bias=True))
    with pytest.raises(ValueError, match="is not computed here"):
        converted(llama(head_dim=16))
