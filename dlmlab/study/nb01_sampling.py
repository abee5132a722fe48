"""Notebook 01: exact match against forwards for every way to decode."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.decode.trace import cut_at_end
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure import evaluate
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.task import layout, tasks

PROBLEMS = 120
STEPS = (5, 10, 40)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Setting:
    """One line of the table of notebook 01: a method at one cost, with the seeds that chance needs."""

    method: str
    sampler: Sampler
    model: str = "llada-mini"
    seeds: Sequence[int] = (0,)


def sampling_settings() -> list[Setting]:
    """List the samplers that notebook 01 compares."""
    chance, once = SEEDS, (0,)
    fixed = [
        ("random order", "random", None, STEPS, chance),
        ("probability", "probability", None, STEPS, once),
        ("margin", "margin", None, STEPS[:2], once),
        ("entropy", "neg_entropy", None, STEPS[:2], once),
        ("blocks of 8", "probability", 8, STEPS[:2], once),
    ]
    settings = [
        Setting(method, Sampler(score, Fixed(steps), block_length=block), seeds=seeds)
        for method, score, block, budgets, seeds in fixed
        for steps in budgets
    ]
    settings += [Setting("threshold", Sampler(commit=Threshold(tau))) for tau in (0.5, 0.7, 0.9, 0.98)]
    settings.append(Setting("autoregressive twin", Sampler(), model="llama-mini"))
    return settings


def settings() -> list[dict]:
    """Name the rows of the table: every setting with every seed it needs."""
    return [
        {"method": s.method, "sampler": repr(s.sampler.commit), "seed": seed}
        for s in sampling_settings()
        for seed in s.seeds
    ]


def run(method: str, sampler: str, seed: int, size: int | None = None) -> dict:
    """Answer the first test problems with one setting and one seed; `correct` holds one 0 or 1 a problem."""
    (setting,) = (s for s in sampling_settings() if (s.method, repr(s.sampler.commit)) == (method, sampler))
    model, tokenizer = load(setting.model)
    problems = tasks.load_split("test")[: size or PROBLEMS]
    generator = torch.Generator().manual_seed(seed)
    result = evaluate.accuracy(model, tokenizer, problems, sampler=setting.sampler, generator=generator)
    return {
        "nfe": result.mean_nfe,
        "gflop": result.flops / len(problems) / 1e9,
        "correct": result.correct,
    }


def summarize(rows: Sequence[dict]) -> list[dict]:
    """Join the seeds of a setting: mean exact match with the Wilson interval of one run (problems, not seeds, are the
    sample), and the spread over seeds."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["sampler"]), []).append(row)
    table = []
    for (method, sampler), mine in groups.items():
        n, hits = len(mine[0]["correct"]), [row["correct"].count("1") for row in mine]
        share = evaluate.Proportion(round(sum(hits) / len(hits)), n)
        low, high = share.interval
        table.append(
            {
                "method": method,
                "sampler": sampler,
                "nfe": sum(r["nfe"] for r in mine) / len(mine),
                "exact_match": sum(hits) / len(hits) / n,
                "low": low,
                "high": high,
                "seeds": len(mine),
                "spread": (max(hits) - min(hits)) / n,
                "gflop": sum(r["gflop"] for r in mine) / len(mine),
            }
        )
    return table


def point(name: str, loop: Callable, commit: Callable, *, size: int = PROBLEMS) -> dict:
    """Judge a loop and a commit rule of one's own, (score, eligible) -> take, as `dlmlab.loop.reverse_loop` plugs them
    together, on the first test problems: a line as of `summarize`, with `correct`, one 0 or 1 a problem.

    Prompts of one length make a batch, so that nothing is padded. The rule may not remember what it was asked before.
    """
    model, tokenizer = load("llada-mini")
    problems, mask_id = tasks.load_split("test")[:size], model.config.mask_token_id
    prompts = [layout.encode_prompt(tokenizer, p.question) for p in problems]
    correct, nfe = [""] * len(problems), [0] * len(problems)
    for length in sorted({len(prompt) for prompt in prompts}):
        rows = [i for i, prompt in enumerate(prompts) if len(prompt) == length]
        x = torch.tensor([prompts[i] + [mask_id] * ANSWER_LENGTH for i in rows])
        with torch.inference_mode():
            ids, forwards = loop(lambda x: model(x).logits, x, commit, mask_id)
        for i, row, n in zip(rows, ids[:, length:].tolist(), forwards.tolist(), strict=True):
            answer = layout.decode_answer(tokenizer, cut_at_end(row, tokenizer.eos_token_id))
            correct[i], nfe[i] = str(int(tasks.verify(problems[i].question, answer).correct)), n
    share = evaluate.Proportion(correct.count("1"), len(problems))
    line = {"method": name, "sampler": "yours", "nfe": sum(nfe) / len(nfe), "exact_match": share.value}
    return line | {"low": share.interval[0], "high": share.interval[1], "seeds": 1, "correct": "".join(correct)}


def headlines(rows: list[dict]) -> dict[str, float]:
    """Give exact match and forwards of every line, by method and sampler."""
    found = {}
    for line in summarize(rows):
        found[f"{line['method']}, {line['sampler']}"] = line["exact_match"]
        found[f"{line['method']}, {line['sampler']}, nfe"] = line["nfe"]
    return found


TABLE = Table(
    "01_sampling",
    settings,
    run,
    live=[
        {"method": method, "sampler": repr(commit), "seed": 0}
        for method, commit in (
            ("margin", Fixed(5)),
            ("entropy", Fixed(10)),
            ("threshold", Threshold(0.9)),
            ("autoregressive twin", Fixed()),
        )
    ],
    size=16,
    tolerance={"nfe": (0.5, 0.2), "gflop": (0.0, 0.25)},  # means over other problems
    headlines=headlines,
)
