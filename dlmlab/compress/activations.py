"""What passes through the matrices of a model: the sums that pruning and quantization are made of.

Decisions
* Matrices that read the same input (q, k, v; gate and up projection) share one `Statistics` object.
* Sums are float64: a mask must not depend on the order of the batches.
* `walk` goes layer by layer and lets the caller change each block before the next one is reached. So "sequential"
  methods, which see the errors of the layers before, and one-shot methods are the same loop. A block is called again
  with exactly what the model called it with.

Sources: Sun et al., Wanda, arXiv 2306.11695 (norm of input features); Frantar and Alistarh, SparseGPT, arXiv
2301.00774 (second moments).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dlmlab.compress.calibration import CalibrationSet
from dlmlab.network.model import LLaDAModelLM

SITES = {  # the first matrix of each group carries the hook; the others read the same input
    "q_proj": ("q_proj", "k_proj", "v_proj"),
    "attn_out": ("attn_out",),
    "ff_proj": ("ff_proj", "up_proj"),
    "ff_out": ("ff_out",),
}


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
    def empty(cls, C: int, *, gram: bool = False) -> "Statistics":
        """Start with nothing seen."""
        zeros = [torch.zeros(C, dtype=torch.float64) for _ in range(4)]
        return cls(*zeros, torch.zeros(C, C, dtype=torch.float64) if gram else None)

    def add(self, x: Tensor, weight: Tensor | None = None) -> "Statistics":
        """Add a batch x (B, L, C), its tokens multiplied by weight (B, L)."""
        weight = torch.ones(x.shape[:2]) if weight is None else weight
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

    @property
    def rms(self) -> Tensor:
        """Root of the mean over states of a feature's squared norm, (C,): Wanda's statistic."""
        return (self.sum_sq / self.states).sqrt()

    def check(self, name: str) -> "Statistics":
        """Raise `ValueError` when nothing was seen or a sum is not finite."""
        if self.tokens == 0:
            raise ValueError(f"statistics of {name}: no token has a weight other than 0")
        sums = (self.sum_sq, self.sum_norm, self.abs_max, self.sum_sq if self.gram is None else self.gram)
        if not all(bool(torch.isfinite(s).all()) for s in sums):
            raise ValueError(f"statistics of {name} are not finite: the activations hold nan or inf")
        return self

    def second_moments(self, name: str) -> Tensor:
        """Return the second moments, (C, C). Raises `ValueError` as `check`, and when they were not collected."""
        if self.gram is None:
            raise ValueError(f"{name}: this method needs second moments, collect with gram=True")
        return self.check(name).gram


@torch.no_grad()
def walk(
    model: LLaDAModelLM,
    calib: CalibrationSet,
    *,
    weights: Tensor | None = None,
    gram: bool = False,
    sequential: bool = True,
    batch_size: int = 64,
) -> Iterator[tuple[int, dict[str, Statistics]]]:
    """Yield, layer by layer, the statistics of the seven matrices of a block.

    What the caller changes in a block before it asks for the next one is felt by all later layers (`sequential`);
    otherwise the dense activations go on. `weights` (N, L) multiplies tokens, default 1. Raises `ValueError` for
    weights of another shape or below zero, for masks shown to a causal model, and for statistics that are not finite.
    """
    weights = _checked_weights(model, calib, weights)
    batches = torch.arange(len(calib)).split(batch_size)
    hidden, calls = zip(*(_dense_calls(model, calib.rows(b)) for b in batches), strict=True)
    for layer, block in enumerate(model.model.transformer["blocks"]):
        sites = {site: Statistics.empty(getattr(block, site).in_features, gram=gram) for site in SITES}
        with _Watch(block, sites, iter(weights[b] for b in batches)):
            after = _outputs(block, hidden, [call[layer] for call in calls])
        yield layer, {name: sites[site].check(f"blocks.{layer}.{name}") for site in SITES for name in SITES[site]}
        hidden = _outputs(block, hidden, [call[layer] for call in calls]) if sequential else after


def _outputs(block: nn.Module, hidden: Sequence[Tensor], calls: Sequence[tuple[tuple, dict]]) -> list[Tensor]:
    return [block(h, *args, **kwargs)[0] for h, (args, kwargs) in zip(hidden, calls, strict=True)]


def _dense_calls(model: LLaDAModelLM, part: CalibrationSet) -> tuple[Tensor, list[tuple[tuple, dict]]]:
    """Run the model once; return the input of the first block and what else each block is called with."""
    found: list[tuple[tuple, dict]] = []

    def note(module, args, kwargs):
        found.append((args, kwargs))

    hooks = [b.register_forward_pre_hook(note, with_kwargs=True) for b in model.model.transformer["blocks"]]
    model(part.ids.to(model.device), part.real.to(model.device))
    for hook in hooks:
        hook.remove()
    return found[0][0][0], [(args[1:], kwargs) for args, kwargs in found]


@dataclass
class _Watch:
    """While it is open, what enters the matrices of a block is added to its statistics, one weight matrix a batch."""

    block: nn.Module
    sites: dict[str, Statistics]
    weights: Iterator[Tensor]
    handles: list = field(default_factory=list)

    def __enter__(self) -> "_Watch":
        self.handles.append(self.block.register_forward_pre_hook(self._next))
        for site, statistics in self.sites.items():
            self.handles.append(getattr(self.block, site).register_forward_pre_hook(self._adder(statistics)))
        return self

    def _next(self, module, inputs) -> None:
        self.weight = next(self.weights)

    def _adder(self, statistics: Statistics):
        return lambda module, inputs: statistics.add(inputs[0].cpu(), self.weight) and None

    def __exit__(self, *error) -> None:
        for handle in self.handles:
            handle.remove()


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
    """Collect the statistics of every matrix of the dense model in one pass: {"blocks.0.q_proj": Statistics, ...}.

    Options and errors as in `walk`.
    """
    return {
        f"blocks.{layer}.{name}": statistics
        for layer, found in walk(model, calib, sequential=False, **options)
        for name, statistics in found.items()
    }
