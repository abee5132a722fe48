"""A winner that is trained on keeps its zeros, its grids and its bytes."""

import pytest
import torch

from dlmlab.compress.joint.options import Option
from dlmlab.compress.joint.recover import recovered
from dlmlab.network import parts
from tests.compress.cases import logits, seeded
from tests.compress.joint.cases import GROUP, assembly
from tests.compress.quant.test_qat import batch

CHOICE = {"blocks.0": Option(4, GROUP, 0.5), "blocks.1": Option(2, GROUP, units="neurons", share=0.5)}
HOW = {"steps": 3, "lr": 1e-2}


def trained(choice, **how):
    return recovered(assembly(), choice, batch, generator=seeded(), **HOW, **how)


@pytest.mark.parametrize("learns", ["from the dense model", "from data"])
def test_zeros_grids_and_units_stay_and_the_rest_moves(learns):
    before = assembly().model(CHOICE)
    model, size = trained(CHOICE, teacher=assembly().dense if learns == "from the dense model" else None)
    for block, old in zip(parts.blocks(model), parts.blocks(before), strict=True):
        assert parts.shape(block) == parts.shape(old)
        for name, matrix in parts.matrices(block).items():
            there, W = old.get_submodule(name).weight, matrix.weight
            assert not W[there == 0].any() or block is not parts.blocks(model)[0]
            assert not torch.equal(W, there)
            levels = [len(cell.unique()) for cell in W.view(-1, GROUP)]
            assert max(levels) <= (16 if block is parts.blocks(model)[0] else 4)
    assert size <= assembly().weigh(CHOICE).bytes
    assert not torch.equal(logits(model), logits(before))


def test_a_layer_that_left_stays_away():
    model, size = trained({"blocks.0": Option(units="layer"), "blocks.1": Option(4, GROUP)}, teacher=None)
    assert model.config.n_layers == 1 and size < assembly().weigh({"blocks.1": Option(4, GROUP)}).bytes


def test_zeros_that_nothing_would_hold_are_refused():
    with pytest.raises(ValueError, match="give the option bits"):
        trained({"blocks.0": Option(sparsity=0.5)}, teacher=None)
