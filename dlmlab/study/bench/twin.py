"""The autoregressive twin with its key-value cache against diffusion: where does who win?

The twin runs one short forward a token, diffusion a few long ones. So the answer depends on the batch (short forwards
waste a processor, unless many rows share them) and on the length of the answer (the twin pays per token). Problems of
the test split with the same number of equations have answers of like length.
"""

from dlmlab.decode import autoregressive, sampling
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.measure import evaluate
from dlmlab.network import cost
from dlmlab.network.checkpoint import load
from dlmlab.study.bench import ROUNDS
from dlmlab.study.bench.spread import ratios, times
from dlmlab.task import tasks
from dlmlab.task.layout import encode_prompt

BATCHES = (1, 4, 16, 64)
ANSWERS = (1, 3, 5)  # equations
PROBLEMS = 16  # at least, for each point
SAMPLER = Sampler(commit=Threshold(0.9))


def measure(*, quick: bool, say) -> dict:
    """Time both at every batch and answer length; `speed`: how many times as fast as the twin diffusion is."""
    model, tokenizer = load("llada-mini")
    twin, _ = load("llama-mini")
    test = tasks.load_split("test")
    found = {"speed": {}, "tokens": {}, "accuracy": {}}
    for equations in ANSWERS:
        problems = [p for p in test if p.steps == equations]
        prompts = [encode_prompt(tokenizer, p.question) for p in problems]
        found["tokens"][str(equations)] = 6 * equations + 3  # `a op b = c ;` each, then `#### c` and the end mark
        for size in BATCHES:
            n = min(size if quick else max(size, PROBLEMS), len(prompts))
            cut = [prompts[i : i + size] for i in range(0, n, size)]
            functions = {
                "twin": lambda cut=cut: [autoregressive.sample(twin, b) for b in cut],
                "diffusion": lambda cut=cut: [sampling.sample(model, b, sampler=SAMPLER) for b in cut],
            }
            seconds = cost.interleaved(functions, rounds=3 if quick else ROUNDS)
            speed = ratios(seconds, "twin")["diffusion"]
            found["speed"].setdefault(str(equations), {})[str(size)] = speed
            say(f"twin: {equations} equations, batch {size}: diffusion is {times(speed)} as fast")
    for name, network in {"diffusion": model, "twin": twin}.items():
        sampler = SAMPLER if network is model else None
        share = evaluate.accuracy(network, tokenizer, test[: 8 if quick else 500], sampler=sampler).exact_match
        found["accuracy"][name] = [share.hits, share.n]
    return found


def crossover(by_batch: dict[str, list[float]]) -> str:
    """Say up to which batch diffusion is the faster one, by the medians."""
    faster = [int(size) for size, (median, *_) in by_batch.items() if median > 1]
    if not faster:
        return "never faster"
    return "faster at every batch" if len(faster) == len(by_batch) else f"faster up to batch {max(faster)}"


def lines(section: dict) -> list[str]:
    """One line an answer length: diffusion's speed relative to the twin's, by batch."""
    sizes = [str(b) for b in BATCHES]
    found = [f"  {name:10} exact match {evaluate.Proportion(*counts)}" for name, counts in section["accuracy"].items()]
    found.append(f"  {'diffusion, times as fast as the twin':38}" + "".join(f"{'batch ' + s:>24}" for s in sizes))
    for equations, by_batch in section["speed"].items():
        label = f"answers of {section['tokens'][equations]} tokens"
        found.append(
            f"  {label:38}" + "".join(f"{times(by_batch[s]):>24}" for s in sizes) + f"   {crossover(by_batch)}"
        )
    return found
