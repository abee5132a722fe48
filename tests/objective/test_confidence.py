"""The entropy of what a model gets right, and training that starts from a model and lowers it."""

from dataclasses import replace

import pytest
import torch

from dlmlab.network.checkpoint import DATA, load
from dlmlab.objective import training
from dlmlab.objective.batches import Batches, TrainConfig
from dlmlab.objective.confidence import right_entropy

P = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
TINY = TrainConfig(
    name="tiny", d_model=48, n_heads=2, n_layers=1, mlp_hidden_size=64, rows=8, tokens=4000, compile=False
)


def test_entropy_and_its_gradient_are_the_formula():
    z = P.log().requires_grad_()
    H = right_entropy(z[None], torch.tensor([0]))
    H.sum().backward()
    assert H.item() == pytest.approx(0.801819, abs=1e-6)
    assert z.grad.tolist() == pytest.approx([-0.311601, 0.161524, 0.150077], abs=1e-6)


def test_what_is_wrong_is_not_made_surer():
    z = P.log().repeat(2, 1).requires_grad_()
    right_entropy(z, torch.tensor([0, 2])).sum().backward()
    assert z.grad[0].abs().min() > 0 and bool((z.grad[1] == 0).all())


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_step_adds_the_entropy_with_its_weight(weight):
    model, batch = training.build_model(TINY).eval(), Batches(TINY)(1)
    training.learn(model, [], batch, clip=1e9, sharpen=weight)
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    logits, targets = model(batch.inputs).logits[batch.weight], batch.targets[batch.weight]
    (torch.nn.functional.cross_entropy(logits, targets) + weight * right_entropy(logits, targets).mean()).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_steps_of_it_lower_the_entropy_more_than_the_same_steps_without():
    found, batches = {}, Batches(TINY)
    for weight in (0.0, 5.0):
        model = training.build_model(TINY)
        optimizers = training.build_optimizers(model, replace(TINY, lr=3e-3))
        for step in range(8):
            training.learn(model, optimizers, batches(step), clip=1.0, sharpen=weight)
        batch = batches(8)
        with torch.no_grad():
            log_p = model(batch.inputs).logits[batch.weight].log_softmax(-1)
        found[weight] = float(-(log_p.exp() * log_p).sum(-1).mean())
    assert found[5.0] < found[0.0]


def test_a_run_starts_from_the_weights_it_names():
    config = replace(TrainConfig.read(DATA / "llada-mini" / "training.toml"), start="llada-mini")
    first, model = load("llada-mini").model, training.build_model(config)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), model.parameters(), strict=True))
    with pytest.raises(ValueError, match="n_layers"):
        training.build_model(replace(config, n_layers=5))
