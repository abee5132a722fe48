"""How long a forward takes, from a table of blocks measured on this machine.

Decisions
* Time depends on the shape of a block, its heads and neurons. Zeros and few bits save none here: a CPU unpacks the
  weights and multiplies floats. So the table has one line a shape.
* A block is timed inside a model: t(deep) - t(shallow), divided by the layers between them, is what one more block
  adds, with caches as warm as in use. What is left is `rest`: embedding, head, framework.
* Models take turns in every round, the median over rounds counts, threads are fixed, and the table carries the machine
  it belongs to: times of two machines are never compared.
* A table is a proxy too: the sum is tested against whole models, and widths that are not in order of time are listed
  (`disorder`), because a limit in milliseconds means nothing then.
"""

import copy
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from dlmlab import limits
from dlmlab.network import cost
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM

Shape = tuple[int, int]  # heads and neurons of a block
SHALLOW, DEEP = 1, 5  # layers of the two models whose difference is timed


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a forward of `batch` rows of `tokens`: `rest`, and each of the `blocks` {(heads, neurons): ms};
    of the `machine` (`hardware.fingerprint`)."""

    batch: int
    tokens: int
    rest: float
    blocks: Mapping[Shape, float]
    machine: Mapping

    def forward(self, shapes: Sequence[Shape]) -> float:
        """Predict the milliseconds of one forward. Raises `ValueError` for a shape that was not timed."""
        if missing := sorted({tuple(shape) for shape in shapes} - self.blocks.keys()):
            raise ValueError(f"no block of (heads, neurons) {missing} was timed; timed: {sorted(self.blocks)}")
        return self.rest + sum(self.blocks[tuple(shape)] for shape in shapes)

    def problem(self, shapes: Sequence[Shape], forwards: float) -> float:
        """Predict the milliseconds of one problem: its share of the batch, `forwards` times."""
        return forwards * self.forward(shapes) / self.batch

    def plain(self) -> dict:
        """Give the table as a JSON file holds it."""
        blocks = [[*shape, ms] for shape, ms in self.blocks.items()]
        return {
            "batch": self.batch,
            "tokens": self.tokens,
            "rest": self.rest,
            "blocks": blocks,
            "machine": self.machine,
        }

    @classmethod
    def of(cls, plain: Mapping) -> "Latency":
        """Read the table that `plain` wrote."""
        blocks = {(heads, neurons): ms for heads, neurons, ms in plain["blocks"]}
        return cls(plain["batch"], plain["tokens"], plain["rest"], blocks, plain["machine"])

    def disorder(self) -> list[tuple[Shape, Shape]]:
        """List the pairs of which the first is at least as wide everywhere and yet faster."""
        pairs = [(a, b) for a in self.blocks for b in self.blocks if a != b and a[0] >= b[0] and a[1] >= b[1]]
        return [(a, b) for a, b in pairs if self.blocks[a] < self.blocks[b]]


def shaped(config: LLaDAConfig, shapes: Sequence[Shape]) -> LLaDAModelLM:
    """Make a model of blocks of these shapes with random weights: time does not depend on them."""
    config = copy.deepcopy(config)
    config.n_layers = len(shapes)
    config.layer_heads, config.layer_mlp = map(list, zip(*shapes, strict=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LLaDAModelLM(config).eval()


@torch.inference_mode()
def milliseconds(
    models: Mapping, config: LLaDAConfig, *, batch: int, tokens: int, rounds: int, warmup: int = 3
) -> dict:
    """Time a forward of each model, in turn: {name: milliseconds of every round}."""
    limits.whole("rounds", rounds, 1)
    ids = torch.randint(5, config.vocab_size, (batch, tokens), generator=torch.Generator().manual_seed(0))
    functions = {name: (lambda model=model: model(ids)) for name, model in models.items()}
    seconds = cost.interleaved(functions, rounds=rounds, warmup=warmup)
    return {name: [1000 * s for s in series] for name, series in seconds.items()}


def measure(
    config: LLaDAConfig,
    shapes: Sequence[Shape],
    *,
    machine: Mapping,
    batch: int = 16,
    tokens: int = 80,
    rounds: int = 15,
) -> Latency:
    """Time blocks of these shapes in models of this width. `machine`: what `hardware.fingerprint` says of it."""
    depths = [(shape, depth) for shape in sorted({tuple(s) for s in shapes}) for depth in (SHALLOW, DEEP)]
    models = {(shape, depth): shaped(config, [shape] * depth) for shape, depth in depths}
    series = milliseconds(models, config, batch=batch, tokens=tokens, rounds=rounds)
    ms = {name: statistics.median(found) for name, found in series.items()}
    blocks = {s: (ms[s, DEEP] - ms[s, SHALLOW]) / (DEEP - SHALLOW) for s, depth in depths if depth == DEEP}
    rest = statistics.median(ms[shape, SHALLOW] - SHALLOW * blocks[shape] for shape in blocks)
    return Latency(batch, tokens, rest, blocks, machine)
