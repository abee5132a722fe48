"""Half of the bytes, or a quarter of the bits: is the smaller model also the faster one, and what do its answers lose?

Decisions
* Two ways to be small: whole units gone (`nb04_smaller`, trained here with its recipe, first seed) and int8 products
  with the kernels that PyTorch has (`quant.dynamic`). Both are timed as a forward of 80 tokens and as the decoding of
  test problems: a model that needs more forwards for an answer is slower than its forward says.
* Models without some units are timed without the class, too (`dlmlab.bare`: joined products, no hooks), and so is the
  dense model: what that saves is not counted as theirs. Models in int8 stand beside the dense model as it is.
* Which float columns and smoothing int8 gets is decided by calibration texts. Its grid covers a whole batch, so its
  answers are judged in batches of 64.
* The goal is half the bytes of the blocks at 1.5 times the speed, at batch 16 and 64. Where it is missed, the share of
  a forward outside its matrix products says why: removed units make only the products smaller.

Exact match of other seeds and of the control (units removed at random) is in the table `04_smaller`.
"""

from collections.abc import Iterable

import torch
from torch import nn

from dlmlab.compress import activations
from dlmlab.compress.quant import dynamic, smooth
from dlmlab.decode import sampling
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate, hardware, lowbit
from dlmlab.measure.difference import Difference, between
from dlmlab.network import cost, parts
from dlmlab.network.bare import Bare
from dlmlab.network.checkpoint import load
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study import nb04_smaller
from dlmlab.study.bench import ROUNDS
from dlmlab.study.bench.decode import PROBLEMS, batches
from dlmlab.study.bench.machine import breakdown
from dlmlab.study.bench.spread import ratios, times
from dlmlab.study.judging import texts
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt

DENSE, BARE = "float32", "float32, bare"
SAMPLER = Sampler(commit=Threshold(0.9))
GOAL, AT = 1.5, ("16", "64")  # times as fast, at these batches
SHARE = 1 / 16  # of the columns that stay in floating point


def structured(*, quick: bool, say) -> dict[str, LLaDAModelLM]:
    """Make the model of every mix of units, trained as in `04_smaller` with the first seed; `quick`: units removed at
    random, not trained."""
    chosen, steps = (nb04_smaller.RANDOM, 0) if quick else (nb04_smaller.SELECTED, nb04_smaller.STEPS)
    found = {}
    for mix in nb04_smaller.MIXES:
        found[mix] = nb04_smaller.made(mix, chosen, 0, steps)
        say(f"smaller: {mix} made")
    return found


def rounded(model: LLaDAModelLM) -> dict[str, nn.Module]:
    """Make the models in int8: as PyTorch does it, then in ways that lose less. Empty where there are no kernels."""
    if not dynamic.available():
        return {}
    statistics = activations.collect(model, texts("uniform", 0, "answer"))
    largest, (smoothed, _) = dynamic.largest(statistics, SHARE), smooth.smooth(model, statistics, sites=parts.MAKERS)
    return {
        "int8, one scale": lowbit.torch_dynamic_model(model),
        "int8, a scale a row": dynamic.quantized(model),
        "the same, smoothed": dynamic.quantized(smoothed),
        "the same, columns in float": dynamic.quantized(model, columns=lambda n: largest(n) if last(n) else None),
        "the same, last one in float": dynamic.quantized(model, only=lambda n: not last(n)),
        "the same, gate and up only": dynamic.quantized(model, only=lambda n: n.endswith(parts.READERS[2])),
    }


def last(name: str) -> bool:
    """Say whether a matrix is the last one of its block, whose input has the outliers."""
    return name.endswith(parts.DOWN)


def block_bytes(model: nn.Module) -> int:
    """Count the bytes of the blocks of a model; of PyTorch's int8 layers, which hide theirs, codes and one scale."""
    modules = list(parts.blocks(model).modules())
    ours = sum(m.nbytes for m in modules if isinstance(m, dynamic.DynamicLinear))
    theirs = sum(m.weight().numel() + 16 for m in modules if callable(getattr(m, "weight", None)))
    return cost.model_bytes(parts.blocks(model)) + ours + theirs


@torch.inference_mode()
def timed(models: dict[str, nn.Module], *, quick: bool, say) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Time forwards and decoding: by what is timed, batch and model, the seconds of every round."""
    _, tokenizer = load("llada-mini")
    prompts = [encode_prompt(tokenizer, p.question) for p in tasks.load_split("test")[: max(PROBLEMS.values())]]
    found, how = {"forward": {}, "decoding": {}}, {"rounds": 3 if quick else ROUNDS, "warmup": 0 if quick else 2}
    for size, n in ({1: 1} if quick else PROBLEMS).items():
        ids = torch.randint(5, 300, (size, 80), generator=torch.Generator().manual_seed(0))
        cut = batches(prompts[:n], size)
        forwards = {name: lambda m=m, ids=ids: m(ids) for name, m in models.items()}
        answers = {
            name: lambda m=m, cut=cut: [sampling.sample(m, b, sampler=SAMPLER) for b in cut]
            for name, m in models.items()
        }
        found["forward"][str(size)] = cost.interleaved(forwards, **how)
        found["decoding"][str(size)] = cost.interleaved(answers, **how)
        say(f"smaller: batch {size}")
    return found


def speeds(seconds: dict, base: str, names: Iterable[str]) -> dict:
    """Say how many times as fast as `base` some models are, in the form of `timed`."""
    names = [base, *names]
    return {
        what: {size: ratios({name: by[name] for name in names}, base) for size, by in sizes.items()}
        for what, sizes in seconds.items()
    }


@torch.inference_mode()
def outside(model: nn.Module, size: int) -> float:
    """Measure the share of a forward that passes outside its matrix products."""
    return round(1 - breakdown(model, size, 80)["matrix products"], 4)


def measure(*, quick: bool, say) -> dict:
    """Make all models, time them in turn, judge them on all test problems, and profile those in float."""
    model, tokenizer = load("llada-mini")
    units, codes = structured(quick=quick, say=say), rounded(model)
    share = {name: block_bytes(m) / block_bytes(model) for name, m in ({DENSE: model} | units | codes).items()}
    models = {DENSE: model, BARE: Bare(model)} | {name: Bare(m) for name, m in units.items()} | codes
    seconds, accuracy = timed(models, quick=quick, say=say), {}
    for name, network in models.items():
        problems = tasks.load_split("test")[: 4 if quick else None]
        result = evaluate.accuracy(network, tokenizer, problems, sampler=SAMPLER)
        accuracy[name] = {"correct": result.correct, "nfe": round(result.mean_nfe, 3)}
        say(f"smaller: {name}: exact match {result.exact_match}")
    return {
        "instructions": hardware.instructions(),
        "bytes": {name: round(s, 4) for name, s in share.items()},
        "accuracy": accuracy,
        "speed": speeds(seconds, DENSE, [name for name in models if name != DENSE]),
        "speed beside bare": speeds(seconds, BARE, units),
        "outside products": {
            name: {size: outside(models[name], int(size)) for size in seconds["forward"]} for name in (BARE, *units)
        },
    }


# ------------------------------------------------------------------------------------------------ what is shown


def reached(section: dict) -> list[str]:
    """Name the models with units gone that meet the goal, most right answers first: at most half of the bytes, and
    `GOAL` times as fast as the bare dense model at every batch of `AT`, by the medians."""
    speed = section["speed beside bare"]["forward"]
    small = [name for name in section["outside products"] if section["bytes"].get(name, 1) <= 0.5]
    fast = [name for name in small if all(speed[size][name][0] >= GOAL for size in AT if size in speed)]
    return sorted(fast, key=lambda name: -section["accuracy"][name]["correct"].count("1"))


def lost(section: dict, name: str) -> Difference:
    """Compare the answers of a model with those of the dense one, in points."""
    return between(section["accuracy"][name]["correct"], section["accuracy"][DENSE]["correct"]).times(100)


def lines(section: dict) -> list[str]:
    """One line a model: its bytes, its speed, its answers; then the speed beside the bare dense model, the profile,
    and which model meets the goal."""
    sizes, found = list(section["speed"]["forward"]), [f"  instructions: {section['instructions']}"]
    for what, heading in (("forward", "forward of 80 tokens"), ("decoding", "decoding, threshold 0.9")):
        found.append(f"  {heading + ', times as fast as ' + DENSE:48}" + "".join(f"{'batch ' + k:>24}" for k in sizes))
        for name, row in section["accuracy"].items():
            speed = "".join(f"{times(section['speed'][what][k][name]):>24}" for k in sizes)
            more = f"{row['nfe']:.2f} forwards an answer"
            if what == "forward":
                share = section["bytes"].get(name, 1.0)
                right = evaluate.Proportion.of(row["correct"])
                more = f"{share:.0%} of the bytes, {right}, difference {lost(section, name):+.1f} points"
            found.append(f"  {name:48}{speed}   {more}")
    found.append(f"  {'forward, times as fast as ' + BARE:48}" + "".join(f"{'batch ' + k:>24}" for k in sizes))
    for name, by in section["outside products"].items():
        speed = "".join(f"{times(section['speed beside bare']['forward'][k][name]):>24}" for k in sizes)
        shares = ", ".join(f"{share:.0%}" for share in by.values())
        found.append(f"  {name:48}{speed}   outside of products: {shares} of the time")
    return [*found, verdict(section)]


def verdict(section: dict) -> str:
    """Say in one line which model meets the goal with the most right answers, or that none does."""
    goal = f"half of the bytes at {GOAL} times the speed by the medians, batch {' and '.join(AT)}"
    if not (best := reached(section)):
        return f"  {goal}: not reached; removed units leave the time outside of the products as it is"
    return f"  {goal}: reached by {', '.join(best)}; {best[0]} costs {lost(section, best[0]):+.1f} points"
