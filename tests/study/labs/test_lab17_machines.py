"""What each model can see of a row, and how a masked one writes it."""

import pytest
import torch

from dlmlab.decode import chain
from dlmlab.study.labs import lab17_groups as groups
from dlmlab.study.labs import lab17_machines as machines

X, Y = groups.draw("S3", 4, 6, seed=0)


@pytest.mark.parametrize("model", ["LSTM", "positive", "signed", "labels only", "writer"])
def test_a_state_is_said_from_what_stands_before_it(model):
    net, other = machines.make(model).eval(), X.clone()
    other[:, 4:] = (other[:, 4:] + 1) % 6
    a, b = (machines.say(model, net, x) for x in (X, other))
    assert torch.equal(a[:, :4], b[:, :4]) and a.shape == X.shape and int(a.max()) < 6


@pytest.mark.parametrize("model", ["LSTM", "positive", "signed", "labels only", "writer", "masked"])
def test_training_lowers_the_loss_and_repeats_itself(model):
    g = lambda: torch.Generator().manual_seed(5)  # noqa: E731
    before = float(machines.loss(model, machines.make(model), X, Y, g()).detach())
    nets = [machines.train(model, X, Y, steps=12, seed=0) for _ in range(2)]
    after = [float(machines.loss(model, net, X, Y, g()).detach()) for net in nets]
    assert after[0] == pytest.approx(after[1], rel=1e-4) and after[0] < before


@pytest.mark.parametrize("order", ["left to right", "right to left", "confidence"])
@pytest.mark.parametrize("forwards", [1, 4, 6])
def test_every_state_is_written_once_and_as_many_a_forward(order, forwards):
    out = machines.fill(machines.make("masked").eval(), X, forwards, order)
    assert int(out.y.max()) < 6 and sorted(set(out.when.flatten().tolist())) == list(range(forwards))
    counts = [int((out.when[0] == n).sum()) for n in range(forwards)]
    assert counts == [6 // forwards + (n < 6 % forwards) for n in range(forwards)]


def test_left_to_right_is_the_loop_of_the_exercise():
    net = machines.train("masked", X, Y, steps=5)

    def tell(x, y):
        with torch.inference_mode():
            return machines.scores(net, groups.woven(x, torch.where(y == chain.UNKNOWN, groups.HIDDEN, y)))[:, 1::2]

    for n in (1, 2, 4, 6):
        assert torch.equal(machines.fill(net, X, n).y, chain.write_chain(tell, X, n))


def test_states_that_are_given_stay():
    given = torch.where(torch.arange(6) < 2, Y, groups.HIDDEN)
    out = machines.fill(machines.make("masked").eval(), X, 2, y=given)
    assert torch.equal(out.y[:, :2], Y[:, :2]) and bool((out.when[:, :2] == -1).all())
