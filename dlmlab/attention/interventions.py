"""Is a position that gets much attention needed? Take its key away; and, apart from that, change what it says.

    blind = WithoutKeys(model, Strongest(k=1))
    sampling.sample(blind, prompts)  # at every forward the strongest receiver is hidden from all other queries
    mute = EmptyValues(model, Strongest(k=1))  # it still receives the attention, and hands over nothing
    dull = MeanValues(model, Strongest(k=1))  # ... and hands over the same in every text

Only together do they tell a sink from a source, and the third decides. A hidden key is missed by those who read there
and by those who parked there, whose attention then goes elsewhere and brings along what is there. An emptied value is
missed even where nothing is read: a model counts on the constant that it hands over. But what is missed when the mean
takes the place of the value, or what another text says there, was information. `role` puts this into one word.

Decisions
* The keys are chosen anew at every forward from that forward's own attention, and are the same in all layers and heads.
* A hidden key stays visible to its own query: its row of the map must not be empty, and what it tells itself is not a
  sink's job. An emptied value is empty for its own query too: leave those you ask for a prediction out of the choice.
* Other values change what later layers read, and so where these attend; in each layer attention is what its input
  says.
* A mean is over the batch: of one row it is what it was. Batches hold different texts.
* The control is `OneOf`: as many positions that nobody suspects, drawn anew for each row and forward.

Source: Rulli et al., arXiv 2510.15731, section 5 (they choose from the map of the step before, which saves a forward,
and only hide).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dlmlab.attention import values
from dlmlab.attention.sinks import attention_mass
from dlmlab.attention.trajectories import KINDS, token_kinds
from dlmlab.network.model import LLaDAModelLM, LLaDAOutput

Choice = Callable[[Tensor, Tensor, Tensor], Tensor]  # mass (B, L), ids (B, L), real (B, L) bool -> hidden (B, L) bool


def without_keys(model, ids: Tensor, keys: Tensor, attention_mask: Tensor | None = None, **options) -> LLaDAOutput:
    """Call the model with some keys hidden from all queries but their own.

    Shapes: ids (B, L), keys (B, L) bool. Column sums of the result leave out the hidden positions, as queries too.
    """
    seen = ~keys if attention_mask is None else attention_mask.bool() & ~keys
    return model(ids, seen, **options)


def empty_values(model, ids: Tensor, keys: Tensor, attention_mask: Tensor | None = None, **options) -> LLaDAOutput:
    """Call the model with the values of some positions set to zero in all layers, while they get their attention.

    Shapes: ids (B, L), keys (B, L) bool.
    """
    with values.through(model, lambda v: v.masked_fill(keys[..., None], 0.0)):
        return model(ids, attention_mask, **options)


def mean_values(model, ids: Tensor, keys: Tensor, attention_mask: Tensor | None = None, **options) -> LLaDAOutput:
    """Call the model with the values of some positions replaced by their mean over the batch, in each layer.

    They say something, but nothing about their text. Shapes: ids (B, L), keys (B, L) bool.
    """

    def mean(v: Tensor) -> Tensor | None:
        return torch.where(keys[..., None], v[keys].mean(0), v) if bool(keys.any()) else None

    with values.through(model, mean):
        return model(ids, attention_mask, **options)


def swapped_values(model, ids: Tensor, keys: Tensor, attention_mask: Tensor | None = None, **options) -> LLaDAOutput:
    """Call the model with the values of some positions replaced by those of other texts, in each layer.

    They say what fits another text: the first marked positions of the batch hear the last half of them and the other
    way round. Shapes: ids (B, L), keys (B, L) bool.
    """

    def swap(v: Tensor) -> Tensor:
        said = v[keys]  # (M, width)
        return v.masked_scatter(keys[..., None], said.roll(len(said) // 2, 0))

    with values.through(model, swap):
        return model(ids, attention_mask, **options)


class WithoutKeys:
    """A model whose queries do not see the keys that `choose` picks; called like the model, at twice the cost, or at
    its own for a choice with `needs_mass = False`.

    A trace counts one forward for the two. Raises `ValueError` when it is called with a cache.
    """

    change = staticmethod(without_keys)

    def __init__(self, model: LLaDAModelLM, choose: Choice):
        self.model, self.choose = model, choose
        self.config, self.device = model.config, model.device

    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None, *, kv=None, **options) -> LLaDAOutput:
        if kv is not None:
            raise ValueError("keys are chosen from the whole text: decode without a cache (cache=False)")
        real = torch.ones_like(ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        mass = self._mass(ids, attention_mask) if getattr(self.choose, "needs_mass", True) else torch.zeros(ids.shape)
        return self.change(self.model, ids, self.choose(mass, ids, real), attention_mask, **options)

    def _mass(self, ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        last = torch.tensor([-1], device=ids.device)
        out = self.model(ids, attention_mask, output_column_sums=True, logits_to_keep=last)
        return attention_mass(torch.stack(out.column_sums))


class EmptyValues(WithoutKeys):
    """A model in which the positions that `choose` picks get their attention and hand over nothing."""

    change = staticmethod(empty_values)


class MeanValues(WithoutKeys):
    """A model in which the positions that `choose` picks get their attention and say what they say on average."""

    change = staticmethod(mean_values)


class SwappedValues(WithoutKeys):
    """A model in which the positions that `choose` picks get their attention and say what others of the batch say."""

    change = staticmethod(swapped_values)


Interval = tuple[float, float]


def role(hide: Interval, empty: Interval, mean: Interval, small: float = 0.02) -> str:
    """Say what a position is to a model from what three changes cost it: the lowest and highest cost that is plausible.

    "read": its mean value costs more than `small`. "parked": that costs at most `small` either way, and hiding or
    emptying costs more than `small`. "spare": none of the three costs more than `small`. "open": the intervals do not
    tell. Costs in nats; an interval that contains `small` tells nothing about it.

    >>> role(hide=(1.8, 2.2), empty=(0.9, 1.1), mean=(-0.001, 0.004))
    'parked'
    """
    if mean[0] > small:
        return "read"
    if mean[0] < -small or mean[1] > small:
        return "open"
    if hide[0] > small or empty[0] > small:
        return "parked"
    return "spare" if hide[1] <= small and empty[1] <= small else "open"


def _mark(indices: Tensor, L: int) -> Tensor:
    return torch.zeros(len(indices), L, dtype=torch.bool, device=indices.device).scatter(1, indices, True)


def _check_k(k: int, most: int) -> None:
    if not 0 <= k <= most:
        raise ValueError(f"k={k} must lie in 0..{most} for these rows")


def _check_kinds(*kinds: str) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is unknown; known: {', '.join(KINDS)}")


def _shortest(real: Tensor) -> int:
    return int(real.sum(1).min())


@dataclass(frozen=True)
class Strongest:
    """The k positions with the largest mass of each row. One real position must stay: `ValueError` otherwise."""

    k: int

    def __call__(self, mass: Tensor, ids: Tensor, real: Tensor) -> Tensor:
        _check_k(self.k, _shortest(real) - 1)
        return _mark(mass.masked_fill(~real, -1.0).topk(self.k, 1).indices, mass.shape[1])


@dataclass(frozen=True)
class OfKind:
    """Every position of one of `trajectories.KINDS`."""

    kind: str
    tokenizer: PreTrainedTokenizerBase
    needs_mass = False

    def __post_init__(self) -> None:
        _check_kinds(self.kind)

    def __call__(self, mass: Tensor, ids: Tensor, real: Tensor) -> Tensor:
        return real & (token_kinds(ids, self.tokenizer) == KINDS.index(self.kind))


@dataclass(frozen=True)
class OneOf:
    """One position of some kinds, drawn for each row at each forward; none in a row that has no such token."""

    kinds: tuple[str, ...]
    tokenizer: PreTrainedTokenizerBase
    generator: torch.Generator
    needs_mass = False

    def __post_init__(self) -> None:
        _check_kinds(*self.kinds)

    def __call__(self, mass: Tensor, ids: Tensor, real: Tensor) -> Tensor:
        wanted = torch.tensor([KINDS.index(kind) for kind in self.kinds])
        pool = real & torch.isin(token_kinds(ids, self.tokenizer), wanted)
        draw = torch.rand(ids.shape, generator=self.generator).masked_fill(~pool, -1.0)
        return pool & _mark(draw.argmax(1, keepdim=True), ids.shape[1])
