"""Models small enough for a test, with weights that matter: norms and projections far from their start values."""

from collections.abc import Iterator

import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.moe import LLaDA2Config, LLaDA2MoeModelLM

SIZES = {
    "d_model": 32,
    "n_heads": 4,
    "n_kv_heads": 2,
    "n_layers": 2,
    "mlp_hidden_size": 48,
    "vocab_size": 50,
    "max_sequence_length": 32,
}


def tiny_model(attention: str = "full", *, seed: int = 0, **changes) -> LLaDAModelLM:
    """Make a two-layer model in evaluation mode; the global generator is left alone."""
    config = LLaDAConfig(**SIZES | {"attention": attention, "init_std": 0.3} | changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LLaDAModelLM(config)
        for weight in model.parameters():
            if weight.ndim == 1:  # the scale of a norm: all ones would hide a norm that forgets it
                torch.nn.init.uniform_(weight, 0.5, 1.5)
    return model.eval()


# Eight experts in two groups, of which a token reads two in one group; a dense layer, then two with experts.
MOE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "moe_intermediate_size": 12,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "num_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
    "vocab_size": 50,
    "max_position_embeddings": 32,
    "mask_token_id": 3,
}


def tiny_moe(attention: str = "block:4", *, seed: int = 0, **changes) -> LLaDA2MoeModelLM:
    """Make a three-layer model with experts in evaluation mode, its biases far from 0."""
    config = LLaDA2Config(**MOE | {"attention": attention, "initializer_range": 0.3} | changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LLaDA2MoeModelLM(config)
        for name, weight in model.state_dict().items():
            if weight.ndim == 1:
                torch.nn.init.uniform_(weight, *((-0.3, 0.3) if "bias" in name else (0.5, 1.5)))
    return model.eval()


def tiny_ids(B: int = 2, L: int = 12, *, vocab: int = 50, seed: int = 0) -> torch.Tensor:
    """Draw token ids, (B, L)."""
    return torch.randint(vocab, (B, L), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute a module's tests on one thread: at these sizes two threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def foreign_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer of bytes with a chat template like LLaDA2's: no begin or answer mark, text on both sides."""
    marks = ["<|end|>", "<|mask|>", "<role>", "</role>"]
    vocabulary = {token: i for i, token in enumerate([*marks, *sorted(ByteLevel.alphabet())])}
    backend = Tokenizer(BPE(vocabulary, []))
    backend.pre_tokenizer, backend.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    found = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end|>", mask_token="<|mask|>", extra_special_tokens=marks[2:]
    )
    found.chat_template = (
        "{% for m in messages %}<role>HUMAN</role>{{ m['content'] | trim }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<role>ASSISTANT</role>{% endif %}"
    )
    return found
