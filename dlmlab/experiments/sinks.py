"""Notebook 03: sinks in a bottle, sink curves of small training runs, and what hiding the strongest receivers does."""

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from dlmlab import autoregressive, bottle, evaluate, interventions, sinks, tasks
from dlmlab.checkpoint import DATA, load
from dlmlab.commit import Threshold
from dlmlab.experiments import store
from dlmlab.noise import forward_process
from dlmlab.sampling import Sampler, left_pad, sample
from dlmlab.tokenizer import build_tokenizer, decode_answer, encode_prompt
from dlmlab.training import Batches, Run, TrainConfig
from dlmlab.trajectories import KINDS, Trajectory, denoising, generation, renoising, token_kinds, value_norms

TEXTS, LENGTH, TIMES = 64, 64, (0.1, 0.5, 0.9)


def sweep_texts(config: TrainConfig) -> Tensor:
    """Cut texts of the validation split to `LENGTH` tokens, in the form the run is trained on, (TEXTS, LENGTH).

    Packed runs read problem after problem, others the problems that are long enough.
    """
    encode = Batches(config).encode
    encoded = encode(tasks.load_split("validation"))
    if config.context:
        flat = [id for text in encoded for id in text]
        starts = [i for i, id in enumerate(flat[:-LENGTH]) if id == encoded[0][0]]
        encoded = [flat[i:] for i in starts]
    return torch.tensor([text[:LENGTH] for text in encoded if len(text) >= LENGTH][:TEXTS])


def sink_curve(model, *, texts: Tensor) -> dict:
    """Summarize the attention of a model: of the first position and of the strongest one, and Gu's sink rate.

    A causal model reads the texts as they are, a diffusion model masked at each of `TIMES`. Attention counts in units
    of what uniform attention would give that position. The last half of a causal text is left out of the strongest:
    few queries see it, so a share of theirs says little.
    """
    causal = model.config.attention == "causal"
    L, result = texts.shape[1], {}
    last = L // 2 if causal else L
    uniform = sinks.uniform_sums(L, causal=causal)
    for t in (0.0,) if causal else TIMES:
        generator = torch.Generator().manual_seed(0)
        xt, _ = forward_process(texts, torch.full((len(texts),), t), model.config.mask_token_id, generator=generator)
        sums = sinks.received(model, xt)  # (N, B, H, L)
        lift = sums.mean((0, 2)) / uniform  # (B, L)
        rate = sinks.sink_rate(sinks.mean_attention(sums, causal=causal))  # (B, L)
        tag = "" if causal else f"_{t}"
        result |= {
            f"first{tag}": float(lift[:, 0].mean()),
            f"first_top_head{tag}": float((sums[..., 0].mean(1) / uniform[0]).max()),
            f"strongest{tag}": float(lift[:, :last].amax(-1).mean()),
            f"rate{tag}": float(rate[:, 0].mean()),
            f"any_rate{tag}": float(rate[:, :last].amax(-1).mean()),
        }
    return {key: round(value, 5) for key, value in result.items()}


def sweep(say: Callable[[str], None] = print, path: Path = store.RESULTS / "03_sweep.json") -> None:
    """Train every recipe of `data/sweep` and store its sink curve; a finished run in the file is not run again."""
    rows, problems = store.read(path), tasks.load_split("validation")[:128]
    for recipe in sorted((DATA / "sweep").glob("*.toml")):
        config = TrainConfig.read(recipe)
        if any(row["run"] == config.name for row in rows):
            continue
        run = Run(config, Path(tempfile.gettempdir()) / "dlmlab-sweep" / config.name)
        run.resume()
        run.run(evaluate=functools.partial(sink_curve, texts=sweep_texts(config)), say=say)
        recipe_columns = {"run": config.name, "attention": config.attention, "context": config.context}
        recipe_columns |= {"weight_decay": config.weight_decay, "seed": config.seed}
        judged = evaluate.accuracy(run.model, build_tokenizer(), problems, sampler=Sampler(commit=Threshold(0.9)))
        run.log[-1]["exact_match"] = judged.exact_match.value
        curve = [entry for entry in run.log if "first" in entry or "first_0.5" in entry]
        rows += [recipe_columns | {k: v for k, v in entry.items() if k != "seconds"} for entry in curve]
        store.write(path, rows)


# ------------------------------------------------------------------------------------------------ in a bottle

BOTTLE_SEEDS, BOTTLE_STEPS, RATIOS = (0, 1, 2), 1200, (0.1, 0.5, 0.9)


@torch.inference_mode()
def judge_bottle(model, language: bottle.Language, *, seed: int) -> dict:
    """Measure a bottled model on fresh texts: copying, attention to the start mark by what looks at it and how much
    is masked, length of its value, and what copying and the loss are without the start mark."""
    generator = torch.Generator().manual_seed(20_000 + seed)
    x0 = language.sample(256, generator=generator)
    without_start = torch.ones_like(x0, dtype=torch.bool)
    without_start[:, 0] = False
    norms = value_norms(model, x0)[0, :, 0]  # (B, L)
    causal = model.config.attention == "causal"
    alpha = sinks.mean_attention(sinks.received(model, x0), causal=causal)
    result = {
        "copy": bottle.copy_accuracy(model, x0),
        "copy_without_start": bottle.copy_accuracy(model, x0, without_start),
        "loss": float(bottle.loss(model, x0, generator=torch.Generator().manual_seed(seed))),
        "loss_without_start": float(
            bottle.loss(model, x0, without_start, generator=torch.Generator().manual_seed(seed))
        ),
        "ordinary": bottle.attention_to_start(model, x0)["ordinary"],
        "trigger": bottle.attention_to_start(model, x0)["trigger"],
        "gu_share": float((alpha[0, :, 0, 0] > 0.3).float().mean()),
        "value_ratio": float(norms[:, 0].mean() / norms[:, 1:].mean()),
    }
    for ratio in () if causal else RATIOS:
        time = torch.full((len(x0),), ratio)
        xt, _ = forward_process(x0, time, bottle.MASK, maskable=x0 != bottle.START, generator=generator)
        result[f"start_{ratio}"] = float(sinks.received(model, xt)[..., 0].mean() / x0.shape[1])
    return {key: round(value, 5) for key, value in result.items()}


def bottles(say: Callable[[str], None] = print, path: Path = store.RESULTS / "03_bottle.json") -> None:
    """Train both objectives with three seeds each, on one language, and store what they learned."""
    rows = store.read(path)
    language = bottle.Language.draw(generator=torch.Generator().manual_seed(0))
    for attention in ("causal", "full"):
        for seed in BOTTLE_SEEDS:
            if any((row["attention"], row["seed"]) == (attention, seed) for row in rows):
                continue
            model, curve = bottle.train(attention, language, seed=seed, steps=BOTTLE_STEPS)
            rows.append({"attention": attention, "seed": seed} | judge_bottle(model, language, seed=seed))
            rows[-1]["curve"] = [[e["step"], round(e["loss"], 4), round(e["start"], 4)] for e in curve]
            say(str(rows[-1]))
            store.write(path, rows)


# ------------------------------------------------------------------------------------------------ do they move?

MOVED, LEVELS, DRAWS = 48, tuple(round(0.05 + 0.1 * i, 2) for i in range(10)), 10


def sources(model, tokenizer, problem: tasks.Problem, *, seed: int = 0) -> dict[str, Trajectory]:
    """Make the trajectories of one problem: as decoded, and for a diffusion model its solution under fresh noise, at
    ten levels (one draw each) and at one level (ten draws: the noise floor)."""
    prompt = encode_prompt(tokenizer, problem.question)
    if model.config.attention == "causal":
        return {"written": generation(model, prompt)}
    solution = tokenizer(problem.solution, add_special_tokens=False)["input_ids"]
    x0 = torch.tensor(prompt + solution + [tokenizer.eos_token_id] * (40 - len(solution)))
    is_answer = torch.arange(len(x0)) >= len(prompt)
    generator = torch.Generator().manual_seed(seed)
    levels = renoising(model, x0, LEVELS, draws=1, maskable=is_answer, generator=generator)
    (floor,) = renoising(model, x0, [0.5], draws=DRAWS, maskable=is_answer, generator=generator)
    return {"denoised": denoising(model, prompt), "ten noise levels": Trajectory.join(levels), "one level": floor}


def movement(name: str, problem: tasks.Problem, *, seed: int = 0) -> list[dict]:
    """Measure each source of one problem: does the strongest receiver stay, does the centroid of the sinks move?"""
    model, tokenizer = load(name)
    rows = []
    for source, run in sources(model, tokenizer, problem, seed=seed).items():
        m, kinds = run.mass, token_kinds(run.ids, tokenizer)
        variance, coverage = sinks.centroid_variance(m, sinks.above_spread(m))
        null = sinks.permutation_null(m, draws=20, generator=torch.Generator().manual_seed(seed))
        layers = run.sums.mean(2).unbind(1)  # (S, L) each
        top = m.argmax(-1)
        row = {
            "centroid": variance,
            "coverage": coverage,
            "null": float(null.mean()),
            "stays": float((top[1:] == top[:-1]).float().mean()) if len(top) > 1 else 1.0,
            "overlap5": float(sinks.overlap(m, 5).mean()),
            "formula": sinks.one_minus_argmax_frequency(m),
            "strongest": float(m.amax(-1).mean()),
            "stands_out": float(sinks.stands_out(run.sums.mean(2)).float().sum(-1).mean()),
            "layers": [sinks.centroid_variance(layer, sinks.above_spread(layer))[0] for layer in layers],
            "layer_stays": [sinks.argmax_survival(layer) / len(layer) for layer in layers],
        }
        rounded = {k: [round(x, 6) for x in v] if isinstance(v, list) else round(v, 6) for k, v in row.items()}
        kind = KINDS[int(kinds.gather(1, top[:, None]).flatten().mode().values)]
        rows.append({"model": name, "source": source, **rounded, "states": len(m), "kind": kind})
    return rows


def movements(say: Callable[[str], None] = print, path: Path = store.RESULTS / "03_movement.json") -> None:
    """Measure `MOVED` validation problems on both models; a problem in the file is not measured again."""
    rows, problems = store.read(path), tasks.load_split("validation")[:MOVED]
    for name in ("llada-mini", "llama-mini"):
        for i, problem in enumerate(problems):
            if any((row["model"], row["problem"]) == (name, i) for row in rows):
                continue
            rows += [{"problem": i} | row for row in movement(name, problem)]
            store.write(path, rows)
        say(f"{name}: {len(problems)} problems")


# ------------------------------------------------------------------------------------------------ are they needed?

PROBLEMS, STATES, COUNTS, SEEDS = 48, 12, (1, 5), (0, 1, 2)


@dataclass(frozen=True)
class Hiding:
    """One line of the table: which keys a model may not read. `k` 0 hides nothing, -1 counts the tokens of a kind."""

    model: str
    name: str
    k: int
    seed: int = 0

    def choice(self, tokenizer) -> interventions.Choice:
        generator = torch.Generator().manual_seed(self.seed)
        if self.k == -1:
            return interventions.OfKind(self.name, tokenizer)
        return {
            "nothing": interventions.Strongest(0),
            "strongest": interventions.Strongest(self.k),
            "random": interventions.RandomKeys(self.k, generator),
            "same kind": interventions.SameKind(self.k, tokenizer, generator),
        }[self.name]


def hidings() -> list[Hiding]:
    """List what is hidden, for both models: k keys by three rules, and each mark that stands alone."""
    lines = []
    for model in ("llada-mini", "llama-mini"):
        lines.append(Hiding(model, "nothing", 0))
        lines += [Hiding(model, kind, -1) for kind in ("start mark", "answer mark")]
        for k in COUNTS:
            lines.append(Hiding(model, "strongest", k))
            lines += [Hiding(model, name, k, seed) for name in ("random", "same kind") for seed in SEEDS]
    return lines


def hide(line: Hiding, problems: Sequence[tasks.Problem], states: int = STATES) -> dict:
    """Answer the problems without the keys, and compare predictions on the states of the first `states` dense runs."""
    model, tokenizer = load(line.model)
    prompts = [encode_prompt(tokenizer, p.question) for p in problems]
    blind = interventions.WithoutKeys(model, line.choice(tokenizer))
    if model.config.attention == "causal":
        out = autoregressive.sample(blind, prompts, cache=False)
    else:
        out = sample(blind, prompts)  # one token a forward, as the other model
    verdicts = [
        tasks.verify(p.question, decode_answer(tokenizer, ids)) for p, ids in zip(problems, out.answers, strict=True)
    ]
    kl = [
        float(interventions.divergence(model, *dense_states(model, prompt), line.choice(tokenizer)).mean())
        for prompt in prompts[:states]
    ]
    return asdict(line) | {
        "correct": "".join(str(int(v.correct)) for v in verdicts),
        "kl": [round(value, 5) for value in kl],
        "nfe": sum(out.trace.nfe) / len(prompts),
    }


def dense_states(model, prompt: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Read the states of a run in which nothing is hidden: ids (S, L), real tokens (S, L), and where predictions count
    (S, L): at masks, or at the last token of a causal prefix."""
    if model.config.attention != "causal":
        ids = denoising(model, prompt).ids
        return ids, torch.ones_like(ids, dtype=torch.bool), ids == model.config.mask_token_id
    trajectory = generation(model, prompt)
    prefixes = [row[seen].tolist() for row, seen in zip(trajectory.ids, trajectory.visible, strict=True)]
    ids, real = left_pad(prefixes, model.config.eos_token_id, model.device)
    at = torch.zeros_like(real)
    at[:, -1] = True
    return ids, real, at


def necessity(say: Callable[[str], None] = print, path: Path = store.RESULTS / "03_necessity.json") -> None:
    """Run every line on the first `PROBLEMS` test problems; a line already in the file is not run again."""
    rows, problems = store.read(path), tasks.load_split("test")[:PROBLEMS]
    for line in hidings():
        if any(asdict(line).items() <= row.items() for row in rows):
            continue
        rows.append(hide(line, problems))
        share = rows[-1]["correct"].count("1") / len(problems)
        say(f"{line}: exact match {share:.3f}, KL {sum(rows[-1]['kl']) / len(rows[-1]['kl']):.3f} nats")
        store.write(path, rows)
