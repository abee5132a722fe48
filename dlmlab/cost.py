"""What a sampler costs: forwards, tokens through the network, floating-point operations, bytes, and honest wall-clock
ratios.

* NFE counts forwards of the network; guidance costs two a step. A batched forward counts once for each row in it.
* FLOPs are analytic: 2 per multiply-add of every matrix product, attention included, norms and softmax left out (under
  2 % here).
* Wall time is a ratio of two things measured in turn in the same process; a number of seconds says more about the
  machine than about the method.

The count agrees with `torch.utils.flop_counter` under the MATH attention backend (the fused CPU kernel counts as zero
there).
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from dlmlab.model import LLaDAConfig


def forward_flops(config: LLaDAConfig, q: int, k: int | None = None, logits: int | None = None) -> int:
    """Count the FLOPs of one forward for one row.

    `q` tokens enter the network and attend to `k` keys (default `q`); the head is computed for `logits` positions
    (default `q`).

        2 q (params of the blocks' matrices) + 4 q k D per layer + 2 logits D V

    >>> forward_flops(LLaDAConfig(d_model=8, n_heads=2, n_layers=1, mlp_hidden_size=16, vocab_size=10), q=3)
    4608
    """
    k, logits = q if k is None else k, q if logits is None else logits
    D, width = config.d_model, config.d_model // config.n_heads
    total = 2 * logits * D * config.embedding_size
    for layer in range(config.n_layers):
        heads, kv_heads, hidden = config.layer_shape(layer)
        matrices = 2 * D * heads * width + 2 * D * kv_heads * width + 3 * D * hidden
        total += 2 * q * matrices + 4 * q * k * heads * width
    return total


def model_bytes(model: nn.Module) -> int:
    """Count the bytes the parameters occupy, shared ones once."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def kv_bytes(config: LLaDAConfig, tokens: int, bytes_per_number: int = 4) -> int:
    """Count the bytes of a key-value cache for one row of `tokens` positions; equals `KV.nbytes`."""
    width = config.d_model // config.n_heads
    kv_heads = sum(config.layer_shape(layer)[1] for layer in range(config.n_layers))
    return 2 * kv_heads * width * tokens * bytes_per_number


@dataclass(frozen=True)
class Ratio:
    """How many times as long as the baseline: median and quartiles over rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} x ({self.low:.2f} to {self.high:.2f})"


def wall_ratios(functions: dict[str, Callable[[], object]], *, rounds: int = 5, warmup: int = 1) -> dict[str, Ratio]:
    """Time functions in turn and return each one's duration as a ratio to the first.

    Every round runs all functions once, in an order that rotates, so a slow moment of the machine hits all of them;
    the ratio is taken inside a round. Raises `ValueError` for fewer than two functions or three rounds.
    """
    if len(functions) < 2 or rounds < 3:
        raise ValueError(f"need at least 2 functions and 3 rounds, got {len(functions)} and {rounds}")
    names = list(functions)
    for _ in range(warmup):
        for function in functions.values():
            function()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for i in range(rounds):
            for name in names[i % len(names) :] + names[: i % len(names)]:
                start = time.perf_counter()
                functions[name]()
                seconds[name].append(time.perf_counter() - start)
    finally:
        if collecting:
            gc.enable()
    base = seconds[names[0]]
    ratios = {name: [a / b for a, b in zip(values, base, strict=True)] for name, values in seconds.items()}
    return {
        name: Ratio(statistics.median(r), *(statistics.quantiles(r, n=4)[i] for i in (0, 2)))
        for name, r in ratios.items()
    }
