"""README: what each shipped model costs and answers, on the whole test split, one token per forward and under a
threshold; the twins left to right.

How it was trained (tokens, minutes) is read from the log beside its weights.
"""

import json

from dlmlab.decode import run as decode_run
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure import evaluate
from dlmlab.measure.evaluate import Proportion
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.objective.batches import TrainConfig
from dlmlab.paths import DATA
from dlmlab.task import tasks

ONE, RULE, TWIN = "one token a forward", "threshold 0.9", "left to right, cached"
COMMITS = {ONE: Fixed(ANSWER_LENGTH), RULE: Threshold(0.9), TWIN: None}
WAYS = {
    "llada-mini": (ONE, RULE),
    "llada-mini-b": (ONE, RULE),
    "llama-mini": (TWIN,),
    "llama-mini-b": (TWIN,),
    "llada-small": (RULE,),
    "llada2-mini-toy": (RULE,),
}


def settings() -> list[dict]:
    """List every model with its ways to decode."""
    return [{"model": model, "way": way} for model, ways in WAYS.items() for way in ways]


def run(model: str, way: str, size: int | None = None) -> dict:
    """Answer the test problems; `correct` and `clean`: one digit a problem, `nfe`: forwards a problem."""
    network, tokenizer = load(model)
    problems = tasks.load_split("test")[:size]
    sampler = None if way == TWIN else decode_run.sampler_for(network.config, commit=COMMITS[way])
    result = evaluate.accuracy(network, tokenizer, problems, sampler=sampler)
    clean = evaluate.digits(v.clean for v in result.verdicts)
    return {"correct": result.correct, "clean": clean, "nfe": round(result.mean_nfe, 3)}


def trained(model: str) -> dict:
    """Read off the log of a model how it was trained: tokens, minutes, and seed of its recipe."""
    last = json.loads((DATA / model / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    seed = TrainConfig.read(DATA / model / "training.toml").seed
    return {"tokens": last["tokens"], "minutes": last["seconds"] / 60, "seed": seed}


def by_equations(correct: str) -> dict[int, Proportion]:
    """Split verdicts on the test problems by their number of equations."""
    groups: dict[int, str] = {}
    for problem, digit in zip(tasks.load_split("test"), correct, strict=True):
        groups[problem.steps] = groups.get(problem.steps, "") + digit
    return {steps: Proportion.of(found) for steps, found in sorted(groups.items())}


def lines(rows: list[dict]) -> str:
    """Lay out the models: how trained, forwards, exact match, every equation right, and the five-equation problems."""
    head = f"{'model':16} {'seed':>4} {'M tokens':>8} {'minutes':>7}  {'decoded':22} {'forwards':>8}"
    found = [head + f"  {'exact match':22} {'clean':>6}   by number of equations, 1 to 5"]
    for row in rows:
        about, share = trained(row["model"]), Proportion.of(row["correct"])
        parts = " ".join(f"{100 * part.value:5.1f}" for part in by_equations(row["correct"]).values())
        found.append(
            f"{row['model']:16} {about['seed']:>4} {about['tokens'] / 1e6:>8.1f} {about['minutes']:>7.0f}  "
            f"{row['way']:22} {row['nfe']:>8.1f}  {share!s:22} {Proportion.of(row['clean']).value:>6.1%}  {parts}"
        )
    return "\n".join(found)


def headlines(rows: list[dict]) -> dict[str, float]:
    """Give exact match, clean and forwards of each row."""
    found = {}
    for row in rows:
        name = f"{row['model']}, {row['way']}"
        shares = {column: Proportion.of(row[column]).value for column in ("correct", "clean")}
        found |= {name: shares["correct"], f"{name}, clean": shares["clean"], f"{name}, nfe": row["nfe"]}
    for model in WAYS:
        (first, *_) = select(rows, model=model)
        found |= {f"{model}, {k} equations": share.value for k, share in by_equations(first["correct"]).items()}
    return found


TABLE = Table(
    "00_models",
    settings,
    run,
    live=({"model": "llada-mini-b", "way": RULE}, {"model": "llama-mini-b", "way": TWIN}),
    size=32,
    tolerance={"nfe": (0.3, 0.1)},
    headlines=headlines,
)
