"""How cost grows: exponents of time and of FLOPs against length, batch, layers and forwards, fitted on log-log axes.

An exponent of 1 says twice the size costs twice the time. FLOPs are exact, so their exponent shows what a perfect
machine would do; the difference is overhead and memory. Weights are random: only shapes matter.
"""

import math
from collections.abc import Sequence

import torch
from scipy import stats

from dlmlab.decode import sampling
from dlmlab.decode.commit import Fixed
from dlmlab.decode.sampling import Sampler
from dlmlab.network import cost
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.bench import ROUNDS
from dlmlab.study.bench.spread import spread

SIZES = {
    "length": (64, 128, 256, 512, 1024),
    "batch": (1, 2, 4, 8, 16, 32, 64),
    "layers": (2, 4, 6, 8, 12),
    "forwards": (5, 10, 20, 40),
}


def exponent(sizes: Sequence[float], values: Sequence[float]) -> list[float]:
    """Fit values ~ size^e and return [e, low, high] with a 95 % interval (least squares on logarithms).

    >>> [round(v, 6) for v in exponent([1, 2, 4], [3, 12, 48])]
    [2.0, 2.0, 2.0]
    """
    fit = stats.linregress([math.log(s) for s in sizes], [math.log(v) for v in values])
    half = stats.t.ppf(0.975, len(sizes) - 2) * fit.stderr
    return [float(fit.slope), float(fit.slope - half), float(fit.slope + half)]


def network(layers: int = 6) -> LLaDAModelLM:
    """Make a network of LLaDA-mini's width with random weights and room for 1,024 tokens."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LLaDAConfig(n_layers=layers, max_sequence_length=1024, vocab_size=333, eos_token_id=1)
        return LLaDAModelLM(config).eval()


def case(axis: str, size: int) -> tuple[callable, int]:
    """Return the function to time at one size of an axis, and its FLOPs."""
    model = network(size if axis == "layers" else 6)
    if axis == "forwards":
        sampler, prompt = Sampler(commit=Fixed(size)), [[2] * 40]
        flops = sampling.sample(model, prompt, sampler=sampler).trace.flops
        return lambda: sampling.sample(model, prompt, sampler=sampler), flops
    B, L = {"length": (1, size), "batch": (size, 80), "layers": (4, 80)}[axis]
    ids = torch.full((B, L), 2)
    return lambda: model(ids), B * cost.forward_flops(model.config, L)


@torch.inference_mode()
def measure(*, quick: bool, say) -> dict:
    """Time every axis and fit the exponents; `cache_bytes` of one row by length, exact."""
    found = {}
    for axis, sizes in SIZES.items():
        sizes = sizes[:3] if quick else sizes
        cases = {str(size): case(axis, size) for size in sizes}
        functions = {name: function for name, (function, _) in cases.items()}
        seconds = cost.interleaved(functions, rounds=3 if quick else ROUNDS)
        medians = [spread(seconds[name])[0] for name in cases]
        flops = [f for _, f in cases.values()]
        relative = {name: m / medians[0] for name, m in zip(cases, medians, strict=True)}
        found[axis] = {"time": exponent(sizes, medians), "flops": exponent(sizes, flops), "relative_time": relative}
        say(f"growth: {axis}: exponent {found[axis]['time'][0]:.2f}")
    config = network().config
    found["cache_bytes"] = {str(n): cost.kv_bytes(config, n) for n in SIZES["length"]}
    return found


def lines(section: dict) -> list[str]:
    """One line an axis: exponent of time with interval, exponent of FLOPs."""
    found = [f"  {'axis':10}{'exponent of time':>24}{'of FLOPs':>12}   time relative to the smallest"]
    for axis in SIZES:
        row = section[axis]
        time, relative = row["time"], ", ".join(f"{k}: {v:.1f}" for k, v in row["relative_time"].items())
        interval = f"{time[0]:.2f} [{time[1]:.2f}, {time[2]:.2f}]"
        found.append(f"  {axis:10}{interval:>24}{row['flops'][0]:>12.2f}   {relative}")
    return found
