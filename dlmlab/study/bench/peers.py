"""Peers on the same weights: published loops, ours, blind schedules and the autoregressive twin. Where does who win?

Decisions
* A row is a function from prompts to ids. All rows answer the same problems in turn, round by round, and speed is the
  ratio to the twin with its key-value cache inside a round.
* The twin runs one short forward a token, diffusion a few long ones. So the answer depends on the batch (short forwards
  waste a processor, unless many rows share them) and on the length of the answer (the twin pays per token). Problems
  with the same number of equations have answers of like length.
* A row is faster up to a batch when the lower quartile of its ratio is above 1 there and at every smaller batch.
* Accuracy is that of the whole test split, in batches of 64. A row counts as accurate as the twin while the interval of
  their paired difference includes 0; that shows no difference, it does not show that there is none.
* The published loop is judged and not timed: `exact` and `decode` do that, and it would take half of this section.
* Fast-dLLM's loop stands beside ours with the same rule, cache and blocks: both write the same texts (counted), so
  their ratio is what the loop costs. Blocks of 32 are its default; they leave 8 of the 40 places to a second block.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dlmlab.decode import autoregressive, fastdllm, literal, sampling
from dlmlab.decode.cache import DualCache
from dlmlab.decode.commit import Fixed, Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.decode.trace import cut_at_end
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure.difference import Difference, between
from dlmlab.measure.evaluate import Proportion, digits
from dlmlab.network import cost
from dlmlab.network.checkpoint import load
from dlmlab.study.bench import ROUNDS
from dlmlab.study.bench.decode import batches
from dlmlab.study.bench.spread import ratios, times
from dlmlab.task import tasks
from dlmlab.task.layout import decode_answer, encode_prompt

BATCHES = (1, 4, 16, 64)
ANSWERS = (1, 3, 5)  # equations
PROBLEMS = 16  # at least, for each point
TAU, BLOCKS = 0.9, (8, 32)
LITERAL, TWIN = "published loop", "the twin, with cache"
PEERS = {f"Fast-dLLM, blocks of {size}": f"ours, blocks of {size}" for size in BLOCKS}  # theirs -> ours
SAMPLERS = {
    ours: Sampler(commit=Threshold(TAU), block_length=size, cache=DualCache())
    for ours, size in zip(PEERS.values(), BLOCKS, strict=True)
} | {
    "ours, one block": Sampler(commit=Threshold(TAU)),
    "ours, one block, dual cache": Sampler(commit=Threshold(TAU), cache=DualCache()),
    "blind, blocks of 8, 5 forwards": Sampler(commit=Fixed(5), block_length=8),
    "blind, left to right with stop": Sampler(score="left_to_right", commit=Fixed(6), stop_at_eos=True),
}
Answer = Callable[[list[list[int]]], Tensor]  # prompts -> ids (B, P + G)


def contestants(model, twin, length: int = ANSWER_LENGTH) -> dict[str, Answer]:
    """Name every way to answer prompts with `length` tokens: those of `model`, then the twin."""
    found: dict[str, Answer] = {LITERAL: partial(literal.generate, model, gen_length=length)}
    for name, size in zip(PEERS, BLOCKS, strict=True):
        found[name] = partial(fastdllm.generate, model, gen_length=length, block_length=size, tau=TAU)
    found |= {name: partial(answered, model, sampler, length) for name, sampler in SAMPLERS.items()}
    return found | {TWIN: lambda prompts: autoregressive.sample(twin, prompts, gen_length=length).ids}


def answered(network, sampler: Sampler, length: int, prompts: list[list[int]]) -> Tensor:
    """Answer prompts with a sampler, (B, P + G)."""
    return sampling.sample(network, prompts, gen_length=length, sampler=sampler).ids


@dataclass(frozen=True)
class Written:
    """What a row wrote, `ids` (n, G); means of the `forwards` a problem took part in and of the `tokens` in them."""

    ids: Tensor
    forwards: float
    tokens: float


def write(answer: Answer, network, prompts: list[list[int]], length: int, size: int = 64) -> Written:
    """Answer all prompts in batches of like length, and count what goes through the network."""
    n, read = len(prompts), []
    order, ids = sorted(range(n), key=lambda i: len(prompts[i])), torch.empty(n, length, dtype=torch.long)
    counter = network.register_forward_hook(lambda module, args, out: read.append(args[0].shape))
    try:
        for start in range(0, n, size):
            rows = order[start : start + size]
            ids[rows] = answer([prompts[i] for i in rows])[:, -length:]
    finally:
        counter.remove()
    return Written(ids, sum(B for B, _ in read) / n, sum(B * q for B, q in read) / n)


def measure(*, quick: bool, say) -> dict:
    """Judge every row once, then time all of them at every batch and answer length."""
    (model, tokenizer), (twin, _) = load("llada-mini"), load("llama-mini")
    test, length = tasks.load_split("test"), 16 if quick else ANSWER_LENGTH
    rows = contestants(model, twin, length)
    timed = {name: answer for name, answer in rows.items() if name != LITERAL}
    problems, written, accuracy = test[:8] if quick else test, {}, {}
    for name, answer in rows.items():
        prompts = [encode_prompt(tokenizer, p.question) for p in problems]
        written[name] = out = write(answer, twin if name == TWIN else model, prompts, length)
        texts = [decode_answer(tokenizer, cut_at_end(ids, tokenizer.eos_token_id)) for ids in out.ids.tolist()]
        correct = digits(tasks.verify(p.question, text).correct for p, text in zip(problems, texts, strict=True))
        accuracy[name] = {"correct": correct, "forwards": round(out.forwards, 3), "tokens": round(out.tokens, 1)}
        say(f"peers: {name}: exact match {Proportion.of(correct)}")
    found = {"accuracy": accuracy, "same_tokens": {}, "tokens": {}, "speed": {}, "against_peer": {}}
    for theirs, ours in PEERS.items():
        same = (written[theirs].ids == written[ours].ids).all(1)
        found["same_tokens"][theirs] = [int(same.sum()), len(same)]
    for equations in ANSWERS[:1] if quick else ANSWERS:
        prompts = [encode_prompt(tokenizer, p.question) for p in test if p.steps == equations]
        found["tokens"][str(equations)] = 6 * equations + 3  # `a op b = c ;` each, then `#### c` and the end mark
        for size in BATCHES[:2] if quick else BATCHES:
            cut = batches(prompts[: size if quick else max(size, PROBLEMS)], size)
            seconds = race(timed, cut, rounds=3 if quick else ROUNDS)
            add(found["speed"], ratios(seconds, TWIN), equations, size)
            add(found["against_peer"], {a: ratios(seconds, a)[b] for a, b in PEERS.items()}, equations, size)
            say(f"peers: {equations} equations, batch {size}: timed")
    return found


def race(rows: dict[str, Answer], cut: list[list[list[int]]], *, rounds: int) -> dict[str, list[float]]:
    """Let every row answer the same batches in turn: the seconds of each, one a round."""
    functions = {name: lambda answer=answer: [answer(batch) for batch in cut] for name, answer in rows.items()}
    return cost.interleaved(functions, rounds=rounds, warmup=0)


def add(table: dict, by_row: dict[str, list[float]], equations: int, size: int) -> None:
    """Put one point into table[row][equations][batch]."""
    for name, speed in by_row.items():
        table.setdefault(name, {}).setdefault(str(equations), {})[str(size)] = speed


def reach(by_batch: dict[str, list[float]]) -> int:
    """Give the largest batch up to which the lower quartile of every ratio is above 1; 0 where there is none.

    >>> reach({"1": [2.0, 1.9, 2.1], "4": [1.1, 0.9, 1.2], "16": [1.5, 1.4, 1.6]})
    1
    """
    found = 0
    for size in sorted(by_batch, key=int):
        if by_batch[size][1] <= 1:
            break
        found = int(size)
    return found


def up_to(batch: int, last: int) -> str:
    """Say up to which batch something is faster, of batches measured up to `last`."""
    if not batch:
        return "not faster at batch 1"
    return "faster at every batch" if batch == last else f"faster up to batch {batch}"


def best(speed: dict[str, dict[str, dict]], names: Iterable[str], equations: str) -> str:
    """Say up to which batch some row of `names` is faster than the twin, and which is fastest there, for one length."""
    by_row = {name: reach(speed[name][equations]) for name in names}
    if not any(by_row.values()):
        return "no row is faster" if by_row else "no row"
    most = max(by_row.values())
    medians = {name: speed[name][equations][str(most)][0] for name, batch in by_row.items() if batch == most}
    return f"{up_to(most, max(map(int, speed[TWIN][equations])))}; fastest there: {max(medians, key=medians.get)}"


def differences(accuracy: dict[str, dict], base: str) -> dict[str, Difference]:
    """Compare every row with the row `base` on the same problems."""
    return {name: between(row["correct"], accuracy[base]["correct"]) for name, row in accuracy.items() if name != base}


def lines(section: dict) -> list[str]:
    """Lay out what every row keeps, our loop against its peer, every row against the twin, and the crossovers."""
    accuracy, speed, tokens = section["accuracy"], section["speed"], section["tokens"]
    to_twin = differences(accuracy, TWIN)
    timed = [name for name in to_twin if name in speed]
    sizes = list(speed[TWIN][next(iter(tokens))])
    found = _quality(section, to_twin)
    header = "".join(f"{'batch ' + size:>24}" for size in sizes)
    found.append(f"  {'times as fast as Fast-dLLM':36}{header}")
    for theirs, by_length in section["against_peer"].items():
        for k, by_batch in by_length.items():
            found.append(f"  {f'{PEERS[theirs]}; {tokens[k]} tokens':36}{_cells(by_batch)}")
    for k, count in tokens.items():
        found.append(f"  {f'times as fast as the twin, {count} tokens':36}{header}")
        for name in timed:
            by_batch = speed[name][k]
            found.append(f"  {name:36}{_cells(by_batch)}   {up_to(reach(by_batch), int(sizes[-1]))}")
    alike = [name for name in timed if to_twin[name].low <= 0 <= to_twin[name].high]
    for k, count in tokens.items():
        found.append(f"  answers of {count:2} tokens, at any accuracy: {best(speed, timed, k)}")
        found.append(f"  answers of {count:2} tokens, as accurate as the twin: {best(speed, alike, k)}")
    return found


def _quality(section: dict, to_twin: dict[str, Difference]) -> list[str]:
    """One line a row: forwards and tokens a problem, exact match, and its differences to two rows."""
    accuracy = section["accuracy"]
    n, to_one = len(accuracy[TWIN]["correct"]), differences(accuracy, LITERAL)
    heads = f"{'forwards':>10}{'tokens':>8}   {'exact match':24}{'to one a forward':24}to the twin"
    found = [f"  {f'{n} problems, batches of 64':36}{heads}"]
    for name, row in accuracy.items():
        other = f"{to_one[name]:+.1%}" if name in to_one else ""
        twin = f"{to_twin[name]:+.1%}, {to_twin[name].word}" if name in to_twin else ""
        share = str(Proportion.of(row["correct"]))
        found.append(f"  {name:36}{row['forwards']:10.1f}{row['tokens']:8.0f}   {share:24}{other:24}{twin}".rstrip())
    for theirs, (same, n) in section["same_tokens"].items():
        found.append(f"  {theirs}: {same} of {n} answers are those of {PEERS[theirs]}")
    return found


def _cells(by_batch: dict[str, list[float]]) -> str:
    return "".join(f"{times(values):>24}" for values in by_batch.values())
