"""Fine-tuning keeps the zeros."""

import pytest
import torch

from dlmlab.compress import pruning, recovery
from dlmlab.compress.pruning import Recipe
from dlmlab.objective.batches import TrainConfig
from dlmlab.objective.training import Run, build_model
from tests.compress.cases import weights_of
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = TrainConfig(
    "t",
    d_model=16,
    n_heads=2,
    n_layers=1,
    mlp_hidden_size=24,
    rows=4,
    tokens=2000,
    compile=False,
    bf16=False,
    threads=1,
)


def test_recovery_of_a_dense_model_is_the_training_loop(tmp_path):
    run = Run(CONFIG, tmp_path)
    after = recovery.recover(run.model, CONFIG, steps=3)
    for _ in range(3):
        run.train_step()
    ours, theirs = after.state_dict(), run.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs) and not list(tmp_path.iterdir())


def test_recovery_trains_and_keeps_the_zeros():
    small = pruning.prune(build_model(CONFIG).eval(), Recipe("magnitude", 0.5))
    after = recovery.recover(small, CONFIG, steps=2)
    assert pruning.sparsity_of(after) == pytest.approx(0.5, abs=0.01)
    for old, new in weights_of(small, after):
        assert not new[old == 0].any() and not torch.equal(old, new)
    with pytest.raises(ValueError, match="steps=0"):
        recovery.recover(small, CONFIG, steps=0)
