"""What lab 12 asks on mini-GSM: small problems that nobody trained on, planted errors, ways to write."""

import torch

from dlmlab.study.labs import lab12_minigsm as gsm
from dlmlab.study.labs import lab12_problems as problems


def test_a_planted_error_is_one_number():
    some = problems.asked(12)
    x = problems.encode(some)[0][:, -problems.WINDOW :]
    wrong = gsm.planted(some, x)
    assert bool(((wrong != x).sum(1) == 1).all()) and gsm.judged(some, wrong, "clean") == "0" * 12
    assert all(int(row.nonzero()[0, 0]) in gsm.NUMBERS for row in wrong != x)


def oracle(x, V):
    """Always say the solution."""

    def read(z, alpha):
        one_hot = torch.nn.functional.one_hot(x.repeat(len(z) // len(x), 1), V)
        return 20.0 * one_hot.float()

    return read


def test_an_oracle_answers_and_repairs_in_every_way():
    some = problems.asked(6)
    x = problems.encode(some)[0][:, -problems.WINDOW :]
    family = gsm.network("uniform", 0)
    read = oracle(x, family.V)
    wrong = gsm.planted(some, x)
    for out in (
        gsm.one_by_one(read, x, family.mask_id),
        gsm.next_by_next(read, x, None),
        gsm.edited(read, wrong, family.prior, "leave-one-out"),
        gsm.edited(gsm.hiding_each(read, family.mask_id), wrong, family.prior, "leave-one-out"),
    ):
        assert torch.equal(out, x)


def test_a_network_is_measured_in_every_way():
    for name in ("AR", "hybrid 0.1"):
        row = gsm.measured(gsm.network(name, 0), 3)
        assert len(row["nats"]) == 3 and all(len(v) == 3 for v in row.values())
        assert ("correct 40" in row) == (name != "AR") == ("fixed by belief" in row)


def test_one_look_is_compared_on_the_problems_that_have_hidden_places():
    n = gsm.HIDDEN
    rows = [
        {"family": name, "seed": seed, "fixed by leave-one-out": look, "fixed by hiding each": hidden}
        for seed in (0, 1)
        for name, look, hidden in (("mask", "0" * 500, "1" * n), ("uniform", "1" * n + "0" * (500 - n), "0" * n))
    ]
    assert gsm.one_look(rows, "uniform").mean == 0
