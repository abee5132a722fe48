"""Statistics: those of the real inputs, each token with its weight."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import dlmlab
from dlmlab import cli
from dlmlab.compress import activations, pruning
from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet, token_weights
from dlmlab.network import checkpoint, parts
from dlmlab.objective.training import build_model
from dlmlab.task.tokenizer import build_tokenizer
from tests.compress.cases import reader, seeded, states, tiny_calibration
from tests.network.live import Live
from tests.objective.test_training import EXPERTS, TINY, launched
from tests.tiny import one_thread, tiny_ids, tiny_model

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_statistics_are_those_of_the_inputs_without_padding():
    small, calib = reader(), states("uniform")
    seen = []
    hook = small.model.transformer["blocks"][1].ff_out.register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    with torch.inference_mode():
        small(calib.ids, calib.real)
    hook.remove()
    found = activations.collect(small, calib, gram=True, batch_size=4)["blocks.1.ff_out"]
    X = seen[0][calib.real].double()
    assert torch.allclose(found.sum_sq, X.square().sum(0), rtol=1e-5)
    assert torch.allclose(found.gram, X.T @ X, rtol=1e-4, atol=1e-2)
    assert torch.allclose(found.abs_max, X.abs().amax(0), rtol=1e-6)
    assert found.tokens == int(calib.real.sum()) and found.states == len(calib)
    norm = (seen[0] * calib.real[..., None]).double().square().sum(1).sqrt().sum(0)
    assert torch.allclose(found.sum_norm, norm, rtol=1e-5)


def test_a_token_of_weight_0_is_as_if_it_were_not_there():
    small, calib = reader(), states("uniform")
    found = activations.collect(small, calib, weights=token_weights("masks", calib))["blocks.0.ff_out"]
    other = activations.collect(small, calib, weights=token_weights("visible", calib))["blocks.0.ff_out"]
    both = activations.collect(small, calib)["blocks.0.ff_out"]
    assert torch.allclose(found.sum_sq + other.sum_sq, both.sum_sq)
    assert found.tokens == int(calib.masked.sum())


@pytest.mark.parametrize("gram", [False, True])
def test_several_weights_in_one_pass_are_the_passes_of_each(gram):
    small, calib = reader(), states("grid")
    phi = torch.rand(calib.ids.shape, generator=seeded()).square() * calib.real
    kinds = ("ones", "sink", "preserve", "inverted", "masks", "shuffled")
    weights = [token_weights(kind, calib, phi=phi, generator=seeded()) for kind in kinds]
    together = activations.collect_each(small, calib, weights, gram=gram, batch_size=7)
    for w, one in zip(weights, together, strict=True):
        alone = activations.collect(small, calib, weights=w, gram=gram)
        assert one.keys() == alone.keys()
        for name, found in one.items():
            assert torch.allclose(found.sum_sq, alone[name].sum_sq, rtol=1e-5, atol=1e-8)
            assert (found.states, found.tokens) == (alone[name].states, alone[name].tokens)
            if gram:
                least = 1e-4 * float(found.gram.abs().max())
                assert torch.allclose(found.gram, alone[name].gram, rtol=1e-4, atol=least)


def test_a_weight_that_leaves_nothing_is_refused_in_company_too():
    calib = states("clean")
    with pytest.raises(ValueError, match=r"blocks\.0\.q_proj: no token"):
        activations.collect_each(reader(), calib, [token_weights(k, calib) for k in ("ones", "masks")])


def test_matrices_of_one_input_share_their_statistics():
    found = activations.collect(reader(), states("clean"))
    assert found["blocks.0.q_proj"] is found["blocks.0.v_proj"] is not found["blocks.1.q_proj"]


def test_masks_for_a_causal_model_and_wrong_weights_are_refused():
    with pytest.raises(ValueError, match="never sees masks"):
        activations.collect(reader("causal"), states("uniform"))
    calib = states("clean")
    with pytest.raises(ValueError, match="of shape"):
        activations.collect(reader(), calib, weights=torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"blocks\.0\.q_proj: no token"):
        activations.collect(reader(), calib, weights=token_weights("masks", calib))


def test_sequential_statistics_are_those_of_the_pruned_layers_before():
    model, calib = tiny_model(), tiny_calibration()
    found, pruned = {}, tiny_model()
    for layer, seen in activations.walk(pruned, calib):
        found[layer] = seen["q_proj"].rms
        for matrix in parts.matrices(parts.blocks(pruned)[layer]).values():
            matrix.weight.data.mul_(0.5)
    again = activations.collect(pruned, calib)
    dense = activations.collect(model, calib)
    assert torch.allclose(found[1], again["blocks.1.q_proj"].rms)
    assert not torch.allclose(found[1], dense["blocks.1.q_proj"].rms)


def test_every_sum_is_that_of_the_weighted_rows():
    x, weight = torch.randn(3, 5, 4, generator=seeded()), torch.rand(3, 5, generator=seeded(1))
    weight[0, 2:] = weight[2, 0] = 0
    found = Statistics.empty(4, gram=True)
    for rows in (slice(0, 1), slice(1, 3)):
        found.add(x[rows], weight[rows])
    rows = (x * weight[..., None]).double()  # (3, 5, 4)
    flat = rows.flatten(0, 1)
    sums = {"sum_sq": flat.square().sum(0), "abs_sum": flat.abs().sum(0), "abs_max": flat.abs().amax(0)}
    sums |= {"sum_norm": rows.square().sum(1).sqrt().sum(0), "gram": flat.T @ flat}
    for name, value in sums.items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-5, atol=1e-6, msg=name)
    assert found.tokens == int((weight > 0).sum()) and found.states == 3


class Expert(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.up = nn.Linear(width, 6, bias=False)

    def forward(self, x):
        return self.up(x)


class Routed(nn.Module):
    """A block with two experts: each reads the tokens whose first feature has its sign, in an order of its own."""

    def __init__(self, width: int):
        super().__init__()
        self.experts, self.read = nn.ModuleList(Expert(width) for _ in range(2)), {}

    def sites(self):
        return tuple(parts.Site((f"experts.{e}.up",), lambda e=e: self.read[e]) for e in range(2))

    def forward(self, h, *args):
        flat = h.flatten(0, 1)  # (B L, C)
        for e, expert in enumerate(self.experts):
            self.read[e] = ((flat[:, 0] > 0) == bool(e)).nonzero()[:, 0].flip(0)
            expert(flat[self.read[e]])
        return h, None


def test_an_expert_counts_the_tokens_that_were_routed_to_it_and_no_others():
    model, calib = tiny_model(), tiny_calibration()
    parts.blocks(model)[1] = Routed(32)
    seen = []
    hook = parts.blocks(model)[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(calib.ids, calib.real)
    hook.remove()
    weight = torch.rand(calib.ids.shape, generator=seeded()) * calib.real
    found = activations.collect(model, calib, weights=weight, gram=True, batch_size=5)
    for e in range(2):
        mine = ((seen[0][..., 0] > 0) == bool(e)) & calib.real  # (B, L)
        X = (seen[0] * weight[..., None])[mine].double()
        statistics = found[f"blocks.1.experts.{e}.up"]
        torch.testing.assert_close(statistics.sum_sq, X.square().sum(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(statistics.gram, X.T @ X, rtol=1e-4, atol=1e-5)
        assert 0 < statistics.tokens == len(X) < int(calib.real.sum())


def test_experts_are_pruned_like_any_matrix():
    model = tiny_model()
    parts.blocks(model)[1] = Routed(32)
    small = pruning.prune(model, pruning.Recipe("wanda", 0.5), calib=tiny_calibration())
    assert [float((e.up.weight == 0).float().mean()) for e in parts.blocks(small)[1].experts] == [0.5, 0.5]


# ------------------------------------------------------------------------------------------------ layer by layer


def whole_model_statistics(model, calib) -> dict[str, Statistics]:
    """Collect with hooks on one forward of the whole model: all layers at once, as a large machine would."""
    found, hooks = {}, []
    for layer, block in enumerate(parts.blocks(model)):
        for site in parts.sites(block):
            matrix = block.get_submodule(site.matrices[0])
            statistics = Statistics.empty(matrix.in_features, gram=True)
            found |= {f"blocks.{layer}.{name}": statistics for name in site.matrices}

            def add(module, inputs, statistics=statistics):
                statistics.add(inputs[0], calib.real.float())

            hooks.append(matrix.register_forward_pre_hook(add))
    with torch.no_grad():
        model(calib.ids, calib.real)
    for hook in hooks:
        hook.remove()
    return found


def test_layer_by_layer_gives_the_statistics_of_the_whole_model():
    """On the shipped model; exact, since both run the same blocks on the same states."""
    model, _ = dlmlab.load("llada-mini")
    calib = states("uniform")
    whole = whole_model_statistics(model, calib)
    for how in ({}, {"device": "cpu"}):
        found = activations.collect(model, calib, gram=True, **how)
        assert found.keys() == whole.keys()
        for name, statistics in found.items():
            for key in ("sum_sq", "sum_norm", "abs_sum", "abs_max", "gram"):
                torch.testing.assert_close(getattr(statistics, key), getattr(whole[name], key), rtol=1e-6, atol=1e-6)


def test_one_block_at_a_time_lies_on_the_device(monkeypatch):
    """Weights, states and statistics there are those of one block: what a card must hold of an 8B model."""
    model, calib = tiny_model(n_layers=4), tiny_calibration()
    blocks, there, most, order = list(parts.blocks(model)), set(), [], []
    real = nn.Module.to

    def to(module, place, *args, **options):
        if module in blocks:
            (there.add if str(place) == "cpu:0" else there.discard)(blocks.index(module))
            most.append(len(there))
            order.append((blocks.index(module), str(place)))
        return real(module, place, *args, **options)

    monkeypatch.setattr(nn.Module, "to", to)
    plain = activations.collect(model, calib, gram=True)
    assert not most
    found = activations.collect(model, calib, gram=True, device="cpu:0")
    assert max(most) == 1 and order == [(i, place) for i in range(4) for place in ("cpu:0", "cpu")]
    assert all(torch.equal(found[name].gram, plain[name].gram) for name in plain)
    pruned = pruning.prune(tiny_model(), pruning.Recipe("sparsegpt", 0.5), calib=calib, device="cpu:0")
    same = pruning.prune(tiny_model(), pruning.Recipe("sparsegpt", 0.5), calib=calib)
    assert all(torch.equal(a, b) for a, b in zip(pruned.parameters(), same.parameters(), strict=True))


def test_a_walk_holds_the_statistics_of_one_layer():
    """Peak memory of what is kept, counted in bytes: by layer, and of the whole model as the control."""
    model, calib = tiny_model(n_layers=6, mlp_hidden_size=128), tiny_calibration()
    with Live() as live:
        one = max(statistics_bytes(found) for _, found in activations.walk(model, calib, gram=True))
    with Live() as greedy:
        every = statistics_bytes(activations.collect(model, calib, gram=True))
    assert every == 6 * one
    assert greedy.most - live.most > 3 * one  # the walk keeps two layers (this one and the one before), not six


def statistics_bytes(found) -> int:
    kept = {id(statistics): statistics for statistics in found.values()}.values()
    return sum(t.numel() * t.element_size() for s in kept for t in vars(s).values() if isinstance(t, torch.Tensor))


# ------------------------------------------------------------------------------------------------ several processes


@pytest.mark.parametrize("family", ["dense", "experts"])
def test_two_processes_that_share_the_texts_prune_as_one(family, tmp_path):
    """SparseGPT reads second moments, and every layer the errors of those before it."""
    recipe = {"dense": replace(TINY, n_layers=2), "experts": EXPERTS}[family]
    checkpoint.save(build_model(recipe), build_tokenizer(), tmp_path / "model")
    command = ["prune", "--model", str(tmp_path / "model"), "--method", "sparsegpt", "--sparsity", "0.5"]
    for name, texts, run in (("one", "7", cli.main), ("half", "3", cli.main), ("two", "7", lambda c: launched(*c))):
        run([*command, "--texts", texts, "--out", str(tmp_path / name)])
    one, half, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "half", "two"))
    for name in parts.weights(build_model(recipe)):
        end = f".{name.removeprefix('blocks.')}.weight"  # files name a block as its family does
        a, b = (next(W for key, W in of.items() if key.endswith(end)) for of in (one, two))
        assert ((a == 0) == (b == 0)).double().mean() > 0.995 and (a - b).norm() < 0.02 * a.norm(), name
    away = [float((half[k] - one[k]).norm() / one[k].norm()) for k in one]
    assert max(away) > 0.2  # the control: fewer texts give another model


def test_fewer_states_than_processes_are_refused(monkeypatch):
    model = tiny_model()
    ids = tiny_ids(2)
    states = CalibrationSet(ids, torch.ones_like(ids, dtype=torch.bool), torch.ones(2), torch.arange(2), 3)
    monkeypatch.setattr(activations, "_group", lambda: (0, 3))
    with pytest.raises(ValueError, match="2 states do not suffice for 3 processes: take more texts"):
        activations.collect(model, states)
