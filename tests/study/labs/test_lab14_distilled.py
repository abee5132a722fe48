"""What lab 14 reads off its rows, and what its students are trained on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dlmlab.network.checkpoint import load
from dlmlab.objective.batches import Batches
from dlmlab.study.labs import lab14_distilled as lab
from dlmlab.task import tasks


def test_every_student_costs_the_same():
    costs = {arm: lab.steps_of(arm) * (5 if "time" in arm else 3) for arm in lab.ARMS}
    assert set(costs.values()) == {3 * lab.STEPS}


def test_the_mean_of_the_rises_is_the_slope_of_the_line():
    nfe = np.random.default_rng(0).integers(1, 9, 200)
    (row,) = lab.rises([{"nfe x": nfe.tolist()}], "x")
    k = [problem.steps for problem in tasks.load_split("test")[:200]]
    assert np.mean(row["rise"]) == pytest.approx(np.polyfit(k, nfe, 1)[0])


def test_the_spread_of_the_rises_is_the_error_of_the_slope():
    rng, found = np.random.default_rng(1), []
    k = np.array([problem.steps for problem in tasks.load_split("test")])
    for _ in range(300):
        nfe = 1 + 0.6 * k + rng.normal(size=len(k))
        (row,) = lab.rises([{"nfe x": nfe.tolist()}], "x")
        found.append((np.mean(row["rise"]), np.std(row["rise"]) / len(k) ** 0.5))
    slopes, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(np.std(slopes), rel=0.15) and slopes.mean() == pytest.approx(0.6, abs=0.02)


def test_a_teacher_is_what_its_student_begins_as():
    teacher = load("llada-mini").model
    batch = Batches(lab.recipe(2, rows=2, seed=0))(0)
    losses = {
        arm: lab.loss_of(arm, teacher, teacher, batch, torch.Generator().manual_seed(0)).item() for arm in lab.ARMS
    }
    with torch.no_grad():
        plain = F.cross_entropy(teacher(batch.inputs).logits[batch.weight], batch.targets[batch.weight])
    assert losses["plain"] == pytest.approx(float(plain), rel=1e-4) and losses["confidence"] > losses["plain"]
    assert losses["through time"] >= -1e-6


def test_a_hidden_number_is_the_first_of_the_question():
    class Sees:
        def __call__(self, ids, valid, logits_to_keep):
            self.ids, self.at = ids, logits_to_keep
            out = torch.zeros(len(ids), 1, len(tokenizer))
            return type("Out", (), {"logits": out})

    model, tokenizer = Sees(), load("llada-mini").tokenizer
    problems = tasks.load_split("test")[:5]
    found = lab.hidden_number(model, problems)
    even = float(np.log(len(tokenizer)))
    assert found["hidden nats"] == pytest.approx([even] * 5, abs=1e-3) and len(found["hidden entropy"]) == 5
    for row, at, problem in zip(model.ids, model.at[:, 0], problems, strict=True):
        text = tokenizer.decode(row[: int(at) + 1], skip_special_tokens=False)
        before = text.rpartition(tokenizer.mask_token)[0]
        words = problem.question.split()
        first = next(word.strip(".,?") for word in words if word.strip(".,?").isdigit())
        assert not any(word.strip(".,?").isdigit() for word in before.split()) and first in words
        assert int((row == tokenizer.mask_token_id).sum()) == 1 + 40
