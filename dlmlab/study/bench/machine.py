"""The machine's own limits, and the share of them that one forward of LLaDA-mini reaches.

The peak for a forward is what the same matrix products reach when nothing stands between them: same shapes, same
count, random numbers. The rest of the time is norms, rotation, attention and copies; a profile names it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from dlmlab.network import cost
from dlmlab.network.checkpoint import load
from dlmlab.study.bench import ROUNDS
from dlmlab.study.bench.spread import spread

SHAPES = {"batch 1": (1, 80), "batch 16": (16, 80), "batch 64": (64, 80)}
GROUPS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "attention": ("aten::_scaled_dot_product_flash_attention_for_cpu",),
    "element by element": (
        "aten::mul",
        "aten::add",
        "aten::silu",
        "aten::neg",
        "aten::pow",
        "aten::sum",
        "aten::rsqrt",
    ),
    "copies": ("aten::cat", "aten::copy_", "aten::clone", "aten::index", "aten::index_select"),
}


def products(model, rows: int) -> tuple[callable, int]:
    """Return a function that runs the matrix products of one forward on `rows` tokens, and their FLOPs."""
    matrices = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    inputs: dict[int, Tensor] = {n: torch.randn(rows, n) for n in {w.shape[1] for w in matrices}}
    return lambda: [F.linear(inputs[w.shape[1]], w) for w in matrices], 2 * rows * sum(w.numel() for w in matrices)


@torch.inference_mode()
def measure(*, quick: bool, say) -> dict:
    """Measure GEMM peaks, memory bandwidth, the share of the peak, and the profile of a forward."""
    model, _ = load("llada-mini")
    n, rounds, functions, flops = 1024 if quick else 4096, 3 if quick else ROUNDS, {}, {}
    a, b, big = torch.randn(n, n), torch.randn(n, n), torch.randn(2**22 if quick else 2**25)
    target = torch.empty_like(big)
    functions["square"], flops["square"] = lambda: a @ b, 2 * n**3
    functions["copy"] = lambda: target.copy_(big)
    for name, (B, L) in SHAPES.items():
        functions[f"products, {name}"], flops[f"products, {name}"] = products(model, B * L)
        ids = torch.randint(5, 300, (B, L), generator=torch.Generator().manual_seed(0))
        functions[f"forward, {name}"] = lambda ids=ids: model(ids)
        flops[f"forward, {name}"] = B * cost.forward_flops(model.config, L)
    say(f"machine: {len(functions)} measurements, {rounds} rounds")
    seconds = cost.interleaved(functions, rounds=rounds)
    gflops = {name: spread([flops[name] / s / 1e9 for s in seconds[name]]) for name in flops}
    share = {}
    for name in SHAPES:
        pairs = zip(seconds[f"products, {name}"], seconds[f"forward, {name}"], strict=True)
        scale = flops[f"forward, {name}"] / flops[f"products, {name}"]
        share[name] = spread([p / f * scale for p, f in pairs])
    bandwidth = spread([2 * 4 * len(big) / s / 1e9 for s in seconds["copy"]])
    profiles = {name: breakdown(model, *shape) for name, shape in SHAPES.items()}
    return {"gflops": gflops, "gigabytes_per_second": bandwidth, "share_of_peak": share, "profile": profiles}


def breakdown(model, B: int, L: int, repeats: int = 5) -> dict[str, float]:
    """Split the time of a forward among kinds of work, as shares of the total."""
    ids = torch.randint(5, 300, (B, L), generator=torch.Generator().manual_seed(0))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(repeats):
            model(ids)
    events = {e.key: e.self_cpu_time_total for e in profiler.key_averages()}
    total = sum(events.values())
    shares = {name: sum(events.get(key, 0) for key in keys) / total for name, keys in GROUPS.items()}
    return {name: round(s, 4) for name, s in (shares | {"all else": 1 - sum(shares.values())}).items()}


def lines(section: dict) -> list[str]:
    """Show shares only: of the square product's rate, and of the time of a forward."""
    peak = section["gflops"]["square"][0]
    found = []
    for name in SHAPES:
        products, share = section["gflops"][f"products, {name}"][0] / peak, section["share_of_peak"][name]
        parts = ", ".join(f"{k} {v:.0%}" for k, v in section["profile"][name].items())
        found.append(
            f"  {name:9} products reach {products:.0%} of a large square one; a forward {share[0]:.0%} of its products"
        )
        found.append(f"            time of a forward: {parts}")
    return found
