"""The same tokens as the published loop, as fast as they can be had: what is left out, and what a compiler adds.

One token per forward, so both loops run the same forwards on the same texts. The packaged loop leaves out what no
commit asks for (`work`: its share of the published loop's FLOPs). `dlmlab.bare` then takes the class away and joins
products of one input; `torch.compile` joins what stands between the matrix products, its minutes are not part of the
ratio. No loop that reads the whole text at every token can be faster than the matrix products of its forwards alone:
`ceiling`, as many times as fast as the published loop, products measured in the same rounds.
"""

import copy

from dlmlab.decode import literal, sampling
from dlmlab.network import cost
from dlmlab.network.bare import Bare
from dlmlab.network.checkpoint import load
from dlmlab.study.bench import ROUNDS
from dlmlab.study.bench.decode import batches
from dlmlab.study.bench.machine import products
from dlmlab.study.bench.spread import ratios, times
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt

LITERAL, OURS, BARE, COMPILED = "published loop", "ours", "ours, without the class", "ours, compiled"
PRODUCTS = "matrix products alone"
PROBLEMS = {1: (8, 40), 16: (16, 40), 64: (64, 16)}  # batch: problems timed, length of the answer


def compiled(model, backend: str = "inductor"):
    """Copy a model and compile the copy for any batch and length; the first forwards take a minute."""
    fast = copy.deepcopy(model)
    fast.compile(dynamic=True, backend=backend)
    return fast


def measure(*, quick: bool, say) -> dict:
    """Time the loops in turn at every batch, and compare all tokens."""
    model, tokenizer = load("llada-mini")
    models = {OURS: model, BARE: Bare(model)} | ({} if quick else {COMPILED: compiled(model)})
    prompts = [encode_prompt(tokenizer, p.question) for p in tasks.load_split("test")]
    found = {"speed": {}, "same_tokens": {}, "work": {}}
    for size, (n, length) in ({1: (2, 8), 8: (8, 8)} if quick else PROBLEMS).items():
        cut = batches(prompts[:n], size)
        functions = {LITERAL: lambda cut=cut, g=length: [literal.generate(model, b, gen_length=g) for b in cut]}
        for name, network in models.items():
            functions[name] = lambda cut=cut, m=network, g=length: [sampling.sample(m, b, gen_length=g) for b in cut]
        theirs, same = functions[LITERAL](), {}
        for name in models:
            ours = functions[name]()
            pairs = zip(theirs, ours, strict=True)
            same[name] = [sum(int((a == b.ids).all(1).sum()) for a, b in pairs), n]
        whole = sum(length * ids.shape[0] * cost.forward_flops(model.config, ids.shape[1]) for ids in theirs)
        found["work"][str(size)] = round(sum(out.trace.flops for out in ours) / whole, 4)
        found["same_tokens"][str(size)] = same
        say(f"exact: batch {size}: identical tokens {same}")
        forwards = [products(model, ids.numel())[0] for ids in theirs]  # of whole texts: what a forward multiplies
        functions[PRODUCTS] = lambda runs=forwards, g=length: [run() for run in runs for _ in range(g)]
        seconds = cost.interleaved(functions, rounds=3 if quick else ROUNDS, warmup=0)
        found["speed"][str(size)] = ratios(seconds, LITERAL)
    return found


def lines(section: dict) -> list[str]:
    """One line a loop: times as fast as the published one, and on how many problems every token is the same."""
    sizes = list(section["speed"])
    found = [f"  {'times as fast as the published loop':36}" + "".join(f"{'batch ' + k:>26}" for k in sizes)]
    for name in section["same_tokens"][sizes[0]]:
        same = ", ".join("{} of {}".format(*section["same_tokens"][k][name]) for k in sizes)
        speed = "".join(f"{times(section['speed'][k][name]):>26}" for k in sizes)
        found.append(f"  {name:36}{speed}   identical: {same}")
    ceiling = "".join(f"{times(section['speed'][k][PRODUCTS]):>26}" for k in sizes)
    found.append(f"  {'ceiling: ' + PRODUCTS:36}{ceiling}")
    work = "".join(f"{section['work'][k]:>26.0%}" for k in sizes)
    return [*found, f"  {'work: FLOPs of the published loop':36}{work}"]
