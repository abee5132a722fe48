"""Models small enough for a test, with weights that matter: norms and projections far from their start values."""

from collections.abc import Iterator

import pytest
import torch

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM

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
