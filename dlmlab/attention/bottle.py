"""An attention sink in a bottle: a language and a one-layer model in which one grows within seconds.

Decisions
* The language is Bigram-Backcopy: a Markov chain over SYMBOLS symbols in which some are triggers; after a trigger comes
  the symbol before it. Only at triggers has attention anything to do, everything else is a table of pairs.
* One layer with one head of the very class that LLaDA-mini uses; `causal` or `full` is the whole difference between
  the two models. The feed-forward layer is one unit wide, as good as none: attention has to do the work.
* A start mark stands in front: the place where a head may look when it has nothing to do.

Source: Guo et al., Active-Dormant Attention Heads, arXiv 2410.13835, section 2 (their chain is estimated from text,
ours is drawn from a Dirichlet distribution).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.noise import forward_process, low_discrepancy_times

SYMBOLS, TRIGGERS, RATE = 64, 3, 0.03  # the first TRIGGERS symbols are triggers, each drawn at this rate
START, MASK = SYMBOLS, SYMBOLS + 1  # ids after those of the symbols


@dataclass(frozen=True)
class Language:
    """A chain: `next` (SYMBOLS, SYMBOLS), row a = probabilities of the symbol after a, unless a is a trigger."""

    next: Tensor

    @classmethod
    def draw(cls, *, concentration: float = 1.0, generator: torch.Generator) -> "Language":
        """Draw the chain: every row is Dirichlet over ordinary symbols, mixed with the triggers."""
        ordinary = SYMBOLS - TRIGGERS
        gamma = torch._standard_gamma(torch.full((SYMBOLS, ordinary), concentration), generator=generator)
        rows = gamma / gamma.sum(1, keepdim=True) * (1 - TRIGGERS * RATE)
        return cls(torch.cat([torch.full((SYMBOLS, TRIGGERS), RATE), rows], 1))

    def sample(self, B: int, *, length: int = 64, generator: torch.Generator) -> Tensor:
        """Draw B texts of START and `length` - 1 symbols, (B, length)."""
        x = torch.full((B, length), START)
        x[:, 1] = torch.randint(TRIGGERS, SYMBOLS, (B,), generator=generator)
        for i in range(2, length):
            drawn = torch.multinomial(self.next[x[:, i - 1]], 1, generator=generator)[:, 0]
            x[:, i] = torch.where(x[:, i - 1] < TRIGGERS, x[:, i - 2], drawn)
        return x


def build(attention: str, *, seed: int, width: int = 64) -> LLaDAModelLM:
    """Make the untrained model: one layer, one head, `causal` or `full` attention."""
    config = LLaDAConfig(
        d_model=width,
        n_heads=1,
        n_layers=1,
        mlp_hidden_size=1,
        vocab_size=SYMBOLS + 2,
        max_sequence_length=64,
        attention=attention,
        mask_token_id=MASK,
        bos_token_id=START,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LLaDAModelLM(config)


def loss(model: LLaDAModelLM, x0: Tensor, keys: Tensor | None = None, *, generator: torch.Generator, **how) -> Tensor:
    """Mean cross-entropy over next symbols (`causal`) or over masked symbols at random times (`full`), in nats.

    `keys` (B, L) bool hides keys where it is False, as the model's attention mask does. `how` goes to it.
    """
    if model.config.attention == "causal":
        logits = model(x0[:, :-1], None if keys is None else keys[:, :-1], **how).logits
        return F.cross_entropy(logits.flatten(0, 1), x0[:, 1:].flatten())
    t = low_discrepancy_times(len(x0), generator=generator)
    xt, masked = forward_process(x0, t, MASK, maskable=x0 != START, generator=generator)
    return F.cross_entropy(model(xt, keys, **how).logits[masked], x0[masked])


def train(
    attention: str, language: Language, *, seed: int, steps: int = 600, every: int = 50, rows: int = 32
) -> tuple[LLaDAModelLM, list[dict]]:
    """Train with AdamW (lr 3e-3, no weight decay) and return the model and its curve: `step`, `loss`, `start`.

    `start` is the mean attention that the start mark gets from ordinary symbols, of 64 unmasked texts.
    """
    generator = torch.Generator().manual_seed(seed)
    model, curve = build(attention, seed=seed), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    held_out = language.sample(64, generator=torch.Generator().manual_seed(10_000 + seed))
    for step in range(1, steps + 1):
        texts = language.sample(rows, generator=generator)
        value = loss(model, texts, generator=generator, kernel="explicit")
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % every == 0 or step == 1:
            to_start = attention_to_start(model, held_out)["ordinary"]
            curve.append({"step": step, "loss": float(value.detach()), "start": to_start})
    return model.eval(), curve


@torch.inference_mode()
def attention_to_start(model: LLaDAModelLM, ids: Tensor) -> dict[str, float]:
    """Average the attention the start mark gets, by what stands at the query: ordinary symbol, trigger, mask.

    Leaves out the first 8 positions: a causal query there has few keys to choose from. A kind that does not occur has
    NaN.
    """
    maps = model(ids, output_attentions=True).attentions[0][:, 0, 8:, 0]  # (B, L - 8)
    at = ids[:, 8:]
    kinds = {"ordinary": (at >= TRIGGERS) & (at < SYMBOLS), "trigger": at < TRIGGERS, "mask": at == MASK}
    return {kind: float(maps[here].mean()) for kind, here in kinds.items()}


@torch.inference_mode()
def copy_accuracy(model: LLaDAModelLM, x0: Tensor, keys: Tensor | None = None) -> float:
    """How often the symbol after a trigger is predicted right; a diffusion model sees that symbol alone masked.

    `keys` (B, L) bool hides keys where it is False.
    """
    rows, at = ((x0[:, 2:-1] < TRIGGERS).nonzero() + torch.tensor([0, 3])).T  # the position after the trigger
    target, keys = x0[rows, at], None if keys is None else keys[rows]
    if model.config.attention == "causal":
        logits = model(x0[rows], keys).logits[torch.arange(len(rows)), at - 1]
    else:
        xt = x0[rows].clone()
        xt[torch.arange(len(rows)), at] = MASK
        logits = model(xt, keys).logits[torch.arange(len(rows)), at]
    return float((logits[:, :SYMBOLS].argmax(-1) == target).float().mean())
