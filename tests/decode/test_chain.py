"""A chain is the machine's with enough forwards; with fewer, a model that sees as far as it sees writes another."""

import pytest
import torch

from dlmlab.decode import chain

PARITY = torch.tensor([[0, 1], [1, 0]])


def test_running_a_machine_is_looking_up_its_table():
    x = torch.randint(2, (5, 9), generator=torch.Generator().manual_seed(0))
    assert torch.equal(chain.track(PARITY, x), x.cumsum(1) % 2)


class Teller:
    """Knows the update and does one a forward: the state after the last known one is right, the others are 0."""

    def __init__(self, table, sees=1):
        self.table, self.sees, self.forwards = table, sees, 0

    def __call__(self, x, y):
        self.forwards += 1
        said = torch.zeros_like(x)
        for row in range(len(x)):
            known = int((y[row] != chain.UNKNOWN).sum())
            state = int(y[row, known - 1]) if known else 0
            for t in range(known, min(known + self.sees, x.shape[1])):
                said[row, t] = state = int(self.table[x[row, t], state])
        return torch.nn.functional.one_hot(said, self.table.shape[1]).float()


@pytest.mark.parametrize("sees", [1, 2, 3, 5])
def test_a_chain_is_right_with_as_many_forwards_as_the_horizon_asks_for_and_not_with_fewer(sees):
    x = torch.zeros(2, 12, dtype=torch.long)
    x[:, 0] = 1  # all states are 1, and what is not seen is said to be 0
    truth, n = chain.track(PARITY, x), chain.forwards_needed([1.0] * sees + [0.5], 12)
    for forwards in (n, 12):
        tell = Teller(PARITY, sees)
        assert torch.equal(chain.write_chain(tell, x, forwards), truth) and tell.forwards == forwards
    if n > 1:
        assert not torch.equal(chain.write_chain(Teller(PARITY, sees), x, n - 1), truth)


@pytest.mark.parametrize("forwards", [0, 4, -1])
def test_more_forwards_than_states_or_none_are_refused(forwards):
    with pytest.raises(ValueError, match="needs 1 to 3"):
        chain.write_chain(Teller(PARITY), torch.zeros(1, 3, dtype=torch.long), forwards)


def test_a_model_that_does_not_see_the_next_state_has_no_number_of_forwards():
    with pytest.raises(ValueError, match="not even the next state"):
        chain.forwards_needed([0.5, 1.0], 12)
    assert chain.forwards_needed([0.9, 0.5], 12, enough=0.9) == 12
