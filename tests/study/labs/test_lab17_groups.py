"""The two machines are groups; one of them commutes."""

import pytest
import torch

from dlmlab.study.labs import lab17_groups as groups


@pytest.mark.parametrize("task", groups.GROUPS)
def test_products_form_a_group_with_0_as_the_one_that_changes_nothing(task):
    table, G = groups.products(task), groups.GROUPS[task]
    each = torch.arange(G)
    assert torch.equal(table[0], each) and torch.equal(table[:, 0], each)
    assert all(sorted(row.tolist()) == list(range(G)) for row in (*table, *table.T))
    assert torch.equal(table[table][:, :, each], table[:, table])  # (x y) z = x (y z)


def test_parity_commutes_and_s3_does_not():
    assert torch.equal(groups.products("parity"), groups.products("parity").T)
    assert not torch.equal(groups.products("S3"), groups.products("S3").T)


def test_rows_are_drawn_from_their_seed_and_woven_state_beside_operation():
    x, y = groups.draw("S3", 7, 5, seed=3)
    assert torch.equal(x, groups.draw("S3", 7, 5, seed=3)[0]) and not torch.equal(x, groups.draw("S3", 7, 5, seed=4)[0])
    assert torch.equal(y, groups.states("S3", x))
    tokens = groups.woven(x, y)
    assert torch.equal(tokens[:, ::2], x) and torch.equal(tokens[:, 1::2], y + groups.STATES)
    assert int(groups.woven(x, torch.full_like(y, groups.HIDDEN))[0, 1]) == groups.MASK < groups.TOKENS
