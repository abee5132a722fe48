"""What passes through the matrices of a model: the sums that pruning and quantization are made of.

Decisions
* Matrices that read the same input (one `parts.Site`) share one `Statistics` object. Of an expert it counts the tokens
  that were routed to it.
* Sums are float64, so that a mask does not depend on the order of the batches, and live where the block computes.
* `walk` goes layer by layer and lets the caller change each block before the next one is reached. So "sequential"
  methods, which see the errors of the layers before, and one-shot methods are the same loop. The model is
  run up to its first block, which shows what every block is called with; the states between two blocks are kept.
* A model that is larger than a device is visited block by block (`device`).
* Several processes share the states: each walks with its own, and the sums of a layer are those of all, so that every
  process changes its copy of the block in the same way.

Sources: Sun et al., Wanda, arXiv 2306.11695 (norm of input features); Frantar and Alistarh, SparseGPT, arXiv
2301.00774 (second moments).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch
from accelerate import PartialState
from accelerate.utils import send_to_device
from torch import Tensor, nn

from dlmlab.compress.calibration import CalibrationSet
from dlmlab.network import parts
from dlmlab.network.model import LLaDAModelLM


def feature_squares(x: Tensor, weight: Tensor) -> Tensor:
    """Sum the squares of each feature over the tokens of a state, every token multiplied by its weight, (B, C) float64.

        out[b, c] = sum over l of (weight[b, l] x[b, l, c])^2

    Tokens of weight 0 are left out, whatever they hold. Shapes: x (B, L, C), weight (B, L). Source: Wanda, arXiv
    2306.11695, equation 1; the weight: Sink-Aware Pruning, arXiv 2602.17664.
    """
    squares = x.double().square().masked_fill((weight == 0)[..., None], 0.0)
    return torch.einsum("blc,bl->bc", squares, weight.double().square())


@dataclass
class Statistics:
    """Sums over the weighted rows x of one matrix input, `C` features wide.

    `sum_sq` (C,) sum of squares · `sum_norm` (C,) sum over states of the norm of a feature · `abs_sum`, `abs_max` (C,)
    · `gram` (C, C) sum of x x^T, or None · `states`, `tokens`: how many were seen (tokens with weight 0 left out).
    """

    sum_sq: Tensor
    sum_norm: Tensor
    abs_sum: Tensor
    abs_max: Tensor
    gram: Tensor | None = None
    states: int = 0
    tokens: int = 0

    @classmethod
    def empty(cls, C: int, *, gram: bool = False, device: torch.device | str = "cpu") -> "Statistics":
        """Start with nothing seen."""
        like = {"dtype": torch.float64, "device": device}
        return cls(*(torch.zeros(C, **like) for _ in range(4)), torch.zeros(C, C, **like) if gram else None)

    def add(self, x: Tensor, weight: Tensor | None = None) -> "Statistics":
        """Add a batch x (B, L, C), its tokens multiplied by weight (B, L)."""
        weight = torch.ones(x.shape[:2], device=x.device) if weight is None else weight
        counted = weight != 0
        per_state = feature_squares(x, weight)  # (B, C)
        x = x[counted].float() * weight[counted][:, None]  # (n, C)
        self.sum_sq += per_state.sum(0)
        self.sum_norm += per_state.sqrt().sum(0)
        if len(x):
            size = x.abs()
            self.abs_sum += size.sum(0).double()
            self.abs_max = torch.maximum(self.abs_max, size.amax(0).double())
        if self.gram is not None:
            self.gram += (x.T @ x).double()
        self.states += len(weight)
        self.tokens += int(counted.sum())
        return self

    def pool(self) -> "Statistics":
        """Add up, in place, what all processes of a group have seen; a process alone has seen it all."""
        if _group()[1] > 1:
            counts = _over_all(torch.tensor([self.states, self.tokens]), "SUM")
            self.states, self.tokens = counts.tolist()
            for name in ("sum_sq", "sum_norm", "abs_sum", "gram"):
                if getattr(self, name) is not None:
                    setattr(self, name, _over_all(getattr(self, name), "SUM"))
            self.abs_max = _over_all(self.abs_max, "MAX")
        return self

    @property
    def rms(self) -> Tensor:
        """Root of the mean over states of a feature's squared norm, (C,): Wanda's statistic."""
        return (self.sum_sq / self.states).sqrt()

    def check(self, name: str) -> "Statistics":
        """Raise `ValueError` when nothing was seen or a sum is not finite."""
        if self.tokens == 0:
            raise ValueError(
                f"statistics of {name}: no token has a weight other than 0; if none was routed to an expert: take more "
                "texts, a method that reads none, or leave it as it is (options: a function that returns None for it)"
            )
        sums = (self.sum_sq, self.sum_norm, self.abs_max, self.sum_sq if self.gram is None else self.gram)
        if not all(bool(torch.isfinite(s).all()) for s in sums):
            raise ValueError(f"statistics of {name} are not finite: the activations hold nan or inf")
        return self

    def second_moments(self, name: str) -> Tensor:
        """Return the second moments, (C, C). Raises `ValueError` as `check`, and when they were not collected."""
        if self.gram is None:
            raise ValueError(f"{name}: this method needs second moments, collect with gram=True")
        return self.check(name).gram


def _group() -> tuple[int, int]:
    """Return the number of this process among those that a launcher has started and joined, and how many they are."""
    joined = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if joined else (0, 1)


def _over_all(x: Tensor, operation: str) -> Tensor:
    there = x.to(PartialState().device)  # NCCL knows no tensor of the CPU
    torch.distributed.all_reduce(there, getattr(torch.distributed.ReduceOp, operation))
    return there.to(x.device)


@torch.no_grad()
def walk(
    model: LLaDAModelLM,
    calib: CalibrationSet,
    *,
    weights: Tensor | None = None,
    gram: bool = False,
    sequential: bool = True,
    batch_size: int = 64,
    device: str | None = None,
) -> Iterator[tuple[int, dict[str, Statistics]]]:
    """Yield, layer by layer, the statistics of the matrices of a block, by their path inside it.

    What the caller changes in a block before it asks for the next one is felt by all later layers (`sequential`);
    otherwise the dense activations go on. `weights` (N, L) multiplies tokens, default 1. `device`: where each block
    computes, and its statistics are made, while it is visited; the rest of the model and the states between the blocks
    stay where they are, so the device holds one block, one batch and the statistics of one layer. Raises `ValueError`
    for weights of another shape or below zero, for masks shown to a causal model, for fewer states than processes, and
    for statistics that are empty or not finite; those of an expert to which no token was routed are handed out empty.
    """
    weights = _checked_weights(model, calib, weights)
    rank, size = _group()
    if len(calib) < size:
        raise ValueError(f"{len(calib)} states do not suffice for {size} processes: take more texts")
    mine = torch.arange(rank, len(calib), size)
    calib, weights = (calib.rows(mine), weights[mine]) if size > 1 else (calib, weights)
    batches = torch.arange(len(calib)).split(batch_size)
    hidden, calls = zip(*(_first_call(model, calib.rows(b)) for b in batches), strict=True)
    for layer, block in enumerate(parts.blocks(model)):
        with visited(block, device):
            matrices, found = parts.matrices(block), {}
            for site in parts.sites(block):
                W = matrices[site.matrices[0]].weight
                found |= dict.fromkeys(site.matrices, Statistics.empty(W.shape[1], gram=gram, device=W.device))
            with _Watch(block, found, iter(weights[b] for b in batches)):
                after = _outputs(block, hidden, calls, device)
            sparse = {name for site in parts.sites(block) if site.tokens is not None for name in site.matrices}
            for statistics in {id(s): s for s in found.values()}.values():  # matrices of a site share theirs
                statistics.pool()
            for name, statistics in found.items():
                if statistics.tokens or name not in sparse:  # an expert may read nothing: who needs it checks it
                    statistics.check(f"blocks.{layer}.{name}")
            yield layer, found
            hidden = _outputs(block, hidden, calls, device) if sequential else after


@contextmanager
def visited(block: nn.Module, device: str | None) -> Iterator[nn.Module]:
    """While it is open, a block lies on a device (None: where it is); afterwards it is back where it was."""
    home = next(block.parameters()).device
    if device is not None:
        block.to(device)
    try:
        yield block
    finally:
        if device is not None:
            block.to(home)


def _outputs(
    block: nn.Module, hidden: Sequence[Tensor], calls: Sequence[tuple[tuple, dict]], device: str | None
) -> list[Tensor]:
    """Run a block on every batch, there and back."""
    return [
        block(*send_to_device((h, *args), device), **send_to_device(kwargs, device))[0].to(h.device)
        if device is not None
        else block(h, *args, **kwargs)[0]
        for h, (args, kwargs) in zip(hidden, calls, strict=True)
    ]


class _Enough(Exception):
    """The first block was reached: nothing after it needs to be computed."""


def _first_call(model: LLaDAModelLM, part: CalibrationSet) -> tuple[Tensor, tuple[tuple, dict]]:
    """Run the model up to its first block; return what enters it and what else it, and every other block, is called
    with: rotation, mask, no cache."""
    found: list[tuple[tuple, dict]] = []

    def note(module, args, kwargs):
        found.append((args, kwargs))
        raise _Enough

    hook = parts.blocks(model)[0].register_forward_pre_hook(note, with_kwargs=True)
    with suppress(_Enough):
        model(part.ids.to(model.device), part.real.to(model.device))
    hook.remove()
    args, kwargs = found[0]
    return args[0], (args[1:], kwargs)


@dataclass
class _Watch:
    """While it is open, what enters the matrices of a block is added to `found`, one batch of token weights (B, L)
    after the other."""

    block: nn.Module
    found: dict[str, Statistics]
    weights: Iterator[Tensor]
    handles: list = field(default_factory=list)

    def __enter__(self) -> "_Watch":
        self.handles.append(self.block.register_forward_pre_hook(self._next))
        for site in parts.sites(self.block):  # the first matrix of a site carries the hook
            matrix = self.block.get_submodule(site.matrices[0])
            self.handles.append(matrix.register_forward_pre_hook(self._adder(site)))
        return self

    def _next(self, module, inputs) -> None:
        self.weight = next(self.weights).to(inputs[0].device)

    def _adder(self, site: parts.Site):
        statistics = self.found[site.matrices[0]]

        def add(module, inputs):
            x, weight = inputs[0], self.weight
            if site.tokens is not None:
                x, weight = _in_place(x, site.tokens(), weight)
            statistics.add(x, weight)

        return add

    def __exit__(self, *error) -> None:
        for handle in self.handles:
            handle.remove()


def _in_place(x: Tensor, tokens: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Put the rows that a site read, x (n, C), where their tokens (n,) stand, (B, L, C); the others get weight 0."""
    whole, counted = x.new_zeros(weight.numel(), x.shape[-1]), torch.zeros_like(weight).flatten()
    whole[tokens], counted[tokens] = x, weight.flatten()[tokens]
    return whole.view(*weight.shape, -1), counted.view_as(weight)


def _checked_weights(model: LLaDAModelLM, calib: CalibrationSet, weights: Tensor | None) -> Tensor:
    if model.config.attention == "causal" and bool(calib.masked.any()):
        raise ValueError("a causal model never sees masks: calibrate it on mode 'clean'")
    if weights is None:
        return calib.real.float()
    if weights.shape != calib.ids.shape:
        raise ValueError(f"weights must be of shape {tuple(calib.ids.shape)}, got {tuple(weights.shape)}")
    if not bool(((weights >= 0) & (weights < torch.inf)).all()):
        raise ValueError(f"weights must be finite and >= 0, got {float(weights.min())}..{float(weights.max())}")
    return weights.float() * calib.real


def collect(model: LLaDAModelLM, calib: CalibrationSet, **options) -> dict[str, Statistics]:
    """Collect the statistics of every matrix of the dense model in one pass: by name.

    Options and errors as in `walk`.
    """
    return {
        f"blocks.{layer}.{name}": statistics
        for layer, found in walk(model, calib, sequential=False, **options)
        for name, statistics in found.items()
    }


@torch.no_grad()
def collect_each(
    model: LLaDAModelLM, calib: CalibrationSet, weights: Sequence[Tensor], *, gram: bool = False, batch_size: int = 64
) -> list[dict[str, Statistics]]:
    """Collect the sums of squares under several token weights (N, L) in one pass over the dense model, one dictionary
    a weight as from `collect`; with `gram` the second moments too.

    A weight w changes the sums of the unweighted tokens by (w^2 - 1) x^2, so only tokens with w other than 1 cost
    anything: sinks are few. The sums of norms and of absolute values are left at 0. Errors as in `walk`.
    """
    weights = [_checked_weights(model, calib, w) for w in weights]
    sites = [
        (f"blocks.{i}.", block, site) for i, block in enumerate(parts.blocks(model)) for site in parts.sites(block)
    ]
    if any(site.tokens is not None for _, _, site in sites):
        raise ValueError("collect_each reads every token at every matrix: a model with experts needs collect")
    found: list[dict[str, Statistics]] = [{} for _ in weights]
    seen: dict[str, Tensor] = {}
    hooks = []
    for path, block, site in sites:
        matrix = block.get_submodule(site.matrices[0])
        for one in found:
            empty = Statistics.empty(matrix.in_features, gram=gram, device=model.device)
            one |= {path + name: empty for name in site.matrices}
        hooks.append(
            matrix.register_forward_pre_hook(
                lambda module, inputs, name=path + site.matrices[0]: seen.__setitem__(name, inputs[0])
            )
        )
    for batch in torch.arange(len(calib)).split(batch_size):
        part = calib.rows(batch)
        model(part.ids.to(model.device), part.real.to(model.device))
        for name, x in seen.items():
            _add_each([one[name] for one in found], x, part.real, [w[batch] for w in weights])
    for hook in hooks:
        hook.remove()
    return [{name: statistics.check(name) for name, statistics in one.items()} for one in found]


def _add_each(found: Sequence[Statistics], x: Tensor, real: Tensor, weights: Sequence[Tensor]) -> None:
    """Add one batch x (B, L, C) under each of the weights (B, L)."""
    real, gram = real.to(x.device), found[0].gram is not None
    x = x[real].double()  # (n, C)
    plain = _moments(x, torch.ones(len(x), device=x.device), gram)
    for statistics, weight in zip(found, weights, strict=True):
        w = weight.to(x.device)[real].double()  # (n,)
        other = (w != 1).nonzero()[:, 0]
        change = _moments(x[other], w[other].square() - 1, gram)
        sums = (statistics.sum_sq, statistics.gram) if gram else (statistics.sum_sq,)
        for total, unweighted, correction in zip(sums, plain, change, strict=True):
            total += unweighted + correction
        statistics.states += len(weight)
        statistics.tokens += int((w != 0).sum())


def _moments(x: Tensor, scale: Tensor, gram: bool) -> tuple[Tensor, ...]:
    """Sum scale x^2 over the rows of x (n, C), (C,), and scale x x^T when asked, (C, C)."""
    scaled = x * scale[:, None]
    return ((x * scaled).sum(0), scaled.T @ x) if gram else ((x * scaled).sum(0),)
