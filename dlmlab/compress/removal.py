"""Structured pruning: heads, MLP neurons and whole layers leave the model, and the tensors really shrink.

Decisions
* A removed unit is gone from every matrix it touches, and the config says how wide each layer is, so the result is
  saved and loaded like any other model. This is the only pruning of the course that makes a CPU faster.
* Removing a unit equals setting its weights to zero: tests hold the two against each other.
* Scores are comparable inside one layer, not across layers.
* Optional repair: the matrix behind the removed units is refitted by least squares (`refit`).

Sources: Men et al., ShortGPT, arXiv 2403.03853 (block influence); Sun et al., Wanda, arXiv 2306.11695 (its score,
summed over a unit).
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dlmlab.compress.activations import Statistics
from dlmlab.compress.calibration import CalibrationSet
from dlmlab.compress.refit import least_squares_refit
from dlmlab.compress.scores import wanda_scores
from dlmlab.compress.selection import lowest
from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.packed import check_dense

SCORES = ("magnitude", "wanda", "random")


def check_units(units: str) -> parts.Unit:
    """Return where the units of a kind live. Raises `ValueError` for an unknown kind."""
    if units not in parts.UNITS:
        raise ValueError(f"units={units!r} is unknown; known: {', '.join(parts.UNITS)}, and layers by remove_layers")
    return parts.UNITS[units]


def unit_scores(W: Tensor, width: int, method: str, *, norms: Tensor | None = None, generator=None) -> Tensor:
    """Score the units of an output matrix W (R, n * width), each `width` columns: (n,).

    `magnitude` the Frobenius norm of the columns; `wanda` the sum of |W| times the norm of the inputs; `random`.
    Raises `ValueError` for an unknown method or a missing argument.
    """
    n = W.shape[1] // width
    if method == "random" and generator is not None:
        return torch.rand(n, generator=generator, device=generator.device).to(W.device)
    if method == "magnitude":
        return W.square().sum(0).view(n, width).sum(1).sqrt()
    if method == "wanda" and norms is not None:
        return wanda_scores(W, norms).sum(0).view(n, width).sum(1)
    raise ValueError(f"method={method!r} is unknown or lacks norms= or generator=; known: {', '.join(SCORES)}")


# ------------------------------------------------------------------------------------------------ removal


@torch.no_grad()
def remove_units(
    model: LLaDAModelLM,
    units: str,
    removed: dict[int, Sequence[int]],
    *,
    statistics: dict[str, Statistics] | None = None,
) -> LLaDAModelLM:
    """Return a smaller copy without the given `heads` or `neurons`, {layer: indices}.

    With `statistics` of the dense model (gram=True) the matrix behind them is refitted. Raises `ValueError` for an
    unknown kind, layer or index, for a layer that would lose all, and for heads that share keys (n_kv_heads below
    n_heads).
    """
    site, config = check_units(units), copy.deepcopy(model.config)
    parts.check_plain(parts.blocks(model)[0])
    if units == "heads" and config.n_kv_heads != config.n_heads:
        raise ValueError("heads share keys and values here: remove whole groups (not implemented)")
    small = copy.deepcopy(check_dense(model))
    for layer, indices in removed.items():
        if not 0 <= layer < config.n_layers:
            raise ValueError(f"layer {layer} is outside 0..{config.n_layers - 1}")
        block = parts.blocks(small)[layer]
        width = block.width if units == "heads" else 1
        kept = _kept(getattr(block, site.out).in_features // width, indices, f"{units} of layer {layer}")
        columns = (kept[:, None] * width + torch.arange(width)).flatten().to(small.device)
        name = f"blocks.{layer}.{site.out}"
        _shrink(block, site, columns, statistics[name].second_moments(name) if statistics else None)
        if units == "heads":
            block.heads = block.kv_heads = len(kept)
    return described(small)


def _kept(n: int, indices: Sequence[int], what: str) -> Tensor:
    gone = set(indices)
    if not gone <= set(range(n)) or len(gone) == n:
        raise ValueError(f"{what}: cannot remove {sorted(gone)} of 0..{n - 1}; at least one must stay")
    return torch.tensor([i for i in range(n) if i not in gone])


def _shrink(block: nn.Module, site: parts.Unit, columns: Tensor, gram: Tensor | None) -> None:
    out = getattr(block, site.out).weight
    if gram is not None:
        removed = torch.ones_like(out, dtype=torch.bool).index_fill_(1, columns, False)
        out = least_squares_refit(out, removed, gram)
    setattr(block, site.out, _linear(out[:, columns]))
    for name in site.into:
        setattr(block, name, _linear(getattr(block, name).weight[columns]))


def _linear(weight: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight.detach().clone().contiguous())
    return linear


@torch.no_grad()
def remove_layers(model: LLaDAModelLM, layers: Sequence[int]) -> LLaDAModelLM:
    """Return a copy without the given layers. Raises `ValueError` for an unknown layer or when none would stay."""
    small = copy.deepcopy(check_dense(model))
    blocks = parts.blocks(small)
    gone = set(range(len(blocks))) - set(_kept(len(blocks), layers, "layers").tolist())
    for layer in sorted(gone, reverse=True):
        del blocks[layer]
    return described(small)


def described(model: LLaDAModelLM) -> LLaDAModelLM:
    """Write the shape of the blocks into the config of a model, so that a saved copy loads; returns the model."""
    shapes, config = [parts.shape(block) for block in parts.blocks(model)], model.config
    config.n_layers = len(shapes)
    config.layer_heads, config.layer_mlp = map(list, zip(*shapes, strict=True))
    config._check_layers()
    return model


# ------------------------------------------------------------------------------------------------ choosing


def choose_units(
    model: LLaDAModelLM,
    units: str,
    share: float,
    method: str,
    *,
    statistics: dict[str, Statistics] | None = None,
    generator: torch.Generator | None = None,
) -> dict[int, list[int]]:
    """Choose the share of lowest units in every layer, {layer: indices}. Raises `ValueError` as `unit_scores`."""
    site, chosen = check_units(units), {}
    parts.check_plain(parts.blocks(model)[0])
    if not 0 <= share < 1:
        raise ValueError(f"share={share} is outside [0, 1)")
    for layer, block in enumerate(parts.blocks(model)):
        W = getattr(block, site.out).weight.detach()
        norms = statistics[f"blocks.{layer}.{site.out}"].rms if statistics else None
        width = block.width if units == "heads" else 1
        scores = unit_scores(W, width, method, norms=norms, generator=generator)
        chosen[layer] = lowest(scores[None], share)[0].nonzero()[:, 0].tolist()
    return chosen


@torch.no_grad()
def block_influence(model: LLaDAModelLM, calib: CalibrationSet, *, batch_size: int = 64) -> list[float]:
    """Measure what each layer changes: 1 - mean cosine between its input and its output, over real tokens.

    Source: ShortGPT, arXiv 2403.03853, equation 1. In diffusion models similar is not the same as dispensable (Conzel
    et al., arXiv 2605.06366). Raises `ValueError` when that is not a finite number.
    """
    states: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda module, inputs, output: states.extend((inputs[0], output[0])))
        for block in parts.blocks(model)
    ]
    total, count = torch.zeros(len(hooks), dtype=torch.float64, device=model.device), 0
    for first in range(0, len(calib), batch_size):
        part = slice(first, first + batch_size)
        states.clear()
        real = calib.real[part].to(model.device)
        model(calib.ids[part].to(model.device), real)
        pairs = zip(states[::2], states[1::2], strict=True)
        total += torch.stack([torch.cosine_similarity(a[real], b[real], dim=-1).double().sum() for a, b in pairs])
        count += int(real.sum())
    for hook in hooks:
        hook.remove()
    influence = 1 - total / count
    if not bool(torch.isfinite(influence).all()):
        raise ValueError(f"the influence of the layers is not finite over {count} tokens: {influence.tolist()}")
    return influence.tolist()
