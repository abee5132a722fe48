"""Parts are made once, do not depend on their neighbours, and compute the same packed and plain."""

import pytest
import torch

from dlmlab.compress import activations, removal
from dlmlab.compress.joint.assembly import Assembly, Calibration, without
from dlmlab.compress.joint.options import Option
from dlmlab.network import checkpoint, parts
from tests.compress.cases import TOKENIZER, logits, statistics, toy
from tests.compress.joint.cases import GROUP, OPTIONS, assembly, reading_assembly


def test_packed_and_plain_models_give_the_same_logits():
    for option in OPTIONS:
        choice = {"blocks.0": option}
        plain, packed = (logits(assembly().model(choice, packed=p)) for p in (False, True))
        assert torch.equal(plain, packed), str(option)
        assert torch.equal(plain, logits(assembly().dense)) == (option == Option()), str(option)


def test_a_part_is_the_same_whatever_its_neighbours_are():
    one = assembly().model({"blocks.1": OPTIONS[2]})
    two = assembly().model({"blocks.1": OPTIONS[2], "blocks.0": OPTIONS[3]})
    assert all(
        torch.equal(a, b)
        for a, b in zip(parts.blocks(one)[1].parameters(), parts.blocks(two)[1].parameters(), strict=True)
    )


def test_an_assembled_model_is_a_copy():
    before = logits(assembly().dense)
    model = assembly().model({"blocks.0": OPTIONS[2]})
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    assert torch.equal(logits(assembly().dense), before)
    assert logits(assembly().model({"blocks.0": OPTIONS[2]})).any()


def test_one_matrix_may_have_its_own_option():
    model = assembly().model({"blocks.0": OPTIONS[1], "blocks.0.ff_out": OPTIONS[3]})
    block, eight = (parts.blocks(m)[0] for m in (model, assembly().model({"blocks.0": OPTIONS[1]})))
    assert torch.equal(block.q_proj.weight, eight.q_proj.weight)
    assert not torch.equal(block.ff_out.weight, eight.ff_out.weight)
    with pytest.raises(ValueError, match="units leave a block"):
        assembly().part("blocks.0.ff_out", OPTIONS[6])


def test_a_layer_may_leave_but_not_all():
    model = assembly().model({"blocks.0": OPTIONS[-1]})
    assert model.config.n_layers == 1
    assert torch.equal(logits(model), logits(removal.remove_layers(assembly().dense, [0])))
    with pytest.raises(ValueError, match="at least one must stay"):
        assembly().model(dict.fromkeys(assembly().places, OPTIONS[-1]))
    with pytest.raises(ValueError, match="layers are 0..1"):
        assembly().part("blocks.2", OPTIONS[1])


def test_statistics_without_features_are_those_of_the_inputs_that_stay():
    _, X = toy(n=64)
    gone = torch.tensor([3, 5])
    kept = [i for i in range(64) if i not in gone.tolist()]
    found, wanted = without(statistics(X), gone), statistics(X[:, kept])
    assert torch.allclose(found.gram, wanted.gram) and torch.allclose(found.sum_sq, wanted.sum_sq)
    assert found.tokens == wanted.tokens


def test_quantizing_after_neurons_left_uses_the_inputs_that_stay():
    """The matrix behind the neurons is repaired with the second moments of those that stay: better than rounding."""
    option = Option(2, GROUP, units="neurons", share=0.5)
    losses = []
    for repair in (True, False):
        chosen = Option(2, GROUP, units="neurons", share=0.5, repair=repair)
        losses.append(
            float((logits(assembly().model({"blocks.1": chosen})) - logits(assembly().dense)).square().mean())
        )
    assert losses[0] < losses[1] and assembly().shapes({"blocks.1": option}) == [(4, 48), (4, 24)]


def test_a_saved_model_of_mixed_parts_loads_again(tmp_path):
    a = reading_assembly()
    for choice in ({"blocks.0": OPTIONS[2], "blocks.1": OPTIONS[6]}, {"blocks.0": OPTIONS[-1], "blocks.1": OPTIONS[5]}):
        packed = a.model(choice, packed=True)
        checkpoint.save(packed, TOKENIZER, tmp_path / "small")
        again = checkpoint.load(tmp_path / "small").model
        assert torch.equal(logits(again), logits(a.model(choice)))


def test_the_texts_come_from_the_calibration_split_and_its_seed(monkeypatch):
    one, two, other = (Calibration(texts=4, seed=s).states(TOKENIZER).ids for s in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_a_causal_model_gets_clean_texts(monkeypatch):
    seen = []
    monkeypatch.setattr(activations, "collect", lambda model, calib, gram: seen.append(calib) or {})
    Assembly.of("llama-mini", Calibration(texts=2))
    assert not seen[0].masked.any()
