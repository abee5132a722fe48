"""The student of notebook 02: its texts are right equations, its losses are what they are called."""

import pytest
import torch

from dlmlab.objective.noise import diffusion_loss
from dlmlab.study import nb02_student as student


def test_the_texts_are_right_equations_and_others_are_not():
    texts, chance = student.equations()
    assert len({tuple(t) for t in texts.tolist()}) == len(texts) == 42 and float(chance.sum()) == pytest.approx(1)
    assert all(map(student.holds, texts.tolist()))
    right = {tuple(t) for t in texts.tolist()}
    V = student.N + 3
    every = torch.cartesian_prod(*[torch.arange(V)] * 5).tolist()
    assert {tuple(t) for t in every if student.holds(t)} == right


def test_the_untrained_student_is_far_above_the_floor():
    assert student.Student(student.VARIANTS[0], 0).bound() > 2 * student.entropy()


@pytest.mark.parametrize("variant, length", [("1/t weight", 6), ("1/t weight, no start mark", 5)])
def test_samples_come_without_the_start_mark(variant, length):
    one = student.Student(variant, 0)
    assert one.texts.shape[1] == length
    assert {len(text) for text in one.samples()} == {5}


def test_only_the_variant_without_weight_trains_without_it():
    assert {v: student.Student(v, 0).loss for v in student.VARIANTS} == {
        "1/t weight": diffusion_loss,
        "no weight": student.unweighted,
        "1/t weight, no start mark": diffusion_loss,
    }


def test_the_unweighted_loss_is_the_mean_over_masked_tokens():
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    x0 = torch.randint(5, (3, 4), generator=torch.Generator().manual_seed(1))
    masked = torch.tensor([[True, False, True, False], [False] * 4, [True] * 4])
    price = -logits.log_softmax(-1).gather(-1, x0[..., None])[..., 0]
    t = torch.tensor([0.1, 0.5, 0.9])
    assert float(student.unweighted(logits, x0, masked, t)) == pytest.approx(float(price[masked].mean()), rel=1e-5)


def test_the_noise_of_a_gradient_without_noise_is_none(monkeypatch):
    one = student.Student("1/t weight", 0)
    monkeypatch.setattr(student, "BATCHES", 6)
    (p, *rest) = one.model.parameters()

    def constant(loss, draw):
        for q in (p, *rest):
            q.grad = torch.ones_like(q)

    one.backward = constant
    assert one.noise(None, 0) == 0

    def noisy(loss, draw):
        for q in (p, *rest):
            q.grad = 1 + torch.randn(q.shape, generator=draw)

    one.backward = noisy
    assert one.noise(None, 0) == pytest.approx(1, abs=0.05)  # a standard deviation of 1 on a mean of 1


def test_a_verdict_needs_every_seed():
    rows = [
        {"variant": "1/t weight", "seed": s, "noise": [a, a], "noise_plain": [1.0, 1.0]}
        for s, a in enumerate((1.2, 1.1))
    ]
    assert student.noisier(rows, 50).word == "higher"
    rows[0]["noise"] = [0.9, 0.9]
    assert student.noisier(rows, 50).word == "no difference shown"


def test_one_guess_for_all_places_costs_what_the_best_guess_costs():
    texts, chance = student.equations()
    guess = torch.zeros(5, student.N + 3, dtype=torch.float64)
    for text, p in zip(texts.tolist(), chance.tolist(), strict=True):
        for place, token in enumerate(text):
            guess[place, token] += p

    def cost(of_place):  # nats of one hidden token, the place drawn at random
        return -sum(
            p * float(of_place(place)[token].log()) / 5
            for text, p in zip(texts.tolist(), chance.tolist(), strict=True)
            for place, token in enumerate(text)
        )

    known, alike = cost(lambda place: guess[place]), cost(lambda place: guess.mean(0))
    assert student.one_guess_for_all() == pytest.approx(alike - known, abs=1e-9)
    other = 0.9 * guess.mean(0) + 0.1 * guess[0]
    assert cost(lambda place: other) > alike
