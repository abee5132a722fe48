"""A window holds what is given at its own place, and masks everywhere else."""

import pytest
import torch

from dlmlab.decode.template import blanked, template


def test_what_is_given_stands_where_it_stood():
    found = template(torch.tensor([5, 6, 7]), torch.tensor([True, False, True]), 5, mask_id=1)
    assert found.tolist() == [5, 1, 7, 1, 1]


@pytest.mark.parametrize(("n", "shown"), [(4, 4), (3, 2)])
def test_what_does_not_fit_is_refused(n, shown):
    with pytest.raises(ValueError, match="window of 3"):
        template(torch.zeros(n).long(), torch.ones(shown).bool(), 3, mask_id=1)


def test_an_answer_without_what_was_given_is_what_the_model_wrote():
    given = torch.tensor([1, 8, 1, 1])
    assert blanked(torch.tensor([4, 8, 5, 0]), given, mask_id=1).tolist() == [4, 1, 5, 0]
