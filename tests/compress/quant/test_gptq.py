"""GPTQ against the textbook loop, against rounding, and with zeros in the same pass."""

import pytest
import torch

from dlmlab.compress import moments, selection, sparsegpt
from dlmlab.compress.activations import Statistics
from dlmlab.compress.quant import grids
from dlmlab.compress.quant.gptq import Options, compensate, gptq
from dlmlab.compress.quant.grids import quantize
from dlmlab.compress.quant.rtn import output_error, rtn
from dlmlab.network.codes import QSpec, decode, dequantize
from tests.compress.quant.helpers import seeded, statistics, toy
from tests.tiny import one_thread

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


def with_gram(gram: torch.Tensor) -> Statistics:
    found = Statistics.empty(len(gram), gram=True)
    found.gram, found.tokens, found.states = gram.double(), 1, 1
    return found


def literal_obq(W, gram, spec, order, damp=0.01, removed=None):
    """Optimal brain quantization, one row and one weight at a time: round, repair what is left, drop the weight.

    Frantar et al., arXiv 2208.11580, equations 3 and 5, with the order given instead of searched.
    """
    q0 = grids.quantize(W, spec)  # per-row grids do not change on the way
    H = moments.damped(gram, damp)[0]
    codes = torch.zeros(W.shape, dtype=torch.int32)
    for r, row in enumerate(W.double()):
        w, left, inverse = row.clone(), list(order), torch.linalg.inv(H)
        scale, zero = q0.scale[r, 0], None if q0.zero is None else q0.zero[r, 0]
        for j in order:
            code = grids.encode(w[j], scale, zero, spec)
            if removed is not None and removed[r, j]:
                code = torch.tensor(0 if zero is None else int(zero))
            codes[r, j] = code
            error = (w[j] - decode(code, scale, zero).double()) / inverse[j, j]
            for k in left:
                w[k] -= error * inverse[k, j]
            inverse = inverse - torch.outer(inverse[:, j], inverse[j]) / inverse[j, j]
            left.remove(j)
            inverse[j], inverse[:, j], inverse[j, j] = 0, 0, 1
    return codes


@pytest.mark.parametrize("spec", [QSpec(3), QSpec(2, symmetric=True), QSpec(4, range="mse")], ids=str)
@pytest.mark.parametrize("act_order", [False, True])
def test_every_row_is_that_of_the_textbook_loop(spec, act_order):
    W, found, _ = toy(C=12, R=6, n=400)
    order = found.gram.diagonal().argsort(descending=True).tolist() if act_order else range(12)
    ours = gptq(W, found, Options(spec, act_order)).codes
    assert torch.equal(ours, literal_obq(W, found.gram, spec, list(order)))
    assert not torch.equal(ours, quantize(W, spec).codes)


def test_a_given_mask_is_that_of_the_textbook_loop_too():
    W, found, _ = toy(C=12, R=6, n=400)
    removed = selection.select(W.abs(), 0.5)
    spec = QSpec(4, symmetric=True, granularity="row")
    masked = W.masked_fill(removed, 0.0)
    scale = quantize(masked, spec)
    ours = gptq(W, found, spec, removed=removed)
    assert torch.equal(ours.scale, scale.scale)  # the grid need not hold what is removed
    same = W.clone()
    same[:, 0] = 3.0 * W.abs().amax(1)  # kept and the largest: with and without the mask one grid
    removed[:, 0] = False
    ours = gptq(same, found, spec, removed=removed)
    assert torch.equal(ours.codes, literal_obq(same, found.gram, spec, list(range(12)), removed=removed))
    assert (dequantize(ours)[removed] == 0).all()


@pytest.mark.parametrize(
    "spec", [QSpec(3), QSpec(2, group=16), QSpec(4, True, group=32), QSpec(3, granularity="tensor")]
)
@pytest.mark.parametrize("how", [{"damp": 0}, {"act_order": True, "static": True, "damp": 0}])
def test_with_a_diagonal_second_moment_it_is_rounding(spec, how):
    W, _, _ = toy()
    for gram in (torch.eye(64), (torch.rand(64, generator=seeded(1)) + 0.1).diag()):
        found = with_gram(gram)
        ours, plain = gptq(W, found, Options(spec, **how)), rtn(W, found, spec)
        assert torch.equal(dequantize(ours), dequantize(plain))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_order_of_methods_on_a_toy_problem(bits):
    W, found, _ = toy()
    plain, ours, ordered = (
        output_error(W, dequantize(q), found.gram)
        for q in (
            rtn(W, found, QSpec(bits)),
            gptq(W, found, QSpec(bits)),
            gptq(W, found, Options(QSpec(bits), act_order=True)),
        )
    )
    assert plain > 1.5 * ours and ours > 1.05 * ordered


def test_groups_are_laid_from_repaired_weights_or_from_the_first():
    W, found, _ = toy()
    spec = QSpec(3, group=16)
    moving, static = gptq(W, found, spec), gptq(W, found, Options(spec, static=True))
    assert torch.equal(static.scale, quantize(W, spec).scale)
    assert torch.equal(moving.scale[:, 0], static.scale[:, 0]) and not torch.equal(moving.scale, static.scale)
    # A group starts where the weights are repaired already: its grid covers them, and none is clipped by much.
    assert output_error(W, dequantize(moving), found.gram) < 0.7 * output_error(
        W, dequantize(rtn(W, None, spec)), found.gram
    )


def test_ordering_needs_static_groups():
    W, found, _ = toy()
    with pytest.raises(ValueError, match="needs static=True"):
        Options(QSpec(3, group=16), act_order=True)
    gptq(W, found, Options(QSpec(3, group=16), act_order=True, static=True))


@pytest.mark.parametrize("act_order", [False, True])
def test_scaling_all_inputs_changes_no_code(act_order):
    W, found, X = toy()
    options = Options(QSpec(3), act_order)
    codes = [gptq(W, statistics(c * X), options).codes for c in (1.0, 8.0)]
    assert torch.equal(*codes)


def test_a_dead_feature_is_rounded_and_changes_nothing_for_the_others():
    W, _, X = toy()
    X[:, 5], W[:, 5] = 0, 0.2 * W[:, 5]  # inside the range of every row: the grids stay
    q = gptq(W, statistics(X), QSpec(3))
    assert torch.equal(q.codes[:, 5], quantize(W, QSpec(3)).codes[:, 5])
    W2 = W.clone()
    W2[:, 5] *= -0.5
    others = [j for j in range(64) if j != 5]
    assert torch.equal(gptq(W2, statistics(X), QSpec(3)).codes[:, others], q.codes[:, others])


# ------------------------------------------------------------------------------------------------ with zeros


@pytest.mark.parametrize("pattern, sparsity", [("row", 0.5), ("2:4", 0.5), ("row", 0.25)])
def test_one_pass_prunes_the_share_and_is_better_than_pruning_then_rounding(pattern, sparsity):
    W, found, _ = toy()
    joint = dequantize(gptq(W, found, Options(QSpec(3), sparsity=sparsity, pattern=pattern)))
    assert float((joint == 0).float().mean()) >= sparsity - 1e-6
    if pattern == "2:4":
        assert ((joint == 0).view(24, -1, 4).sum(-1) >= 2).all()
    pruned = sparsegpt.sparsegpt(W, found.gram, sparsity, pattern=pattern)
    after = dequantize(rtn(pruned, None, QSpec(3)))
    assert output_error(W, joint, found.gram) < 0.9 * output_error(W, after, found.gram)


def test_at_sixteen_bits_one_pass_is_sparsegpt():
    W, found, _ = toy()
    W[:, 0], W[:, 1] = 9.0, -9.0  # wide grids: a repaired weight is not clipped
    joint = dequantize(gptq(W, found, Options(QSpec(16, scale="fp32"), sparsity=0.5, block=8)))
    assert (joint - sparsegpt.sparsegpt(W, found.gram, 0.5, block=8)).abs().max() < 1e-3


def test_no_sparsity_is_no_mask():
    W, found, _ = toy()
    plain = gptq(W, found, QSpec(4))
    assert torch.equal(plain.codes, gptq(W, found, Options(QSpec(4), sparsity=0.0)).codes)
    assert torch.equal(plain.codes, gptq(W, found, QSpec(4), removed=torch.zeros_like(W, dtype=torch.bool)).codes)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda W, s: Options(QSpec(4), sparsity=0.4, pattern="2:4"), "not sparsity=0.4"),
        (lambda W, s: Options(QSpec(4), sparsity=0.5, act_order=True), "act_order=True with sparsity=0.5"),
        (lambda W, s: Options(QSpec(4), sparsity=0.5, pattern="layer"), "pattern='layer'"),
        (lambda W, s: gptq(W, s, Options(QSpec(4), sparsity=1 / 3, pattern="1:3")), "not a multiple of 3"),
        (lambda W, s: gptq(W, s, Options(QSpec(4), damp=-1)), "damp=-1"),
        (lambda W, s: gptq(W, s, QSpec(4, group=24)), "does not divide"),
        (lambda W, s: gptq(W, Statistics.empty(64), QSpec(4)), "needs second moments"),
        (lambda W, s: gptq(W, s, QSpec(4), removed=torch.zeros(3, 3, dtype=torch.bool)), "of W's shape"),
        (lambda W, s: gptq(W * float("nan"), s, QSpec(4)), "nan or inf"),
    ],
)
def test_what_cannot_be_done_is_refused(call, text):
    W, found, _ = toy()
    with pytest.raises(ValueError, match=text):
        call(W, found)


@pytest.mark.parametrize("j", [0, 5, 11])
def test_the_columns_to_the_right_repair_as_well_as_least_squares_can(j):
    W, found, X = toy(C=12, R=6, n=400)
    W, X, rounded = W.double(), X.double(), W[:, j].double().round()
    U, _ = sparsegpt.inverse_factor(found.gram, 0.0)
    new = W.clone()
    compensate(new, j, rounded, U)
    assert torch.equal(new[:, j], rounded) and torch.equal(new[:, :j], W[:, :j])
    lost = X[:, j, None] * (W[:, j] - rounded)  # (n, R): what the outputs lack
    repair = torch.linalg.lstsq(X[:, j + 1 :], lost).solution.T
    assert torch.allclose(new[:, j + 1 :] - W[:, j + 1 :], repair, atol=1e-6)
