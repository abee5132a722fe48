"""Notebook 02: what a small student of known texts needs: the weight 1 / t, and a start mark; three seeds each.

The texts are the equations of the notebook, with their probabilities, so the floor is known and the bound is
enumerated. What a weight does to the gradient is measured at the same weights of the network, on the same masks.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.decode.sampling import Sampler, sample
from dlmlab.measure.difference import Difference, of_rows
from dlmlab.measure.evaluate import digits
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.model import LLaDAConfig, LLaDAModelLM
from dlmlab.objective.noise import bound_by_enumeration, diffusion_loss, forward_process, low_discrepancy_times
from dlmlab.objective.training import TrainConfig, build_optimizers

N = 6  # numbers 0 to 5
PLUS, MINUS, EQUAL, BLANK, START = range(N, N + 5)
STEPS, BATCH, RATE = 800, 64, 4e-3
LOOKS = (0, 50, 200, 400, 800)  # steps after which the bound is enumerated
PROBED = (50, 400)  # steps after which the noise of the gradient is measured
SAMPLES, BATCHES, SEEDS = 200, 32, (0, 1, 2)
VARIANTS = ("1/t weight", "no weight", "1/t weight, no start mark")

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def equations() -> tuple[Tensor, Tensor]:
    """List the equations a + b = c and a - b = c with their probabilities: (42, 5) ids, (42,) float64."""
    pairs = list(itertools.product(range(N), range(N)))
    texts = [(a, PLUS, b, EQUAL, a + b) for a, b in pairs if a + b < N]
    texts += [(a, MINUS, b, EQUAL, a - b) for a, b in pairs if b <= a]
    chance = torch.tensor([1 + a + 0.5 * b + 0.1 * op for a, op, b, _, _ in texts], dtype=torch.float64)
    return torch.tensor(texts), chance / chance.sum()


def holds(text: Sequence[int]) -> bool:
    """Say whether five ids are an equation that is right, without looking at the list."""
    a, op, b, equal, c = text
    numbers = max(a, b, c) < N and equal == EQUAL
    return numbers and ((op == PLUS and a + b == c) or (op == MINUS and a - b == c))


def unweighted(logits: Tensor, x0: Tensor, masked: Tensor, t: Tensor) -> Tensor:
    """Average -log p over the masked tokens of a batch, whatever their times: plain cross-entropy."""
    return F.cross_entropy(logits[masked], x0[masked])


class Student:
    """A small network, its texts, and the stream of its masks."""

    def __init__(self, variant: str, seed: int):
        texts, self.chance = equations()
        start = torch.full((len(texts), 0 if "no start" in variant else 1), START)
        self.texts, self.loss = torch.cat([start, texts], 1), unweighted if variant == "no weight" else diffusion_loss
        config = LLaDAConfig(
            d_model=64,
            n_heads=4,
            n_layers=2,
            mlp_hidden_size=256,
            vocab_size=START + 1,
            max_sequence_length=8,
            mask_token_id=BLANK,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = LLaDAModelLM(config)
        self.optimizers = build_optimizers(self.model, TrainConfig(name="equations", lr=RATE, lr_rest=RATE))
        self.draw = torch.Generator().manual_seed(seed)

    def backward(self, loss: Loss, draw: torch.Generator) -> None:
        """Add the gradient of one batch."""
        x = self.texts[torch.multinomial(self.chance, BATCH, replacement=True, generator=draw)]
        t = low_discrepancy_times(BATCH, generator=draw)
        xt, masked = forward_process(x, t, BLANK, maskable=x != START, generator=draw)
        loss(self.model(xt, kernel="explicit").logits, x, masked, t).backward()

    def step(self, step: int) -> None:
        """Follow the gradient of one batch."""
        self.backward(self.loss, self.draw)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = RATE * min((step + 1) / 50, 1 - step / STEPS)
            optimizer.step()
            optimizer.zero_grad()

    def bound(self) -> float:
        """Mean bound in nats a text, over every mask of every text."""
        bounds = bound_by_enumeration(self.model.eval(), self.texts, self.texts != START)
        self.model.train()
        return float((self.chance * bounds).sum())

    def samples(self, seed: int = 1) -> list[list[int]]:
        """Write texts one token per forward in random order, without their start mark."""
        frame = [START] * (self.texts.shape[1] - 5) + [BLANK] * 5
        generator, sampler = torch.Generator().manual_seed(seed), Sampler("random", temperature=1.0)
        out = sample(self.model.eval(), [frame] * SAMPLES, gen_length=0, sampler=sampler, generator=generator)
        self.model.train()
        return [row[-5:] for row in out.ids.tolist()]

    def noise(self, loss: Loss, seed: int) -> float:
        """Noise of the gradient of one batch over its signal: root of the summed variance, over the length of the
        mean; what the mean itself owes to noise is taken off."""
        draw, found = torch.Generator().manual_seed(seed), []
        for _ in range(BATCHES):
            self.backward(loss, draw)
            found.append(torch.cat([p.grad.flatten() for p in self.model.parameters()]))
            self.model.zero_grad()
        g = torch.stack(found)  # (batches, parameters)
        variance = g.var(0).sum()
        signal = g.mean(0).square().sum() - variance / BATCHES
        return float((variance / signal.clamp(min=1e-12)).sqrt())


def run(variant: str, seed: int, size: int | None = None) -> dict:
    """Train one student; `size`: only so many steps, of the same schedule.

    `history`: the bound at LOOKS; `right`: one digit a sample at the end; `noise` and `noise_plain`: of the gradient
    with and without the weight at PROBED, at these weights of the network.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small only wait for a second thread
    try:
        return _train(Student(variant, seed), seed, size)
    finally:
        torch.set_num_threads(threads)


def _train(student: Student, seed: int, size: int | None) -> dict:
    history, noise, plain = [], [], []
    for step in range((size or STEPS) + 1):
        if step in LOOKS:
            history.append(round(student.bound(), 5))
        if step in PROBED and size is None:
            noise.append(round(student.noise(diffusion_loss, 100 + seed), 4))
            plain.append(round(student.noise(unweighted, 100 + seed), 4))
        if step < (size or STEPS):
            student.step(step)
    found = {"history": history}
    if size is None:
        found |= {"right": digits(map(holds, student.samples())), "noise": noise, "noise_plain": plain}
    return found


@cache
def entropy() -> float:
    """Mean -log p of the equations in nats: the floor of every bound."""
    _, chance = equations()
    return float(-(chance * chance.log()).sum())


def one_guess_for_all() -> float:
    """Nats a text that the first guess costs more when it must be the same at every place, as it must in a row of
    nothing but masks: the entropy of the mean of the places less the mean of their entropies."""
    texts, chance = equations()
    places = torch.stack([torch.bincount(column, chance, minlength=BLANK) for column in texts.T])  # (5, V)
    return float(_entropy(places.mean(0)) - _entropy(places).mean())


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-1)


def noisier(rows: Sequence[dict], at: int) -> Difference:
    """How much noisier the gradient is with the weight than without, as a share, over the seeds of one variant.

    `at`: a step of PROBED.
    """
    i, mine = PROBED.index(at), select(rows, variant=VARIANTS[0])
    ratios = tuple(row["noise"][i] / row["noise_plain"][i] - 1 for row in mine)
    mean = sum(ratios) / len(ratios)
    return Difference(mean, min(ratios), max(ratios), ratios)


def headlines(rows: list[dict]) -> dict[str, float | str]:
    """Give bound and share of right samples by variant, means over seeds; differences to the first variant."""
    found: dict[str, float | str] = {"entropy": entropy(), "one guess for all": one_guess_for_all()}
    for variant in VARIANTS:
        mine = select(rows, variant=variant)
        right = sum(row["right"].count("1") / len(row["right"]) for row in mine) / len(mine)
        found |= {f"{variant}, bound": sum(row["history"][-1] for row in mine) / len(mine), f"{variant}, right": right}
        if variant != VARIANTS[0]:
            d = of_rows(rows, {"variant": variant}, {"variant": VARIANTS[0]}, column="right").times(100)
            found |= {f"{variant}, lost": d.mean, f"{variant}, low": d.low, f"{variant}, high": d.high}
            found |= {
                f"{variant}, word": d.word,
                f"{variant}, above": found[f"{variant}, bound"] - found[f"{VARIANTS[0]}, bound"],
            }
    for at in PROBED:
        d = noisier(rows, at).times(100)
        found |= {f"noise {at}": d.mean, f"noise {at}, low": d.low, f"noise {at}, high": d.high}
        found[f"noise {at}, word"] = d.word
    return found


TABLE = Table(
    "02_student",
    lambda: [{"variant": variant, "seed": seed} for seed in SEEDS for variant in VARIANTS],
    run,
    live=[{"variant": variant, "seed": 0} for variant in VARIANTS],
    size=50,
    tolerance={"history": (0.05, 0.05)},
    headlines=headlines,
)
