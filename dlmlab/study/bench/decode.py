"""Decoding test problems: the published loop against ours, rule by rule and cache by cache, at equal problems.

The baseline is `dlmlab.literal`: whole sequence, one token a forward, logits everywhere. Time is measured on a few
problems in turn; exact match once, on the whole test split, in batches of 64.
"""

from dlmlab.decode import literal, sampling
from dlmlab.decode.cache import DelayedCache, DualCache, PrefixCache
from dlmlab.decode.commit import EntropyBound, Factor, Fixed, Threshold
from dlmlab.decode.focus import Focus
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.measure.difference import between
from dlmlab.network import cost
from dlmlab.network.checkpoint import load
from dlmlab.study.bench import ROUNDS
from dlmlab.study.bench.spread import ratios, times
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt

PROBLEMS = {1: 16, 16: 32, 64: 64}  # timed, by batch
LITERAL, OURS = "published loop", "ours, same tokens"
METHODS = {
    OURS: Sampler(),
    "fixed, 5 forwards": Sampler(commit=Fixed(5)),
    "threshold 0.9": Sampler(commit=Threshold(0.9)),
    "factor 1": Sampler(commit=Factor(1.0)),
    "entropy bound 0.1": Sampler(commit=EntropyBound(0.1)),
    "threshold, stop at end": Sampler(commit=Threshold(0.9), stop_at_eos=True),
    "threshold, dual cache": Sampler(commit=Threshold(0.9), cache=DualCache()),
    "entropy bound, dual cache": Sampler(commit=EntropyBound(0.1), cache=DualCache()),
    "threshold, blocks of 8": Sampler(commit=Threshold(0.9), block_length=8),
    "the same, prefix cache": Sampler(commit=Threshold(0.9), block_length=8, cache=PrefixCache()),
    "the same, dual cache": Sampler(commit=Threshold(0.9), block_length=8, cache=DualCache()),
    "the same, delayed cache": Sampler(commit=Threshold(0.9), block_length=8, cache=DelayedCache()),
    "the same, FOCUS": Sampler(commit=Threshold(0.9), block_length=8, cache=Focus()),
}


def batches(prompts: list[list[int]], size: int) -> list[list[list[int]]]:
    """Cut prompts into batches, those of like length together."""
    prompts = sorted(prompts, key=len)
    return [prompts[i : i + size] for i in range(0, len(prompts), size)]


def measure(*, quick: bool, say) -> dict:
    """Time all methods at every batch size and judge their answers."""
    model, tokenizer = load("llada-mini")
    test = tasks.load_split("test")
    prompts = [encode_prompt(tokenizer, p.question) for p in test]
    found = {"speed": {}, "same_tokens": {}, "accuracy": {}}
    length = 16 if quick else 40
    for size, n in ({1: 2, 8: 8} if quick else PROBLEMS).items():
        cut = batches(prompts[:n], size)
        functions = {LITERAL: lambda cut=cut: [literal.generate(model, b, gen_length=length) for b in cut]}
        for name, sampler in METHODS.items():
            functions[name] = lambda cut=cut, s=sampler: [
                sampling.sample(model, b, gen_length=length, sampler=s) for b in cut
            ]
        theirs, ours = functions[LITERAL](), functions[OURS]()
        same = sum(int((a == b.ids).all(1).sum()) for a, b in zip(theirs, ours, strict=True))
        found["same_tokens"][str(size)] = [same, sum(map(len, cut))]
        say(f"decode: batch {size}, {sum(map(len, cut))} problems, {same} with identical tokens")
        seconds = cost.interleaved(functions, rounds=3 if quick else ROUNDS, warmup=0)
        found["speed"][str(size)] = ratios(seconds, LITERAL)
    for name, sampler in METHODS.items():
        result = evaluate.accuracy(model, tokenizer, test[:8] if quick else test, sampler=sampler)
        found["accuracy"][name] = {
            "correct": result.correct,
            "nfe": result.mean_nfe,
            "gflop": result.flops / len(result.nfe) / 1e9,
        }
        say(f"decode: {name}: exact match {result.exact_match}")
    return found


def lines(section: dict) -> list[str]:
    """One line a method: how many times as fast as the published loop, exact match, and what was lost."""
    base = section["accuracy"][OURS]["correct"]
    sizes = list(section["speed"])
    found = [f"  identical tokens, {k}: {a} of {b} problems" for k, (a, b) in section["same_tokens"].items()]
    found.append(f"  {'times as fast as the published loop':36}" + "".join(f"{'batch ' + k:>26}" for k in sizes))
    for name, row in section["accuracy"].items():
        quality = f"{evaluate.Proportion.of(row['correct'])}, difference {between(row['correct'], base):+.1%}"
        speed = "".join(f"{times(section['speed'][k][name]):>26}" for k in sizes)
        found.append(f"  {name:36}{speed}   {quality}")
    return found
