"""`python -m dlmlab COMMAND`: what a notebook does not do.

Decisions
* Modules are imported inside the commands, so that `--help` and a mistyped option answer at once.
* A mistake is found before the work: ranges and names when the line is read, places and devices before a model is
  loaded. What a model or a rule would ignore is refused.
"""

import argparse
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral, Real
from pathlib import Path

import dlmlab
from dlmlab import limits

SEEDS = 2**31 - 1
QUANTIZER = ("bits", "symmetric", "group", "range", "act_order", "sparsity", "pattern", "block")  # what one may read
DIFFUSION = ("score", "steps", "threshold", "factor", "entropy_bound", "guidance", "block_length")


class Mistake(ValueError):
    """A command line that cannot be read; the message begins with the command."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> None:
        raise Mistake(f"{self.prog.removeprefix('python -m ')}: {message}")


class Known:
    """The names of a registry, or what a function lists, as choices of an option, looked up when they are needed:
    imports take seconds."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __iter__(self) -> Iterator[str]:
        names = getattr(getattr(dlmlab, self.module), self.name)
        return iter(names() if callable(names) else names)

    def __contains__(self, value: str) -> bool:
        return value in list(self)


def number(kind: type, least: float, most: float = math.inf, *, open: str = "") -> Callable[[str], float]:
    """Make the type of an option: a number in the range of `limits.problem`.

    >>> number(float, 0, 1, open="<")("0.5")
    0.5
    """

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = text  # no number: the message says what was wanted
        if wrong := limits.problem(value, least, most, kind=Integral if kind is int else Real, open=open):
            raise argparse.ArgumentTypeError(f"{text!r} {wrong}")
        return value

    return read


def some(text: str) -> str:
    """Read text that says something."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is empty")
    return text


def place(text: str) -> Path:
    """Read a path. An empty one would be the current folder."""
    return Path(some(text))


def states(text: str) -> str:
    """Read how calibration texts are noised: a name, or `t:` and a level."""
    kind, _, level = text.partition(":")
    if kind == "t" and level:
        number(float, 0, 1, open="<")(level)
        return text
    known = (*Known("calibration", "MODES"), "trajectory")
    if text not in known:
        raise argparse.ArgumentTypeError(f"{text!r} is unknown; known: {', '.join(known)}")
    return text


def refuse(args, options: Sequence[str], why: str) -> None:
    """Raise `ValueError` naming the options that were given and would do nothing."""
    if given := [f"--{name.replace('_', '-')}" for name in options if getattr(args, name) is not None]:
        raise ValueError(f"{', '.join(given)}: {why}")


def doctor(args) -> int:
    from dlmlab.course.doctor import report

    found = report()
    print(found)
    return found.code


def train(args) -> int:
    from dlmlab import guard
    from dlmlab.objective import sharding
    from dlmlab.objective.training import Run, TrainConfig, describe
    from dlmlab.task.tokenizer import build_tokenizer

    config = TrainConfig.read(args.config)
    out = args.out or Path("runs") / config.name
    export = args.export or out
    guard.folder(out, "--out", holds=("state.pt", "state.part"))
    guard.folder(export, "--export", holds=("state.pt", "state.part", "config.json", "training.toml"))
    run, say = Run(config, out, fsdp=args.fsdp), functools.partial(print, flush=True)
    chief = run.workers.is_main_process
    if chief:
        say(describe(config))
        if args.fsdp:
            say(sharding.describe(run.model))
    if run.resume() and chief:
        say(f"going on from step {run.step} in {out}")
    judge = functools.partial(_validate, tokenizer=build_tokenizer())
    with guard.Interruption(patient=run.workers.num_processes > 1) as stop:
        run.run(evaluate=judge, say=say, stop_after=args.stop_after, stop=lambda: stop.signal)
    if stop.signal and run.tokens < config.tokens:
        if chief:
            say(f"interrupted after step {run.step}, saved in {out}: the same command goes on from there")
        return 128 + stop.signal
    if args.half:
        run.model.bfloat16()  # the saved state keeps all digits
    try:
        run.export(export)
    except OSError as error:
        raise OSError(f"{export} could not be written ({error}); the trained state is kept in {out}") from error
    return 0


def _validate(model, tokenizer) -> dict:
    from dlmlab.decode.commit import Threshold
    from dlmlab.decode.run import sampler_for
    from dlmlab.measure import evaluate
    from dlmlab.task import tasks

    problems = tasks.load_split("validation")[:128]
    sampler = sampler_for(model.config, commit=Threshold(0.9))
    result = evaluate.accuracy(model, tokenizer, problems, sampler=sampler)
    return {"exact_match": round(result.exact_match.value, 4)}


def _rule(args):
    """Make the commit rule that the options ask for, and refuse those it does not use."""
    from dlmlab.decode.commit import EntropyBound, Factor, Fixed, Threshold

    rules = {"threshold": Threshold, "factor": Factor, "entropy_bound": EntropyBound}
    given = [name for name in rules if getattr(args, name) is not None]
    if len(given) > 1:
        raise ValueError("give at most one of --threshold, --factor, --entropy-bound")
    if not given:
        return Fixed(args.steps)
    refuse(args, ["steps"], f"--{given[0].replace('_', '-')} decides itself how many forwards there are")
    if given == ["entropy_bound"]:
        refuse(args, ["score"], "--entropy-bound ranks by entropy")
    return rules[given[0]](getattr(args, given[0]))


def _decoder(args) -> tuple:
    """Load the model and make its sampler, after all that can be refused without it."""
    import torch

    from dlmlab.decode.run import sampler_for
    from dlmlab.decode.sampling import Sampler
    from dlmlab.network import checkpoint

    _check_place(args)
    given = {k: v for k in ("score", "temperature", "guidance", "block_length") if (v := getattr(args, k)) is not None}
    rule = _rule(args)
    sampler = Sampler(commit=rule, **given)
    if not sampler.temperature and sampler.score != "random":
        refuse(args, ["seed"], "nothing is random without --temperature or --score random")
    config = checkpoint.read_config(checkpoint.find(args.model))
    if config.attention == "causal":
        refuse(args, DIFFUSION, f"{args.model} writes left to right, one token a forward")
    sampler = sampler_for(config, commit=rule, **given)
    model, tokenizer = _load(args)
    return model, tokenizer, sampler, torch.Generator(model.device).manual_seed(args.seed or 0)


def _check_place(args) -> None:
    """Refuse a device that is not here, and one beside a map of devices."""
    from dlmlab import guard

    if args.device_map is not None:
        refuse(args, ["device"], "--device-map says where every part goes")
    guard.device(args.device or "cpu", "--device")


def _load(args):
    """Load the model that the options name, where and as what they say."""
    import torch

    from dlmlab.network import checkpoint

    how = {"dtype": getattr(torch, args.dtype), "device": args.device or "cpu", "device_map": args.device_map}
    return checkpoint.load(args.model, **how)


def _encode(tokenizer, questions: Sequence[str], model, gen_length: int) -> list[list[int]]:
    """Encode questions. Raises `ValueError` when one and its answer are longer than the model reads."""
    from dlmlab.task.layout import encode_prompt

    prompts, most = [encode_prompt(tokenizer, question) for question in questions], model.config.max_sequence_length
    if (longest := max(map(len, prompts))) + gen_length > most:
        raise ValueError(
            f"a question of {longest} tokens and --gen-length {gen_length} are more than the {most} the model reads"
        )
    return prompts


def generate(args) -> None:
    from dlmlab.course.plotting import text_grid
    from dlmlab.decode.run import decode
    from dlmlab.task.layout import decode_answer
    from dlmlab.task.tasks import verify

    model, tokenizer, sampler, generator = _decoder(args)
    prompts = _encode(tokenizer, [args.question], model, args.gen_length)
    out = decode(model, prompts, sampler=sampler, gen_length=args.gen_length, generator=generator)
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
    from dlmlab import guard
    from dlmlab.measure import evaluate as ev
    from dlmlab.task import tasks

    if args.json:
        guard.file(args.json, "--json", holds="split")
    model, tokenizer, sampler, generator = _decoder(args)
    problems = tasks.load_split(args.split)[: args.limit]
    _encode(tokenizer, [p.question for p in problems], model, args.gen_length)
    result = ev.accuracy(model, tokenizer, problems, sampler=sampler, gen_length=args.gen_length, generator=generator)
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
        lines = json.dumps(numbers | {"by_steps": steps, "mean_nfe": result.mean_nfe}, indent=2) + "\n"
        args.json.write_text(lines, encoding="utf-8", newline="\n")


def measure(args) -> int:
    from dlmlab.measure import store
    from dlmlab.paths import to_write
    from dlmlab.study import TABLES, table

    if bool(args.name) == args.all:
        raise ValueError(f"give the NAME of a table or --all; known: {', '.join(TABLES)}")
    say = functools.partial(print, flush=True)
    if not args.live:
        to_write(store.RESULTS)
    off = 0
    for name in TABLES if args.all else [args.name]:
        if args.live:
            off += not all([table(name).repeats(key, say) for key in table(name).live])
        else:
            table(name).measure(say)
    return int(off > 0)


def bench(args) -> None:
    import torch

    from dlmlab.course import pages
    from dlmlab.study.bench import run

    torch.set_num_threads(args.threads)
    run(args.only, quick=args.quick, again=args.again, say=functools.partial(print, flush=True))
    if not args.quick:
        pages.write()


def speedrun(args) -> None:
    import tempfile

    from dlmlab.course import pages
    from dlmlab.paths import to_write
    from dlmlab.study import speedrun as sr

    say = functools.partial(print, flush=True)
    if args.recipe is None:
        refuse(args, ("seed", "minutes"), "without --recipe nothing is trained")
    else:
        config = sr.recipe(args.recipe, args.seed or 0)
        to_write(sr.BOARD)
        with tempfile.TemporaryDirectory() as folder:
            row = sr.race(config, Path(folder), minutes=args.minutes or 60.0, say=say)
        if os.environ.get("RANK", "0") != "0":
            return  # the first process writes
        sr.enter(row)
        pages.write()
    say(sr.table(sr.read()))


def leaderboard(args) -> int:
    from dlmlab.paths import to_write
    from dlmlab.study import leaderboard as board

    if (args.action == "show") != (args.file is None):
        raise ValueError("show takes no file, verify and enter take the FILE of an entry")
    if args.action == "enter":
        to_write(board.BOARD)
    if args.action != "show":
        verified = board.verify(args.file)
        print(verified)
        if args.action == "verify":
            return int(not verified.won)
        board.enter(verified)
    print(board.table(board.read()))
    return 0


def _check_prune(args) -> None:
    """Refuse what the method of a pruning does not look at, and see `_check_small`."""
    from dlmlab.compress import methods

    method = methods.known(args.method)
    if isinstance(method, methods.Program):
        reasons = {"calibration": "has its own calibration states", "pattern": "removes whole units"}
        for option in reasons.keys() - method.uses:
            refuse(args, [option], f"{args.method} {reasons[option]}")
    elif not method.needs:
        unread = {"calibration", "region", "texts", "split", "seed"} - set(method.uses)
        refuse(args, sorted(unread), f"{args.method} reads no texts")
    _check_small(args)


def _check_small(args) -> None:
    """Refuse a region without noise, a model that is packed already, and a place that cannot be written."""
    from dlmlab import guard
    from dlmlab.network import checkpoint

    if args.calibration in ("clean", "trajectory"):
        refuse(args, ["region"], f"--calibration {args.calibration} adds no noise")
    _check_place(args)
    if args.out.resolve() in [checkpoint.find(name).resolve() for name in (args.model, *checkpoint.shipped())]:
        raise ValueError(f"--out {args.out} is a shipped model or the one to be {args.command}d: give another folder")
    if checkpoint.read_config(checkpoint.find(args.model)).quantization:
        raise ValueError(f"--model {args.model} is quantized already: prune or quantize the model it was made from")
    guard.folder(args.out, "--out", holds=("config.json",))


def _texts(args, model, tokenizer):
    """Draw the calibration texts that the options describe."""
    from dlmlab.compress import calibration, methods

    seed = args.seed or 0
    problems = calibration.calibration_problems(64 if args.texts is None else args.texts, seed=seed)
    mode = args.calibration or ("clean" if model.config.attention == "causal" else "uniform")
    return methods.Texts(tokenizer, problems, mode, args.region or "all", seed)


def _joined(args) -> bool:
    """Join the processes of a launcher, which share the calibration texts; say whether this is the one that writes."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    import torch
    from accelerate import PartialState

    return PartialState(cpu=torch.device(args.device or "cpu").type == "cpu").is_main_process


def _leave() -> None:
    """Take leave of the other processes: one that just ends, with its connections open, may be aborted."""
    torch = sys.modules.get("torch")  # nobody joined who has not imported it
    if torch and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def prune(args) -> None:
    from dlmlab.compress import methods, pruning, storage
    from dlmlab.network.checkpoint import save

    _check_prune(args)
    chief = _joined(args)
    model, tokenizer = _load(args)
    texts = _texts(args, model, tokenizer)
    pattern = args.pattern or "row"
    small = methods.apply(model, args.method, args.sparsity, texts=texts, pattern=pattern, block=args.block)
    if not chief:
        return
    save(small, tokenizer, args.out)
    print(f"{args.method} of {args.model}, calibrated on {len(texts.problems)} problems ({texts.mode})")
    print(f"zeros in the blocks {pruning.sparsity_of(small):.1%} (before {pruning.sparsity_of(model):.1%})")
    print(f"parameters {small.num_parameters():,} (before {model.num_parameters():,})")
    print(f"bytes dense {small.dtype.itemsize * small.num_parameters():,}, packed {storage.stored_bytes(small):,}")
    print(f"written to {args.out}")


def _check_quantize(args) -> dict:
    """Return the values that were given for the method; refuse what it does not look at, and see `_check_small`."""
    from dlmlab.compress.quant import quantize as by_name

    unread = sorted({*QUANTIZER, "calibration", "region", "texts", "seed"} - by_name.reads(args.method))
    refuse(args, unread, f"{args.method} does not look at it")
    if args.sparsity is None:
        refuse(args, ["pattern", "block"], "without --sparsity nothing is pruned")
    given = {name: value for name in QUANTIZER if (value := getattr(args, name)) is not None}
    by_name.options(args.method, **given)  # bits and groups that cannot be
    _check_small(args)
    return given


def quantize(args) -> None:
    from dlmlab.compress import pruning, storage
    from dlmlab.compress.quant import quantize as by_name
    from dlmlab.network.checkpoint import save

    given = _check_quantize(args)
    chief = _joined(args)
    model, tokenizer = _load(args)
    texts, reads = _texts(args, model, tokenizer), by_name.reads(args.method)
    small = by_name.apply(model, args.method, texts=texts, packed=True, **given)
    if not chief:
        return
    save(small, tokenizer, args.out)
    looked = f", calibrated on {len(texts.problems)} problems ({texts.mode})" if "texts" in reads else ", no texts"
    print(f"{args.method} of {args.model}{looked}")
    print(f"bits a weight in the blocks {storage.bits_of(small):.2f}, scales and zero points counted")
    print(f"zeros in the blocks {pruning.sparsity_of(small):.1%} (before {pruning.sparsity_of(model):.1%})")
    print(f"bytes packed {storage.model_bytes(small):,} (before {storage.model_bytes(model):,}), of which")
    print(
        f"  {small.dtype.itemsize * small.num_parameters():,} are of embedding, norms and head, which stay as they are"
    )
    print(f"written to {args.out}")


def optimize(args) -> None:
    """Search, print the front, and write the best: its checkpoint, and the lines that rebuild it."""
    from dlmlab.compress.joint import latency, trials, winner
    from dlmlab.compress.joint.assembly import Assembly, Calibration
    from dlmlab.compress.joint.budget import Budget
    from dlmlab.compress.joint.optimize import BLOCK_OPTIONS, Search, best, describe, front_of, shapes_of
    from dlmlab.compress.joint.validation import Validation
    from dlmlab.measure import hardware
    from dlmlab.network.checkpoint import load, save

    _check_optimize(args)
    budget = Budget(args.max_bytes, args.max_latency, args.max_energy, args.max_forwards)
    seed, say = args.seed or 0, functools.partial(print, flush=True)
    calibration = Calibration(seed=seed)
    assembly = Assembly.of(args.model, calibration)
    shapes, config = shapes_of(assembly, BLOCK_OPTIONS), assembly.dense.config
    study = {"name": args.study, "storage": args.storage, "objectives": 3}
    timed = trials.shared(
        "latency", lambda: latency.measure(config, shapes, machine=hardware.fingerprint()).plain(), **study
    )
    search = Search(assembly, Validation(args.problems, seed=seed), latency.Latency.of(timed), BLOCK_OPTIONS)
    wanted = {"trials_": args.trials, "seed": seed, "name": args.study, "storage": args.storage}
    candidates = search.run(budget, **wanted, say=say)
    say(f"front of {len(candidates)} candidates within the budget, on {args.problems} validation problems:")
    for candidate in front_of(candidates):
        say(describe(candidate))
    chosen = best(candidates)
    notes = {"validation problems": args.problems, "trials": args.trials, "seed": seed, "latency": timed}
    digest = winner.digest(assembly.model(chosen.choice))
    cost = {"wrong": chosen.wrong, **chosen.cost}
    found = winner.Winner(args.model, calibration, chosen.choice, chosen.decoding, digest, cost, notes)
    save(assembly.model(chosen.choice, packed=True), load(args.model).tokenizer, args.out)
    winner.write(found, args.out / "winner.json")
    say(f"chosen: {describe(chosen)}")
    say(f"written to {args.out}; winner.json rebuilds it. The test split was not read: test it once, with `evaluate`")


def _check_optimize(args) -> None:
    """Refuse a model that is packed or writes left to right, and a place that cannot be written."""
    from dlmlab import guard
    from dlmlab.network import checkpoint

    config = checkpoint.read_config(checkpoint.find(args.model))
    if config.quantization or getattr(config, "attention", None) == "causal":
        raise ValueError(f"--model {args.model}: the search takes a float model that writes by uncovering masks")
    if args.out.resolve() in [checkpoint.find(name).resolve() for name in (args.model, *checkpoint.shipped())]:
        raise ValueError(f"--out {args.out} is a shipped model or the one to be compressed: give another folder")
    guard.folder(args.out, "--out", holds=("winner.json",))


def inspect(args) -> int:
    from dlmlab.network import inspect as look

    report = look.look(args.name)
    print(report)
    return int(bool(report.problems))


def manifest(args) -> None:
    from dlmlab.course.manifest import write

    write()


def refresh(args) -> None:
    from dlmlab.course.refresh import refresh as run

    run([Path(p) for p in args.notebooks] or None)


def load(args) -> None:
    from dlmlab.course import kernels as together
    from dlmlab.course import pages
    from dlmlab.paths import checkout, notebooks, to_write

    to_write(together.LOAD)
    chosen = [path for path in notebooks(checkout()) if path.name.startswith(args.notebook)]
    if len(chosen) != 1:
        raise ValueError(f"--notebook {args.notebook}: {len(chosen)} notebooks begin so, one is needed")
    found = together.measure(chosen[0], args.kernels)
    together.keep(found)
    pages.write()
    print(together.table([found]))


def pages(args) -> None:
    from dlmlab.course.pages import write

    write()


def site(args) -> None:
    from dlmlab.course.site import write

    written = write(args.out, args.repository)
    print(f"{len(written)} pages in {args.out}, for jupyter-book")


def release(args) -> None:
    from dlmlab.course.release import write

    written = write(args.out, args.notebook)
    print(f"{len(written)} notebooks in {args.out}: student, solution, nbgrader/source")


def data(args) -> None:
    from dlmlab.task.splits import SPLITS, SplitRecipe
    from dlmlab.task.tasks import write_splits

    asked = {k: v for k, v in {"seed": args.seed, "rule": args.rule}.items() if v is not None}
    if asked and not args.out:
        raise ValueError(f"{' and '.join(asked)} make other splits than those of the course: say where, with --out")
    write_splits(args.out or SPLITS, SplitRecipe(**asked) if args.out else None)


def _sampler_options(parser: argparse.ArgumentParser) -> None:
    """Options without a default: whether one was given decides whether it can be refused."""
    add = parser.add_argument
    add("--score", metavar="NAME", choices=Known("commit", "SCORES"),
        help="how masked positions are ranked: %(choices)s (default probability)")  # fmt: skip
    add("--steps", type=number(int, 1), help="forwards in all (default: one token per forward)")
    add("--threshold", type=number(float, 0, 1), help="commit every token at least this sure")
    add("--factor", type=number(float, 0), help="Fast-dLLM's factor rule")
    add("--entropy-bound", type=number(float, 0), help="EB-Sampler's bound in nats")
    add("--temperature", type=number(float, 0), help="0, the default, takes the most likely token")
    add("--guidance", type=number(float, 0), help="weight of classifier-free guidance")
    add("--block-length", type=number(int, 1),
        help="semi-autoregressive blocks of this length (default: those of the attention, if it has any)")  # fmt: skip
    add("--gen-length", type=number(int, 1), default=40, help="tokens of the answer (default 40)")
    add("--seed", type=number(int, 0, SEEDS), help="of all chance (default 0)")
    _place_options(parser)


def _place_options(parser: argparse.ArgumentParser) -> None:
    """Where the weights of a model go, and as what."""
    add = parser.add_argument
    add("--device", help="cpu (default), cuda, cuda:1, mps")
    add("--device-map", choices=("auto",), help="spread the model over the devices there are (accelerate)")
    add("--dtype", metavar="NAME", choices=("float32", "bfloat16", "float16"), default="float32",
        help="of the weights: %(choices)s (default float32)")  # fmt: skip


def _text_options(parser: argparse.ArgumentParser) -> None:
    """What a compression looks at."""
    add = parser.add_argument
    add("--calibration", type=states, help="clean, t:0.5, uniform, grid, prefix or trajectory")
    regions = Known("calibration", "REGIONS")
    add("--region", metavar="NAME", choices=regions, help="what noise may hide: %(choices)s (default all)")
    add("--texts", type=number(int, 1), help="number of calibration problems (default 64)")
    add("--seed", type=number(int, 0, SEEDS), help="of all chance (default 0)")


def build_parser() -> argparse.ArgumentParser:
    """Describe every command."""
    parser = Parser(prog="python -m dlmlab", description="Efficient diffusion language models, small enough to read.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(function, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(function.__name__, help=help, description=help)
        sub.set_defaults(function=function)
        return sub

    command(doctor, "say what is wrong with this machine, what mends it, and how long each notebook takes here")
    sub = command(train, "train a model; run it again to go on after an interruption")
    sub.add_argument(
        "--config", required=True, type=place, help="a TOML file, for example data/llada-mini/training.toml"
    )
    sub.add_argument("--out", type=place, help="folder of the run's state (default runs/NAME)")
    sub.add_argument("--export", type=place, help="folder for the finished model (default: --out)")
    sub.add_argument("--half", action="store_true", help="export weights in bfloat16, in half of the bytes")
    sub.add_argument("--stop-after", type=number(int, 1), help="stop at this step; a later run goes on")
    sub.add_argument(
        "--fsdp", action="store_true", help="under torchrun: cut weights and optimizer state among the processes"
    )
    sub = command(release, "write student copies, solution copies and nbgrader assignments of the notebooks")
    sub.add_argument("--out", required=True, type=place, help="a new folder")
    sub.add_argument("--notebook", action="append", metavar="NN", help="only those that begin so; may be repeated")
    sub = command(generate, "answer one question")
    sub.add_argument("question", type=some)
    sub.add_argument("--model", default="llada-mini")
    sub.add_argument("--grid", action="store_true", help="show every step")
    _sampler_options(sub)
    sub = command(evaluate, "exact match on a split, with interval and by number of steps")
    sub.add_argument("model", nargs="?", default="llada-mini")
    sub.add_argument(
        "--split", default="test", metavar="NAME", choices=Known("tasks", "SPLIT_SIZES"), help="%(choices)s"
    )
    sub.add_argument("--limit", type=number(int, 1), help="the first so many problems only")
    sub.add_argument("--json", type=place, help="also write the numbers to this file")
    _sampler_options(sub)
    sub = command(prune, "prune a model and write it where load() finds it")
    sub.add_argument("--model", default="llada-mini")
    sub.add_argument("--method", required=True, metavar="NAME", choices=Known("methods", "names"), help="%(choices)s")
    sub.add_argument(
        "--sparsity",
        required=True,
        type=number(float, 0, 1, open=">"),
        help="share of the weights (or units) to remove",
    )
    sub.add_argument("--pattern", help="row (default), layer, or n:m such as 2:4")
    block = "sparsegpt: columns whose mask is chosen together (published: 128)"
    sub.add_argument("--block", type=number(int, 1), help=block)
    _text_options(sub)
    sub.add_argument("--split", choices=("calibration",), help="the others are for measuring")
    _place_options(sub)
    sub.add_argument("--out", required=True, type=place, help="folder of the pruned model")
    sub = command(quantize, "store a model in few bits and write it where load() finds it")
    sub.add_argument("--model", default="llada-mini")
    sub.add_argument("--method", required=True, metavar="NAME", choices=Known("quantize", "names"), help="%(choices)s")
    sub.add_argument("--bits", type=number(int, 1, 16), help="of a code (default 4)")
    sub.add_argument("--group", type=number(int, 1), help="neighbours that share a scale (default: the whole row)")
    sub.add_argument("--symmetric", action="store_true", default=None, help="no zero points")
    sub.add_argument("--range", metavar="NAME", choices=Known("codes", "RANGES"), help="of a grid: %(choices)s")
    sub.add_argument("--act-order", action="store_true", default=None, help="gptq: columns with large inputs first")
    sub.add_argument("--sparsity", type=number(float, 0, 1, open=">"), help="gptq: share pruned in the same pass")
    sub.add_argument("--pattern", help="gptq with --sparsity: row (default), or n:m such as 2:4")
    sub.add_argument("--block", type=number(int, 1), help="gptq with --sparsity: columns whose mask is chosen together")
    _text_options(sub)
    _place_options(sub)
    sub.add_argument("--out", required=True, type=place, help="folder of the quantized model")
    sub = command(optimize, "search what each block should become under a budget, and write the best model")
    sub.add_argument("--model", default="llada-mini")
    positive = number(float, 0, open="<")
    sub.add_argument("--max-bytes", type=positive, help="of the stored model, packed")
    sub.add_argument("--max-latency", type=positive, help="milliseconds a problem, by the table of this machine")
    sub.add_argument("--max-energy", type=positive, help="multiplications times bits a token, of the blocks")
    sub.add_argument("--max-forwards", type=positive, help="a problem, on average")
    sub.add_argument("--trials", type=number(int, 1), default=80, help="models that are tried (default 80)")
    sub.add_argument("--problems", type=number(int, 1, 500), default=64, help="of the validation split (default 64)")
    sub.add_argument("--seed", type=number(int, 0, SEEDS), help="of all chance (default 0)")
    storage = "where the study is kept, to go on later or to share it, such as sqlite:///study.db"
    sub.add_argument("--storage", type=some, help=storage)
    sub.add_argument("--study", type=some, default="optimize", help="its name there (default optimize)")
    sub.add_argument("--out", required=True, type=place, help="folder of the chosen model and its winner.json")
    sub = command(inspect, "say what a checkpoint is and what it needs; reads its config and headers, no weights")
    sub.add_argument("name", type=some, help="a shipped model, a folder, or hub:owner/name")
    sub = command(measure, "run a long experiment and store its table under data/results")
    sub.add_argument("name", nargs="?", metavar="NAME", choices=Known("study", "TABLES"), help="%(choices)s")
    sub.add_argument("--all", action="store_true", help="every table, one after the other")
    sub.add_argument("--live", action="store_true", help="repeat a small part and compare it; nothing is stored")
    sub = command(bench, "measure what costs time, as ratios, and store them in data/bench.json")
    sub.add_argument("--only", nargs="+", metavar="SECTION", choices=Known("bench", "SECTIONS"), help="%(choices)s")
    sub.add_argument("--quick", action="store_true", help="a few problems, three rounds, nothing stored")
    sub.add_argument("--again", action="store_true", help="measure again what is stored already")
    cores = os.cpu_count() or 1
    sub.add_argument("--threads", type=number(int, 1, max(cores, 64)), default=cores)
    sub = command(speedrun, "train a recipe until the goal and enter the leaderboard; without --recipe, show it")
    sub.add_argument("--recipe", metavar="NAME", choices=Known("speedrun", "recipes"), help="%(choices)s")
    sub.add_argument("--seed", type=number(int, 0, SEEDS), help="of the run (default 0)")
    sub.add_argument("--minutes", type=number(float, 0, open="<"), help="of training at most (default 60)")
    sub = command(leaderboard, "show the front to beat, or rebuild, measure and enter a compressed model")
    sub.add_argument("action", nargs="?", default="show", choices=("show", "verify", "enter"), metavar="ACTION",
        help="%(choices)s (default show)")  # fmt: skip
    sub.add_argument("file", nargs="?", type=place, metavar="FILE", help="of an entry: a winner.json with name and by")
    sub = command(refresh, "re-execute notebooks in place, rebuild the ledger, fill the numbers of the pages")
    sub.add_argument("notebooks", nargs="*")
    sub = command(load, "run a notebook in several kernels at once: memory and time, stored in data/load.json")
    sub.add_argument("--kernels", required=True, type=number(int, 1, 1000), help="how many at once")
    sub.add_argument("--notebook", required=True, type=some, metavar="NN", help="the one that begins so")
    command(pages, "fill the numbers and tables that README and teaching/ quote; executes nothing")
    sub = command(site, "write what `make site` builds its pages from")
    sub.add_argument("--out", required=True, type=place, help="folder of the sources")
    sub.add_argument("--repository", metavar="URL", help="https://github.com/OWNER/NAME, for links to Colab and Binder")
    command(manifest, "write data/MANIFEST.json and the model cards")
    sub = command(data, "write the held-out splits of mini-GSM again, or others elsewhere")
    sub.add_argument("--out", type=place, metavar="FOLDER", help="of new splits")
    sub.add_argument("--seed", type=number(int, 0), help="of new splits (default 0)")
    sub.add_argument("--rule", choices=Known("splits", "RULES"),
        help="what must not occur in training: %(choices)s (default core)")  # fmt: skip
    return parser


def complain(of: object) -> None:
    """Print one line on stderr, also when a value in it has several."""
    print(*map(str.strip, str(of).splitlines()), file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Run a command; a mistake of the user, or a file that cannot be read or written, is one line on stderr and exit
    status 2; an interruption is one line and 130."""
    if hasattr(sys.stdout, "reconfigure"):  # a redirected Windows console writes cp1252, which has no box for a mask
        sys.stdout.reconfigure(errors="replace")
    try:
        args = build_parser().parse_args(argv)
    except Mistake as error:
        complain(error)
        return 2
    try:
        status = args.function(args) or 0
        _leave()
        return status
    except (ValueError, OSError) as error:
        complain(f"dlmlab {args.command}: {error}")
        return 2
    except KeyboardInterrupt:
        print(f"dlmlab {args.command}: interrupted; what was written before is kept", file=sys.stderr)
        return 130
