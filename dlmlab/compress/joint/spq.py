"""SPQ, re-implemented from its description: SVD of attention, pruning of neurons by activation, 8 bits, in this order.

    S   q, k, v and output projection: the smallest rank that keeps 96 % of the squared singular values, taken only when
        it is below 80 % of the full rank and the two factors have fewer numbers than the matrix
    P   neurons with the lowest mean |up projection|; a layer loses up to 5 %, the more the less active it is:
        ratio_l = 0.05 (log a_max - log a_l) / (log a_max - log a_min)
    Q   symmetric 8 bits: a scale a row in the MLP, one for the whole matrix in attention and the head

Decisions
* Bytes are those of real arrays, stage by stage. The released code counts 8-bit buffers and keeps the floats beside
  them.
* Texts come from the calibration split. The published ones are from the set on which the result is reported.
* Low-rank matrices are multiplied out for measuring, after their factors were rounded: the numbers are the same.
* Fine-tuning (the published LoRA) is left to `recovery`; ranks and neurons are kept: `again` factorizes what was
  trained, at the ranks of before.

Source: Yao et al., SPQ, arXiv 2602.18420, and github.com/JiaminYao/SPQ_LLM_Compression.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dlmlab.compress import removal
from dlmlab.compress.calibration import CalibrationSet
from dlmlab.compress.quant.grids import quantize
from dlmlab.network import packed, parts
from dlmlab.network.codes import QSpec, dequantize
from dlmlab.network.model import LLaDAModelLM

ATTENTION = (*parts.READERS[0], *parts.READERS[1])
ENERGY, GATE, NEURONS = 0.96, 0.8, 0.05  # published
ROW, WHOLE = QSpec(8, symmetric=True), QSpec(8, symmetric=True, granularity="tensor")


@dataclass
class Compressed:
    """A `model` with plain weights, the `bytes` of its stored arrays, the `ranks` {matrix: rank} of what is factorized,
    and how many neurons each layer lost, `removed`."""

    model: LLaDAModelLM
    bytes: int
    ranks: dict[str, int] = field(default_factory=dict)
    removed: dict[int, int] = field(default_factory=dict)


def rank_for(W: Tensor, energy: float = ENERGY) -> int | None:
    """Give the smallest rank that keeps a share of the squared singular values; None when SPQ would not factorize."""
    sigma = torch.linalg.svdvals(W.double()).square()
    r = int((sigma.cumsum(0) < energy * sigma.sum()).sum()) + 1
    R, C = W.shape
    return r if r / min(R, C) <= GATE and r * (R + C) < R * C else None


def factors(W: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Split W (R, C) into U S (R, rank) and V (rank, C), the best approximation of this rank."""
    U, S, V = torch.linalg.svd(W.double(), full_matrices=False)
    return (U[:, :rank] * S[:rank]).to(W.dtype), V[:rank].to(W.dtype)


@torch.no_grad()
def up_activity(model: LLaDAModelLM, calib: CalibrationSet, *, batch_size: int = 64) -> list[Tensor]:
    """Mean |up projection| of every neuron over real tokens, (f,) a layer."""
    outputs: list[Tensor] = []
    ups = [block.get_submodule(parts.UNITS["neurons"].into[-1]) for block in parts.blocks(model)]
    hooks = [up.register_forward_hook(lambda module, inputs, output: outputs.append(output)) for up in ups]
    sums = [torch.zeros(up.out_features, dtype=torch.float64) for up in ups]
    for part in torch.arange(len(calib)).split(batch_size):
        outputs.clear()
        rows = calib.rows(part)
        model(rows.ids, rows.real)
        for total, output in zip(sums, outputs, strict=True):
            total += output[rows.real].abs().double().sum(0)
    for hook in hooks:
        hook.remove()
    return [total / int(calib.real.sum()) for total in sums]


def neuron_shares(activity: list[float], most: float = NEURONS) -> list[float]:
    """Share of the neurons that each layer loses, from the mean activity of the layers.

    >>> neuron_shares([1.0, 10.0, 100.0])
    [0.05, 0.025, 0.0]
    """
    logs = [math.log(a) for a in activity]
    spread = max(logs) - min(logs)
    return [round(most * (max(logs) - a) / spread, 12) if spread else 0.0 for a in logs]


def factorize(model: LLaDAModelLM, energy: float = ENERGY) -> Compressed:
    """Stage S."""
    ranks = {
        f"blocks.{layer}.{name}": rank
        for layer, block in enumerate(parts.blocks(model))
        for name in ATTENTION
        if (rank := rank_for(block.get_submodule(name).weight.detach(), energy))
    }
    return again(copy.deepcopy(packed.check_dense(model)), ranks, {}, quantized=False)


def prune(before: Compressed, calib: CalibrationSet, most: float = NEURONS) -> Compressed:
    """Stage P."""
    activity = up_activity(before.model, calib)
    shares = neuron_shares([float(a.mean()) for a in activity], most)
    gone = {
        layer: a.argsort(stable=True)[: int(share * len(a))].tolist()
        for layer, (a, share) in enumerate(zip(activity, shares, strict=True))
    }
    small = removal.remove_units(before.model, "neurons", {layer: g for layer, g in gone.items() if g})
    return again(small, before.ranks, {layer: len(g) for layer, g in gone.items()}, quantized=False)


def round_off(before: Compressed) -> Compressed:
    """Stage Q."""
    return again(copy.deepcopy(before.model), before.ranks, before.removed, quantized=True)


@torch.no_grad()
def again(model: LLaDAModelLM, ranks: Mapping[str, int], removed: Mapping[int, int], *, quantized: bool) -> Compressed:
    """Give the weights of a model the form in which they are stored, in place: factors of these ranks, 8 bits or float;
    and count the bytes."""
    total = sum(p.numel() * p.element_size() for p in model.parameters())
    named = {f"blocks.{i}.{n}": m for i, b in enumerate(parts.blocks(model)) for n, m in parts.matrices(b).items()}
    named |= {"head": parts.ends(model)[1]} if quantized else {}
    for name, matrix in named.items():
        whole = name == "head" or name.split(".")[-1] in ATTENTION
        total += _store(matrix, ranks.get(name), (WHOLE if whole else ROW) if quantized else None)
    return Compressed(model, total, dict(ranks), dict(removed))


def _store(matrix: nn.Linear, rank: int | None, spec: QSpec | None) -> int:
    """Store a matrix in place; returns the bytes that its weights take more than before (a negative number)."""
    W = matrix.weight
    stored = list(factors(W, rank)) if rank else [W]
    size = sum(t.numel() * t.element_size() for t in stored)
    if spec is not None:
        codes = [quantize(t, spec) for t in stored]
        stored, size = [dequantize(q) for q in codes], sum(packed.pack(q).nbytes for q in codes)
    new = stored[0] @ stored[1] if rank else stored[0]
    before = W.numel() * W.element_size()
    W.copy_(new)
    return size - before


def spq(model: LLaDAModelLM, calib: CalibrationSet, *, energy: float = ENERGY) -> dict[str, Compressed]:
    """Compress a model stage by stage: {"S": ..., "S+P": ..., "S+P+Q": ...}."""
    s = factorize(model, energy)
    p = prune(s, calib)
    return {"S": s, "S+P": p, "S+P+Q": round_off(p)}
