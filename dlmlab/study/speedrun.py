"""The speedrun: tokens and minutes from nothing to an exact match worth having, as a leaderboard anyone can add to.

    python -m dlmlab speedrun --recipe baseline --seed 0 --minutes 60
    torchrun --standalone --nproc_per_node 2 -m dlmlab speedrun --recipe quick --seed 0

Decisions
* A recipe is a TOML file of `TrainConfig` in `data/speedrun`; the seed is given apart, so a row is a recipe and a seed.
* The clock runs while the model trains, and stands still while it is evaluated; compiling counts.
* Exact match is measured on the first 128 validation problems with threshold 0.9, every `every` steps. The run ends at
  the goal, at the token budget of the recipe, or when the minutes are over; a run that misses the goal is a row too.
* Several processes share the threads of the recipe. The first one judges and keeps the clock, the others wait.
* Rows are compared within one machine only. The table names the machine of each.

Source of the idea: the nanoGPT speedrun of Keller Jordan and others (2024).
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate, hardware, store
from dlmlab.objective.batches import TrainConfig
from dlmlab.objective.training import Run
from dlmlab.paths import DATA
from dlmlab.task import tasks
from dlmlab.task.tokenizer import build_tokenizer

RECIPES, BOARD = DATA / "speedrun", DATA / "speedrun.json"
GOAL, PROBLEMS = 0.9, 128
FEW = 4_100_000  # tokens of the shortest recipes, and what their last step goes beyond them


def recipes() -> list[str]:
    """List the names of the recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def recipe(name: str, seed: int) -> TrainConfig:
    """Read a recipe and set its seed. Raises `ValueError` for an unknown name, listing the known ones."""
    if name not in recipes():
        raise ValueError(f"recipe {name!r} is unknown; known: {', '.join(recipes())}")
    return replace(TrainConfig.read(RECIPES / f"{name}.toml"), seed=seed, name=f"{name}-{seed}")


def exact_match(model) -> float:
    """Answer the validation problems of the speedrun."""
    problems = tasks.load_split("validation")[:PROBLEMS]
    sampler = Sampler(commit=Threshold(0.9))
    return evaluate.accuracy(model, build_tokenizer(), problems, sampler=sampler).exact_match.value


def race(
    config: TrainConfig,
    folder: Path,
    *,
    minutes: float,
    every: int = 200,
    judge: Callable[[object], float] = exact_match,
    say: Callable[[str], None] = print,
) -> dict:
    """Train until the goal, the token budget or the time limit, and return the row of the leaderboard.

    Raises `ValueError` for minutes that are not positive, or `every` that is no multiple of `log_every` (the log keeps
    the clock).
    """
    if not minutes > 0 or every < 1 or every % config.log_every:
        raise ValueError(f"minutes={minutes} must be > 0, every={every} a multiple of log_every={config.log_every}")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    run, history = Run(replace(config, threads=max(config.threads // processes, 1)), folder), []
    tokens, seconds, share = 0, 0.0, 0.0
    while tokens < config.tokens and seconds < 60 * minutes and share < GOAL:
        run.run(stop_after=run.step + every, say=lambda line: None)
        tokens, (seconds, share) = run.tokens, run.as_the_first(lambda: (run.seconds, judge(run.model)))
        history.append((tokens, seconds, share))
        run.model.train()
        if run.workers.is_main_process:
            spent = f"{tokens:,} tokens, {seconds / 60:.1f} minutes, loss {run.log[-1]['loss']:.3f}"
            say(f"{config.name}: {spent}, exact match {share:.1%}")
    return {
        "recipe": config.name.rpartition("-")[0],
        "seed": config.seed,
        "reached": share >= GOAL,
        "exact_match": round(share, 4),
        "tokens": tokens,
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / max(seconds, 1e-9)),
        "history": [[t, round(s, 1), round(a, 4)] for t, s, a in history],
        "precision": run.precision,
        "processes": processes,
        "machine": hardware.fingerprint(),
    }


def read(path: Path = BOARD) -> list[dict]:
    """Read the leaderboard, the fastest that reached the goal first; empty when nothing has been run."""
    return store.read(path)


def enter(row: dict, path: Path = BOARD) -> list[dict]:
    """Put a row on the leaderboard; the same recipe and seed on the same machine replace their old row.

    Rows that reached the goal come first, by time; the others follow, by exact match.
    """

    def key(r: dict) -> tuple:
        return r["recipe"], r["seed"], json.dumps(r["machine"], sort_keys=True)

    rows = [r for r in read(path) if key(r) != key(row)] + [row]
    rows.sort(key=lambda r: (not r["reached"], r["seconds"] if r["reached"] else -r["exact_match"]))
    store.write(path, rows)
    return rows


def headlines(rows: list[dict]) -> dict[str, float]:
    """Give what pages quote of the leaderboard, by recipe and seed."""
    found = {}
    for row in rows:
        name = f"{row['recipe']} {row['seed']}"
        found |= {f"{name} exact match": row["exact_match"], f"{name} minutes": row["seconds"] / 60}
        found[f"{name} exact match at 4 M"] = [share for tokens, _, share in row["history"] if tokens <= FEW][-1]
    return found


def table(rows: list[dict]) -> str:
    """Lay out the leaderboard as it is stored: rows that were run, and no others."""
    if not rows:
        return "the leaderboard is empty"
    lines = [
        f"{'recipe':22} {'seed':>4}  {'exact match':>11}  {'M tokens':>8}  {'minutes':>7}  {'tokens/s':>8}  machine"
    ]
    for r in rows:
        mark = "" if r["reached"] else "  (goal missed)"
        many = r.get("processes", 1)
        each = "one thread" if r["machine"]["threads"] == 1 else f"{r['machine']['threads']} threads"
        threads = each if many == 1 else f"{many} processes of {each}"
        machine = f"{r['machine']['processor']}, {r['machine']['capability']}, {threads}"
        machine += f", {r['precision']}" if "precision" in r else ""  # rows from before it was written down
        lines.append(
            f"{r['recipe']:22} {r['seed']:>4}  {r['exact_match']:>11.1%}  {r['tokens'] / 1e6:>8.2f}  "
            f"{r['seconds'] / 60:>7.1f}  {r['tokens_per_second']:>8,}  {machine}{mark}"
        )
    return "\n".join(lines)
