"""How far a cache is from the truth: drift of keys and values, and agreement of the texts.

A cache that keeps a key for some forwards assumes that the key hardly moves. `drift` replays a run and measures the
movement by layer, by age and by kind of token; `token_agreement` compares what was written in the end.

Source: the measurement follows dKV-Cache, arXiv 2505.15781.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab import limits
from dlmlab.decode.trace import Sample
from dlmlab.network.kv import KV
from dlmlab.network.model import LLaDAModelLM

KINDS = ("prompt", "committed before", "committed meanwhile", "still masked")


def kinds(early: Tensor, late: Tensor, prompt: Tensor, mask_id: int) -> dict[str, Tensor]:
    """Sort the positions of two states of a run into four kinds, each (..., L) bool.

    Shapes: early, late (..., L) ids; prompt (L,) bool, real prompt tokens.
    """
    was, now = early == mask_id, late == mask_id
    prompt = prompt.expand_as(was)
    return dict(zip(KINDS, (prompt & ~was, ~prompt & ~was, was & ~now, was & now), strict=True))


def moved(x: Tensor, age: int) -> Tensor:
    """Measure how far vectors have turned `age` states later: 1 - cosine of x[s, l] and x[s + age, l].

    Shapes: x (S, L, D), one vector a state and position, age 0..S -> (S - age, L). 0 is "as it was", 1 "at a right
    angle".
    """
    return 1 - F.cosine_similarity(x[: len(x) - age], x[age:], dim=-1)  # x[:-0] would be empty


@torch.inference_mode()
def drift(model: LLaDAModelLM, out: Sample, ages: Sequence[int] = (1,), rows: Sequence[int] = (0,)) -> list[dict]:
    """Measure 1 - cosine between the keys (and values) of a position now and `age` forwards later.

    One dictionary for each layer, age and kind of token: `layer`, `age`, `kind`, `key`, `value` (means), `n`
    (positions averaged). Padding is left out. Raises `ValueError` for an age below 1.
    """
    if not ages:
        raise ValueError(f"ages={ages} holds no age to measure")
    for age in ages:
        limits.whole("age", age, 1)
    mask_id, sums = model.config.mask_token_id, {}
    for row in rows:
        states = torch.stack(out.trace.states(row))  # (S, L)
        pad = int((states[0] != out.trace.eos_id).int().argmax())  # columns of padding on the left
        states = states[:, pad:]
        prompt = torch.arange(states.shape[1]) < out.prompt_length - pad
        kv = KV()
        model(states.to(model.device), kv=kv, logits_to_keep=slice(0, 1))
        for layer, pair in enumerate(kv.layers):
            pair = [x.transpose(1, 2).flatten(2).cpu() for x in pair]  # (S, L, H_kv D/H) each
            for age in ages:
                distance = [moved(x, age) for x in pair]  # (S - age, L) each
                for kind, where in kinds(states[:-age], states[age:], prompt, mask_id).items():
                    total = sums.setdefault((layer, age, kind), torch.zeros(3, dtype=torch.float64))
                    total += torch.stack([d[where].double().sum() for d in distance] + [where.sum().double()])
    return [
        {"layer": layer, "age": age, "kind": kind, "key": float(k / n), "value": float(v / n), "n": int(n)}
        for (layer, age, kind), (k, v, n) in sums.items()
        if n > 0
    ]


def token_agreement(a: Sample, b: Sample) -> float:
    """Share of answer tokens that two runs of the same prompts have in common, position by position.

    An answer that is longer than the other one disagrees in the rest. Raises `ValueError` for different batches.
    """
    if len(a.answers) != len(b.answers):
        raise ValueError(f"need runs of the same prompts, got {len(a.answers)} and {len(b.answers)} answers")
    same = sum(x == y for one, two in zip(a.answers, b.answers, strict=True) for x, y in zip(one, two, strict=False))
    return same / max(sum(max(len(one), len(two)) for one, two in zip(a.answers, b.answers, strict=True)), 1)
