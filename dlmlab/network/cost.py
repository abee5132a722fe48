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
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from dlmlab.network.config import LLaDAConfig


def block_flops(config: LLaDAConfig, stored: int, asked: int, k: int, layer: int = 0) -> int:
    """Count the FLOPs of one layer for one row: keys and values of `stored` tokens; of `asked` of them query,
    attention to `k` keys, output and feed-forward. `layer` matters when widths differ by layer."""
    heads, kv_heads, hidden = config.layer_shape(layer)
    D, width = config.d_model, config.head_width
    query, key_value = D * heads * width, 2 * D * kv_heads * width
    rest = D * heads * width + 3 * D * hidden + D * config.router_width(layer)
    queried = stored if config.fused_queries else asked
    return 2 * stored * key_value + 2 * queried * query + asked * (2 * rest + 4 * k * heads * width)


def forward_flops(config: LLaDAConfig, q: int, k: int | None = None, logits: int | None = None) -> int:
    """Count the FLOPs of one forward for one row.

    `q` tokens enter the network and attend to `k` keys (default `q`). Logits are computed for `logits` of them
    (default `q`); in the last layer the others get keys and values only.

        2 q (params of the blocks' matrices) + 4 q k D per layer + 2 logits D V

    >>> forward_flops(LLaDAConfig(d_model=8, n_heads=2, n_layers=1, mlp_hidden_size=16, vocab_size=10), q=3)
    4608
    """
    k, logits = q if k is None else k, q if logits is None else logits
    last = config.n_layers - 1
    blocks = sum(block_flops(config, q, q, k, layer) for layer in range(last)) + block_flops(config, q, logits, k, last)
    return blocks + head_flops(config, logits)


def head_flops(config: LLaDAConfig, logits: int) -> int:
    """Count the FLOPs of the head for `logits` positions."""
    return 2 * logits * config.d_model * config.embedding_size


def cached_tokens(prompt: int, answer: int, block: int, steps: int, cache: str) -> int:
    """Count the tokens one row sends through the network when every block takes `steps` forwards.

    The first forward of a block reads the whole text. The others read: with cache "none" the whole text, with "prefix"
    the block and all after it, with "dual" the block. The last block may be shorter. Raises `ValueError` for another
    name.

    >>> [cached_tokens(40, 40, 8, 8, cache) for cache in ("none", "prefix", "dual")]
    [3200, 1240, 680]
    """
    if cache not in ("none", "prefix", "dual"):
        raise ValueError(f"cache={cache!r} is unknown; known: none, prefix, dual")
    total, text = 0, prompt + answer
    for start in range(0, answer, block):
        later = {"none": text, "prefix": answer - start, "dual": min(block, answer - start)}[cache]
        total += text + (steps - 1) * later
    return total


def model_bytes(model: nn.Module) -> int:
    """Count the bytes the parameters occupy, shared ones once."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def kv_bytes(config: LLaDAConfig, tokens: int, bytes_per_number: int = 4) -> int:
    """Count the bytes of a key-value cache for one row of `tokens` positions; equals `KV.nbytes`."""
    width = config.head_width
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


def interleaved(
    functions: dict[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = 1,
    clock: Callable[[], float] | None = None,
) -> dict[str, list[float]]:
    """Time functions in turn and return the seconds of each, one a round.

    Every round runs all functions once, in an order that rotates, so a slow moment of the machine hits all of them.
    `clock` gives seconds, by default those that pass: `time.thread_time` counts what this thread computed, and not what
    others did meanwhile.
    """
    clock = clock or time.perf_counter
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
                start = clock()
                functions[name]()
                seconds[name].append(clock() - start)
    finally:
        if collecting:
            gc.enable()
    return seconds


def ratio(values: Sequence[float], base: Sequence[float]) -> Ratio:
    """Divide two series of the same rounds, round by round: median and quartiles."""
    r = [a / b for a, b in zip(values, base, strict=True)]
    return Ratio(statistics.median(r), *(statistics.quantiles(r, n=4)[i] for i in (0, 2)))


def wall_ratios(functions: dict[str, Callable[[], object]], *, rounds: int = 5, warmup: int = 1) -> dict[str, Ratio]:
    """Time functions in turn (`interleaved`) and return each one's duration as a ratio to the first.

    The ratio is taken inside a round. Raises `ValueError` for fewer than two functions or three rounds.
    """
    if len(functions) < 2 or rounds < 3:
        raise ValueError(f"need at least 2 functions and 3 rounds, got {len(functions)} and {rounds}")
    seconds = interleaved(functions, rounds=rounds, warmup=warmup)
    base = next(iter(seconds.values()))
    return {name: ratio(values, base) for name, values in seconds.items()}
