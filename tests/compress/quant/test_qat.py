"""Training with rounded weights: gradients, agreement with storage, and a loss that falls."""

import pytest
import torch

from dlmlab.compress.quant import qat
from dlmlab.compress.quant.grids import fake_quantize
from dlmlab.compress.registry import compress
from dlmlab.network.codes import TERNARY, QSpec, dequantize
from dlmlab.objective import noise
from tests.compress.quant.helpers import seeded
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
SPECS = [QSpec(4), QSpec(3, True), QSpec(2, range="mse"), QSpec(4, group=16), QSpec(3, granularity="tensor"), TERNARY]


def test_the_gradient_is_1_inside_the_grid_and_0_outside():
    x = torch.tensor([-9.0, -1.2, 0.3, 6.9, 7.0, 7.2, 40.0], requires_grad=True)
    y = qat.straight_through(x, torch.tensor(1.0), None, QSpec(4, True))
    assert y.tolist() == [-7, -1, 0, 7, 7, 7, 7]
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0, 0]
    x.grad = None
    qat.straight_through(x, torch.tensor(1.0), None, QSpec(4, True), clip=False).sum().backward()
    assert x.grad.tolist() == [1] * 7


def test_the_gradient_of_the_scale_is_the_published_one():
    """LSQ, equation 3: round(v) - v inside, the last code outside."""
    x, s = torch.tensor([0.3, 1.7, 40.0, -40.0]), torch.tensor(0.5, requires_grad=True)
    for i, expected in enumerate((round(0.6) - 0.6, round(3.4) - 3.4, 7.0, -7.0)):
        (g,) = torch.autograd.grad(qat.straight_through(x[i], s, None, QSpec(4, True)), s)
        assert float(g) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("learned", [False, True])
def test_training_computes_with_the_numbers_that_are_stored(spec, learned):
    W = torch.randn(12, 32, generator=seeded())
    fake = qat.FakeQuant(W, spec, learned=learned)
    moved = W + 0.05 * torch.randn(12, 32, generator=seeded(1))
    assert torch.equal(fake(moved), dequantize(fake.quantized(moved)))
    assert torch.equal(fake(W), fake_quantize(W, spec)) or learned
    assert torch.allclose(fake(W), fake_quantize(W, spec), atol=0.01)


def test_only_a_learned_scale_is_a_parameter():
    model = tiny_model()
    fixed, learned = (qat.prepare(model, QSpec(3), learned=b) for b in (False, True))
    names = [name for name, _ in learned.named_parameters() if name.endswith("log_scale")]
    assert len(names) == 14 and not [n for n, _ in fixed.named_parameters() if n.endswith("log_scale")]
    with pytest.raises(ValueError, match="straight-through"):
        qat.prepare(model, QSpec(3, rounding="floor"))


@pytest.mark.parametrize("learned", [False, True])
def test_a_frozen_model_has_the_logits_of_the_trained_one(learned):
    model, ids = tiny_model(), tiny_ids()
    prepared = qat.prepare(model, QSpec(3, group=16), learned=learned)
    if not learned:
        assert torch.equal(prepared(ids).logits, compress(model, "rtn", QSpec(3, group=16))(ids).logits)
    tuned, _ = qat.finetune(prepared, batch, steps=2, lr=1e-2, generator=seeded())
    for packed in (False, True):
        frozen = qat.freeze(tuned, packed=packed)
        assert torch.equal(frozen(ids).logits, tuned(ids).logits)
    assert not [name for name, _ in qat.freeze(tuned).named_parameters() if "parametrizations" in name]


def batch(step: int):
    ids = tiny_ids(8, 12, vocab=49, seed=step) + 1  # 0 is the mask
    real = torch.ones_like(ids, dtype=torch.bool)
    return ids, real, real


def test_kl_is_0_for_the_same_logits_and_counts_masked_tokens_alone():
    a, b = torch.randn(2, 5, 7, generator=seeded()), torch.randn(2, 5, 7, generator=seeded(1))
    masked = torch.zeros(2, 5, dtype=torch.bool)
    assert float(qat.kl_to(a, b, masked)) == 0
    masked[0, 2] = True
    assert float(qat.kl_to(a, a, masked)) == pytest.approx(0, abs=1e-6)
    p, q = a[0, 2].softmax(-1), b[0, 2].softmax(-1)
    assert float(qat.kl_to(a, b, masked)) == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-4)
    b[1] = 100.0
    assert float(qat.kl_to(a, b, masked)) == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-4)


@pytest.mark.parametrize("spec, learned", [(QSpec(2), False), (QSpec(2, range="mse"), True), (TERNARY, False)])
def test_distillation_brings_a_coarse_model_nearer_to_its_teacher(spec, learned):
    teacher = tiny_model(mask_token_id=0)
    start = qat.prepare(teacher, spec, learned=learned)
    tuned, losses = qat.finetune(start, batch, steps=12, lr=5e-3, teacher=teacher, generator=seeded())
    assert sum(losses[-3:]) < 0.85 * sum(losses[:3])
    _, same = qat.finetune(start, batch, steps=12, lr=5e-3, teacher=teacher, generator=seeded())
    assert losses == same  # the start was left alone
    assert not torch.equal(tuned(tiny_ids()).logits, start(tiny_ids()).logits)


def test_without_a_teacher_the_loss_is_the_diffusion_loss():
    model, (ids, _, maskable) = tiny_model(mask_token_id=0), batch(0)
    tuned, _ = qat.finetune(model, lambda step: batch(0), steps=20, lr=1e-2, generator=seeded())
    before, after = (
        float(noise.bound_by_count(m, ids, maskable, draws=8, generator=seeded(1)).mean()) for m in (model, tuned)
    )
    assert after < 0.9 * before


def test_a_model_at_its_own_teacher_stays():
    model = tiny_model(mask_token_id=0)
    tuned, losses = qat.finetune(model, batch, steps=3, lr=1e-4, teacher=model, generator=seeded())
    assert max(losses) < 1e-3


@pytest.mark.parametrize("changes, text", [({"steps": 0}, "steps=0"), ({"lr": 0.0}, "lr=0.0")])
def test_impossible_training_is_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        qat.finetune(tiny_model(), batch, **{"steps": 1, "lr": 1e-3, "generator": seeded()} | changes)


def test_a_loss_that_is_not_finite_stops_the_training():
    model = tiny_model(mask_token_id=0)
    with torch.no_grad():
        model.model.transformer["ff_out"].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="step 1: the loss is nan"):
        qat.finetune(model, batch, steps=1, generator=seeded())
