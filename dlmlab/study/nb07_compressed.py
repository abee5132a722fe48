"""Notebook 07: pruning and quantization of the model with experts, beside LLaDA-mini.

An expert is calibrated by the tokens that are sent to it, here about a quarter of them. So each method that looks at
texts is given few and many; what it gains from more of them is compared between the two models. `texts`: how many
(`FEW`, `MANY`), None for a method that reads none; the seed draws the texts and their masks. A model in blocks is
calibrated on whole noised texts, whose earlier blocks are noised as well: in decoding they are written.

3 bits a weight, one grid a row; rows of experts are short, so that their scales weigh more: `bits` counts them.
"""

from collections.abc import Sequence

import torch

from dlmlab.compress import storage
from dlmlab.compress.calibration import calibration_problems, calibration_set
from dlmlab.compress.pruning import Recipe, prune
from dlmlab.compress.registry import compress
from dlmlab.decode.commit import Threshold
from dlmlab.decode.run import sampler_for
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.difference import headlines as named
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.network.codes import QSpec
from dlmlab.network.model import LLaDAModelLM
from dlmlab.study.judging import SEEDS
from dlmlab.study.nb07_pair import EXPERTS, MINI
from dlmlab.task import tasks

MODELS = (EXPERTS, MINI)
FEW, MANY = 8, 128
SPARSITY, SPEC = 0.5, QSpec(3)
BLIND, SEEING = ("magnitude", "rtn"), ("wanda", "sparsegpt", "gptq")
PRUNERS = ("magnitude", "wanda", "sparsegpt")
PAIRS = {  # a method, and the one of its kind that sees less
    "gptq": "rtn",
    "wanda": "magnitude",
    "sparsegpt": "wanda",
}


def states(texts: int, seed: int):
    """Draw calibration texts and noise their answers."""
    generator = torch.Generator().manual_seed(seed)
    problems = calibration_problems(texts, seed=seed)
    return calibration_set(load(EXPERTS).tokenizer, problems, "uniform", region="answer", generator=generator)


def smaller(model: str, method: str, texts: int | None, seed: int | None) -> LLaDAModelLM:
    """Compress one model; `none` is what it was."""
    net = load(model).model
    if method == "none":
        return net
    calib = None if texts is None else states(texts, seed)
    if method in PRUNERS:
        return prune(net, Recipe(method, SPARSITY), calib=calib)
    return compress(net, method, SPEC, calib=calib)


def run(model: str, method: str, texts: int | None, seed: int | None, size: int | None = None) -> dict:
    """Answer the test problems with one compressed model: `correct` one digit a problem, forwards a problem."""
    net, test = smaller(model, method, texts, seed), tasks.load_split("test")[:size]
    how = sampler_for(net.config, commit=Threshold(0.9), stop_at_eos=True)
    result = evaluate.accuracy(net, load(model).tokenizer, test, sampler=how)
    return {"correct": result.correct, "nfe": round(result.mean_nfe, 3)}


def settings() -> list[dict]:
    """List what reads no texts, then every method by seed, so that an interrupted measurement has something of each."""
    found = [{"model": m, "method": method, "texts": None, "seed": None} for method in ("none", *BLIND) for m in MODELS]
    return found + [
        {"model": m, "method": method, "texts": texts, "seed": seed}
        for seed in SEEDS
        for texts in (MANY, FEW)
        for method in SEEING
        for m in MODELS
    ]


def bits(model: str) -> float:
    """Count the bits of a weight of the block matrices with the grids of this table, scales included."""
    return storage.bits_of(compress(load(model).model, "rtn", SPEC, packed=True))


def effects(rows: Sequence[dict], model: str) -> dict[str, Difference]:
    """Compare methods and numbers of texts within one model, in points of exact match."""

    def key(method: str, texts: int) -> dict:
        return {"model": model, "method": method} | ({"texts": texts} if method in SEEING else {})

    found = {
        f"{method} - {other}": of_rows(rows, key(method, MANY), key(other, MANY), column="correct").times(100)
        for method, other in PAIRS.items()
    }
    return found | {
        f"{m}, {MANY} - {FEW} texts": of_rows(rows, key(m, MANY), key(m, FEW), column="correct").times(100)
        for m in SEEING
    }


def more(rows: Sequence[dict]) -> dict[str, Difference]:
    """Compare what more texts give the model with experts with what they give LLaDA-mini, in points, by method."""
    gains = []
    for row in select(rows, texts=MANY):
        (few,) = select(rows, **{name: row[name] for name in ("model", "method", "seed")}, texts=FEW)
        gain = [int(a) - int(b) for a, b in zip(row["correct"], few["correct"], strict=True)]
        gains.append({name: row[name] for name in ("model", "method", "seed")} | {"gain": gain})
    return {
        m: of_rows(gains, {"model": EXPERTS, "method": m}, {"model": MINI, "method": m}, column="gain").times(100)
        for m in SEEING
    }


def losses(rows: Sequence[dict], model: str) -> dict[str, Difference]:
    """Compare every compressed model with what it was, in points of exact match."""
    before = {"model": model, "method": "none"}
    found = {}
    for method in (*BLIND, *SEEING):
        for texts in (MANY, FEW) if method in SEEING else (None,):
            name = method if texts is None else f"{method}, {texts} texts"
            after = {"model": model, "method": method, "texts": texts}
            found[name] = of_rows(rows, after, before, column="correct").times(100)
    return found


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = named("more texts, experts - dense,", more(rows))
    for model in MODELS:
        found |= named(model, effects(rows, model)) | named(f"{model} loses by", losses(rows, model))
    return found


TABLE = Table(
    "07_compressed",
    settings,
    run,
    live=(
        {"model": EXPERTS, "method": "wanda", "texts": FEW, "seed": 0},
        {"model": MINI, "method": "rtn", "texts": None, "seed": None},
    ),
    size=12,
    tolerance={"nfe": (1.5, 0.5)},
    flips=0.2,
    headlines=headlines,
)
