"""`python -m dlmlab COMMAND`: what a notebook does not do.

Modules are imported inside the commands, so that `--help` and a mistyped option answer at once.
"""

import argparse
import functools
import json
import os
import sys
from pathlib import Path


def doctor(args) -> None:
    from dlmlab.doctor import report

    print(report())


def train(args) -> None:
    from dlmlab.paths import to_write
    from dlmlab.tokenizer import build_tokenizer
    from dlmlab.training import Run, TrainConfig, describe

    config = TrainConfig.read(args.config)
    out = to_write(args.out or Path("runs") / config.name)
    run, say = Run(config, out), functools.partial(print, flush=True)
    if run.workers.rank == 0:
        say(describe(config))
    if run.resume():
        say(f"going on from step {run.step} in {out}")
    run.run(evaluate=functools.partial(_validate, tokenizer=build_tokenizer()), say=say, stop_after=args.stop_after)
    run.export(args.export or out)


def _validate(model, tokenizer) -> dict:
    from dlmlab import evaluate, tasks
    from dlmlab.commit import Threshold
    from dlmlab.sampling import Sampler

    problems = tasks.load_split("validation")[:128]
    result = evaluate.accuracy(model, tokenizer, problems, sampler=Sampler(commit=Threshold(0.9)))
    return {"exact_match": round(result.exact_match.value, 4)}


def _sampler(args):
    from dlmlab.commit import EntropyBound, Factor, Fixed, Threshold
    from dlmlab.sampling import Sampler

    rules = {"threshold": Threshold, "factor": Factor, "entropy_bound": EntropyBound}
    given = [(rules[name], getattr(args, name)) for name in rules if getattr(args, name) is not None]
    if len(given) > 1:
        raise ValueError("give at most one of --threshold, --factor, --entropy-bound")
    commit = given[0][0](given[0][1]) if given else Fixed(args.steps)
    return Sampler(args.score, commit, args.temperature, args.guidance, args.block_length)


def generate(args) -> None:
    import torch

    from dlmlab import autoregressive, sampling
    from dlmlab.checkpoint import load
    from dlmlab.plotting import text_grid
    from dlmlab.tasks import verify
    from dlmlab.tokenizer import decode_answer, encode_prompt

    model, tokenizer = load(args.model, device=args.device)
    prompt, generator = encode_prompt(tokenizer, args.question), torch.Generator(args.device).manual_seed(args.seed)
    if model.config.attention == "causal":
        out = autoregressive.sample(
            model, [prompt], gen_length=args.gen_length, temperature=args.temperature, generator=generator
        )
    else:
        out = sampling.sample(model, [prompt], gen_length=args.gen_length, sampler=_sampler(args), generator=generator)
    if args.grid:
        print(text_grid(out, tokenizer))
    answer = decode_answer(tokenizer, out.answers[0])
    verdict = verify(args.question, answer)
    print(answer)
    print(
        f"{out.trace.nfe[0]} forwards; "
        + (verdict.problem or f"final answer {'right' if verdict.correct else 'wrong'}")
    )


def evaluate(args) -> None:
    import torch

    from dlmlab import evaluate as ev
    from dlmlab import tasks
    from dlmlab.checkpoint import load

    model, tokenizer = load(args.model, device=args.device)
    problems = tasks.load_split(args.split)[: args.limit]
    generator = torch.Generator(args.device).manual_seed(args.seed)
    result = ev.accuracy(
        model, tokenizer, problems, sampler=_sampler(args), gen_length=args.gen_length, generator=generator
    )
    print(f"{args.model} on {len(problems)} problems of {args.split}")
    print(f"exact match  {result.exact_match}")
    print(f"clean        {result.clean}  (every equation right, asked for and present)")
    for steps, share in result.by_steps().items():
        print(f"  {steps} step{'s' * (steps > 1):1}    {share}  (n = {share.n})")
    print(f"forwards per problem {result.mean_nfe:.1f}, {result.flops / len(problems) / 1e9:.2f} GFLOP per problem")
    if args.json:
        numbers = {
            "split": args.split,
            "n": len(problems),
            "hits": result.exact_match.hits,
            "interval": result.exact_match.interval,
        }
        steps = {str(k): [v.hits, v.n] for k, v in result.by_steps().items()}
        Path(args.json).write_text(
            json.dumps(numbers | {"by_steps": steps, "mean_nfe": result.mean_nfe}, indent=2) + "\n",
            encoding="utf-8",
            newline="\n",
        )


def measure(args) -> None:
    from dlmlab.experiments import EXPERIMENTS, RESULTS
    from dlmlab.paths import to_write

    if args.name not in EXPERIMENTS:
        raise ValueError(f"experiment {args.name!r} is unknown; known: {', '.join(EXPERIMENTS)}")
    to_write(RESULTS)
    EXPERIMENTS[args.name](functools.partial(print, flush=True))


def bench(args) -> None:
    import torch

    from dlmlab import tables
    from dlmlab.bench import run

    torch.set_num_threads(args.threads)
    run(args.only, quick=args.quick, again=args.again, say=functools.partial(print, flush=True))
    if not args.quick:
        tables.write()


def speedrun(args) -> None:
    import tempfile

    from dlmlab import speedrun as sr
    from dlmlab import tables
    from dlmlab.paths import to_write

    say = functools.partial(print, flush=True)
    if args.recipe:
        config = sr.recipe(args.recipe, args.seed)
        to_write(sr.BOARD)
        with tempfile.TemporaryDirectory() as folder:
            sr.enter(sr.race(config, Path(folder), minutes=args.minutes, say=say))
        tables.write()
    say(sr.table(sr.read()))


def prune(args) -> None:
    from dlmlab import calibration, methods, pruning, sparse
    from dlmlab.checkpoint import load, save

    model, tokenizer = load(args.model)
    mode = args.calibration or ("clean" if model.config.attention == "causal" else "uniform")
    problems = calibration.calibration_problems(args.texts, seed=args.seed, split=args.split)
    texts = methods.Texts(tokenizer, problems, mode, args.region, args.seed)
    small = methods.apply(model, args.method, args.sparsity, texts=texts, pattern=args.pattern)
    save(small, tokenizer, args.out)
    print(f"{args.method} of {args.model}, calibrated on {len(problems)} problems ({mode})")
    print(f"zeros in the blocks {pruning.sparsity_of(small):.1%} (before {pruning.sparsity_of(model):.1%})")
    print(f"parameters {small.num_parameters():,} (before {model.num_parameters():,})")
    print(f"bytes dense {4 * small.num_parameters():,}, packed {sparse.stored_bytes(small):,}")
    print(f"written to {args.out}")


def manifest(args) -> None:
    from dlmlab.manifest import write

    write()


def refresh(args) -> None:
    from dlmlab.refresh import refresh as run

    run([Path(p) for p in args.notebooks] or None)


def data(args) -> None:
    from dlmlab.tasks import write_splits

    write_splits()


def _sampler_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--score", default="probability", help="how masked positions are ranked")
    parser.add_argument("--steps", type=int, help="forwards in all (default: one token per forward)")
    parser.add_argument("--threshold", type=float, help="commit every token at least this sure")
    parser.add_argument("--factor", type=float, help="Fast-dLLM's factor rule")
    parser.add_argument("--entropy-bound", type=float, help="EB-Sampler's bound in nats")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--guidance", type=float, default=0.0, help="weight of classifier-free guidance")
    parser.add_argument("--block-length", type=int, help="semi-autoregressive blocks of this length")
    parser.add_argument("--gen-length", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")


def build_parser() -> argparse.ArgumentParser:
    """Describe every command."""
    parser = argparse.ArgumentParser(
        prog="python -m dlmlab", description="Efficient diffusion language models, small enough to read."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(function, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(function.__name__, help=help, description=help)
        sub.set_defaults(function=function)
        return sub

    command(doctor, "describe this machine and project the time of each notebook")
    sub = command(train, "train a model; run it again to go on after an interruption")
    sub.add_argument(
        "--config", required=True, type=Path, help="a TOML file, for example data/llada-mini/training.toml"
    )
    sub.add_argument("--out", type=Path, help="folder of the run's state (default runs/NAME)")
    sub.add_argument("--export", type=Path, help="folder for the finished model (default: --out)")
    sub.add_argument("--stop-after", type=int, help="stop at this step; a later run goes on")
    sub = command(generate, "answer one question")
    sub.add_argument("question")
    sub.add_argument("--model", default="llada-mini")
    sub.add_argument("--grid", action="store_true", help="show every step")
    _sampler_options(sub)
    sub = command(evaluate, "exact match on a split, with interval and by number of steps")
    sub.add_argument("model", nargs="?", default="llada-mini")
    sub.add_argument("--split", default="test")
    sub.add_argument("--limit", type=int)
    sub.add_argument("--json", help="also write the numbers to this file")
    _sampler_options(sub)
    sub = command(prune, "prune a model and write it where load() finds it")
    sub.add_argument("--model", default="llada-mini")
    sub.add_argument("--method", required=True, help="for example magnitude, wanda, sparsegpt, sink-wanda, neurons")
    sub.add_argument("--sparsity", required=True, type=float, help="share of the weights (or units) to remove")
    sub.add_argument("--pattern", default="row", help="row, layer, or n:m such as 2:4")
    sub.add_argument("--calibration", help="clean, t:0.5, uniform, grid, prefix or trajectory")
    sub.add_argument("--region", default="all", help="what noise may hide: all or answer")
    sub.add_argument("--texts", type=int, default=64, help="number of calibration problems")
    sub.add_argument("--split", default="calibration", help="only the calibration split is allowed")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, type=Path, help="folder of the pruned model")
    sub = command(measure, "run a long experiment and store its table under data/results")
    sub.add_argument("name")
    sub = command(bench, "measure what costs time, as ratios, and store them in data/bench.json")
    sub.add_argument("--only", nargs="+", metavar="SECTION", help="machine, decode, twin, growth, precision, train")
    sub.add_argument("--quick", action="store_true", help="a few problems, three rounds, nothing stored")
    sub.add_argument("--again", action="store_true", help="measure again what is stored already")
    sub.add_argument("--threads", type=int, default=os.cpu_count())
    sub = command(speedrun, "train a recipe until the goal and enter the leaderboard; without --recipe, show it")
    sub.add_argument("--recipe", help="a file of data/speedrun, without .toml")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--minutes", type=float, default=60.0)
    sub = command(refresh, "re-execute notebooks in place, rebuild the ledger, fill the numbers of README")
    sub.add_argument("notebooks", nargs="*")
    command(manifest, "write data/MANIFEST.json and the model cards")
    command(data, "write the held-out splits of mini-GSM again")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command; a mistake of the user is one line on stderr and exit status 2."""
    args = build_parser().parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):  # a redirected Windows console writes cp1252, which has no box for a mask
        sys.stdout.reconfigure(errors="replace")
    try:
        args.function(args)
    except (ValueError, FileNotFoundError) as error:
        print(f"dlmlab {args.command}: {error}", file=sys.stderr)
        return 2
    return 0
