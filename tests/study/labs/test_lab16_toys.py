"""Toys of lab 16: what is drawn, what a mixer reads, and what is repeated of a run."""

import pytest
import torch

from dlmlab.study.labs import lab16_crossover as crossover
from dlmlab.study.labs import lab16_dilated as far
from dlmlab.study.labs import lab16_recall as recall
from dlmlab.study.labs import lab16_toys as toys


def test_a_set_holds_its_question_once_and_the_value_that_belongs_to_it():
    keys, contents, asked, truth = recall.draw(8, 50, torch.Generator().manual_seed(0))
    assert keys.shape == contents.shape == (50, 9) and bool((contents[:, -1] == recall.VALUES).all())
    hit = keys[:, :-1] == keys[:, -1:]
    assert bool((hit.sum(1) == 1).all()) and torch.equal(contents[:, :-1][hit], truth[:, 0])
    assert keys[:, asked].shape == (50, 1)


def test_facts_lie_far_from_their_questions():
    keys, contents, asked, truth = far.draw(50, torch.Generator().manual_seed(0))
    facts = (keys != far.NONE) & (contents < far.VALUES)
    assert bool((facts.sum(1) == far.FACTS).all()) and not bool(facts[:, far.FRONT :].any())
    assert bool((contents[:, asked] == far.ASKED).all()) and far.L - far.FACTS - far.FRONT + 1 > 40
    for row in range(5):
        known = dict(zip(keys[row][facts[row]].tolist(), contents[row][facts[row]].tolist(), strict=True))
        assert [known[k] for k in keys[row, asked].tolist()] == truth[row].tolist()
    filler = contents[keys == far.NONE]
    assert int(filler.min()) > far.ASKED


@pytest.mark.parametrize("kind", ("softmax", "linear", "raw"))
def test_a_set_has_no_order(kind):
    torch.manual_seed(0)
    mixer, x = toys.Mixer(kind), torch.randn(2, 7, toys.WIDTH)
    order = torch.randperm(7)
    with torch.inference_mode():
        assert torch.allclose(mixer(x)[:, order], mixer(x[:, order]), atol=1e-5)


@pytest.mark.parametrize("kind", far.KINDS)
def test_a_masked_mixer_never_reads_ahead(kind):
    torch.manual_seed(0)
    mixer, x = toys.Mixer(kind), torch.randn(1, far.L, toys.WIDTH)
    other = x.clone()
    other[:, 40:] += 1
    with torch.inference_mode():
        for name in far.MASKS:
            mask = far.allowed(name)
            assert torch.allclose(mixer(x, mask)[:, :40], mixer(other, mask)[:, :40], atol=1e-5)


def test_with_gates_shut_the_recurrence_is_attention():
    torch.manual_seed(0)
    ours, x, mask = toys.Mixer("recurrence"), torch.randn(1, far.L, toys.WIDTH), far.allowed("every 8th")
    torch.nn.init.zeros_(ours.gate.weight)
    torch.nn.init.constant_(ours.gate.bias, -200.0)
    plain = toys.Mixer("attention")
    plain.load_state_dict({k: v for k, v in ours.state_dict().items() if not k.startswith("gate")})
    with torch.inference_mode():
        assert torch.equal(ours(x, mask), plain(x, mask))


def test_a_network_learns_few_pairs_in_few_steps():
    torch.manual_seed(0)
    model = toys.Finder(("softmax",), 4, 5, 4)

    def draw(g):
        keys, values = (
            torch.stack([torch.randperm(4, generator=g) for _ in range(32)]),
            torch.randint(4, (32, 4), generator=g),
        )
        at = torch.randint(4, (32, 1), generator=g)
        asked = torch.full((32, 1), 4)
        return (
            torch.cat([keys, keys.gather(1, at)], 1),
            torch.cat([values, asked], 1),
            slice(-1, None),
            values.gather(1, at),
        )

    losses = toys.train(model, draw, 60, seed=0)
    assert losses[-1] < losses[0] / 2
    right, nats = toys.judge(model, draw(torch.Generator().manual_seed(9)))
    assert len(right) == len(nats) == 32 and set(right) <= {"0", "1"}


def test_a_run_that_stops_has_the_first_losses_of_the_whole():
    _, short = recall.learned("softmax", 8, 0, stop=3)
    _, longer = recall.learned("softmax", 8, 0, stop=5)
    assert short == pytest.approx(longer[:3], abs=1e-4) and len(far.learned("attention", "joint", 0, stop=2)[1]) == 2


def test_in_one_layer_no_pair_reads_the_question():
    keys, contents, asked, _ = recall.draw(8, 5, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = toys.Finder(recall.LAYERS["one linear"], recall.KEYS, recall.VALUES + 1, recall.VALUES)
    seen = []
    model.layers[0].mixer.qkv.register_forward_hook(lambda module, inputs, output: seen.append(output[:, :-1]))
    other = keys.clone()
    other[:, -1] = keys[:, 0]
    with torch.inference_mode():
        model(keys, contents, asked), model(other, contents, asked)
    assert len(model.layers) == 1 and torch.equal(*seen)


def test_counts_are_repeated_and_times_are_not():
    assert crossover.run(64, size=0).keys() == {"counts", "of block"}
    assert crossover.of_block(96) == pytest.approx(1 / 13)
    rows = [
        {"length": L, "ratio": {"linear": [r, r, r, r, r]}}
        for L, r in zip(crossover.LENGTHS, (0.2, 0.5, 0.9, 1.2, 2, 3, 4, 5, 6), strict=True)
    ]
    assert crossover.between(rows, "linear") == (96, 128) and 96 < crossover.crossing(rows, "linear") < 128
    slow = [{"length": L, "ratio": {"linear": [0.5] * 5}} for L in crossover.LENGTHS]
    with pytest.raises(ValueError, match="not faster"):
        crossover.between(slow, "linear")


def test_forms_that_are_timed_read_from_both_sides():
    x = [torch.randn(1, 2, 9, crossover.WIDTH) for _ in range(3)]
    out = {name: form(*x) for name, form in crossover.FORMS.items()}
    assert torch.allclose(out["softmax"], out["softmax, as a matrix"], atol=1e-5)
    assert all(value.shape == x[2].shape for value in out.values())
