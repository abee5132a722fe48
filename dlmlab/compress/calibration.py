"""Calibration: which texts a compression method looks at, and how much each token counts.

Decisions
* A calibration set is a list of *states* of the model's input. Clean text is one choice, noised text at some level
  another, the states of real denoising runs a third; everything after this choice is the same code.
* Any texts will do (`token_set`, `text_set`). Problems come from the calibration split only (`calibration_set`);
  membership is checked by the hash of each problem.
* Texts stand on the left, padding on the right is hidden by the attention mask and never counted.
* A weight for each token makes Wanda, noised Wanda, the sink-aware criterion and every control of it: activations are
  multiplied by the weight before they are summed (`activations`).

Sources: Sink-Aware Pruning, arXiv 2602.17664 and its released code (ten noise levels, weight 1 - phi); Quant-dLLM,
arXiv 2510.03274 (prefix-visible calibration).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dlmlab.attention import sinks
from dlmlab.decode import sampling
from dlmlab.decode.commit import Threshold
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.noise import forward_process, low_discrepancy_times
from dlmlab.task.layout import ANSWER_LENGTH, encode_prompt, encode_rows
from dlmlab.task.splits import split_of
from dlmlab.task.tasks import Problem, load_split

GRID = tuple(k / 10 for k in range(1, 11))  # the ten levels of arXiv 2602.17664
PREFIX = 0.25  # share of the text that stays visible in prefix-visible calibration
MODES = ("clean", "t:0.5", "uniform", "grid", "prefix")
REGIONS = ("all", "answer")


@dataclass(frozen=True)
class CalibrationSet:
    """States of the input: `ids` (N, L), which tokens are `real` (N, L) bool, the noise level `t` (N,) and the text
    (N,) each state belongs to; `mask_id` to find what is hidden."""

    ids: Tensor
    real: Tensor
    t: Tensor
    text: Tensor
    mask_id: int

    @property
    def masked(self) -> Tensor:
        return (self.ids == self.mask_id) & self.real

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Tensor) -> "CalibrationSet":
        """Keep some states."""
        return CalibrationSet(self.ids[index], self.real[index], self.t[index], self.text[index], self.mask_id)


# ------------------------------------------------------------------------------------------------ texts and states


def calibration_problems(n: int = 64, *, seed: int = 0, split: str = "calibration") -> list[Problem]:
    """Draw n problems of the calibration split without replacement.

    Raises `ValueError` for another split (what is tuned on the test split cannot be tested on it) or too large an n.
    """
    if split != "calibration":
        raise ValueError(f"calibration on split {split!r}: only 'calibration' is allowed, the others are for measuring")
    problems = load_split(split)
    if not 0 < n <= len(problems):
        raise ValueError(f"n={n} problems: the calibration split holds 1..{len(problems)}")
    order = torch.randperm(len(problems), generator=torch.Generator().manual_seed(seed))
    return [problems[i] for i in order[:n].tolist()]


def calibration_set(
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    mode: str = "uniform",
    *,
    region: str = "all",
    generator: torch.Generator | None = None,
) -> CalibrationSet:
    """Make the states of a set of problems, `mode` as in `token_set`.

    `region`: what may be masked, `all` tokens or the `answer`. Raises `ValueError` for a problem outside the
    calibration split, an unknown region, and as `token_set`.
    """
    outside = [p for p in problems if split_of(p.skeleton) != "calibration"]
    if outside or not problems:
        where = split_of(outside[0].skeleton) if outside else "nothing"
        raise ValueError(f"calibration problems must be of the calibration split, got one of {where!r}")
    if region not in REGIONS:
        raise ValueError(f"region={region!r} is unknown; known: {', '.join(REGIONS)}")
    rows = encode_rows(tokenizer, problems, side="right", answer_length=None)
    maskable, mask_id = rows.valid if region == "all" else rows.answer, tokenizer.mask_token_id
    return token_set(rows.x0, mode, mask_id=mask_id, real=rows.valid, maskable=maskable, generator=generator)


def text_set(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], mode: str = "uniform", *, generator=None
) -> CalibrationSet:
    """Make the states of any texts. Raises `ValueError` for an empty text, and as `token_set`."""
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    if not rows or not all(rows):
        raise ValueError(f"{len(rows)} texts, of which {sum(not row for row in rows)} hold no token: nothing to see")
    L = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.eos_token_id] * (L - len(row)) for row in rows])
    real = torch.arange(L) < torch.tensor([len(row) for row in rows])[:, None]
    return token_set(ids, mode, mask_id=tokenizer.mask_token_id, real=real, generator=generator)


def token_set(
    ids: Tensor,
    mode: str = "uniform",
    *,
    mask_id: int,
    real: Tensor | None = None,
    maskable: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> CalibrationSet:
    """Make the states of texts that are token ids (N, L), padded on the right where they are not `real` (N, L).

    `mode`: `clean`; `t:0.5` (or another fixed level); `uniform`, one level a text, spread evenly over (0, 1]; `grid`,
    ten states a text at levels .1 to 1; `prefix`, the first quarter visible and the rest noised at a uniform level.
    `maskable` (N, L): what may be masked, None for all that is real. Raises `ValueError` for other shapes, padding on
    the left or between, an unknown mode, a missing generator.
    """
    real = torch.ones_like(ids, dtype=torch.bool) if real is None else real
    maskable = real if maskable is None else maskable & real
    if ids.ndim != 2 or not ids.numel() or real.shape != ids.shape or maskable.shape != ids.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (ids, real, maskable))
        raise ValueError(f"ids, real and maskable must be of one shape (N, L), not empty, got {shapes}")
    if bool((real[:, 1:] & ~real[:, :-1]).any()) or not bool(real[:, 0].all()):
        raise ValueError("texts stand on the left: a position that is not real comes before one that is")
    text = torch.arange(len(ids))
    if mode == "clean":
        return CalibrationSet(ids, real, torch.zeros(len(ids)), text, mask_id)
    if generator is None:
        raise ValueError(f"mode {mode!r} is random: it needs generator=torch.Generator().manual_seed(...)")
    t = _levels(mode, len(ids), generator)  # (levels, N)
    text = text.repeat(len(t))
    maskable = maskable[text]
    if mode == "prefix":
        place = maskable.cumsum(1)
        maskable = maskable & (place > PREFIX * place[:, -1:])
    xt, _ = forward_process(ids[text], t.flatten(), mask_id, maskable=maskable, generator=generator)
    return CalibrationSet(xt, real[text], t.flatten(), text, mask_id)


def _levels(mode: str, n: int, generator: torch.Generator) -> Tensor:
    if mode in ("uniform", "prefix"):
        return low_discrepancy_times(n, generator=generator)[None]
    if mode == "grid":
        return torch.tensor(GRID)[:, None].expand(-1, n)
    kind, _, level = mode.partition(":")
    try:
        fixed = float(level) if kind == "t" else None
    except ValueError:
        fixed = None
    if fixed is None or not 0 < fixed <= 1:
        raise ValueError(f"mode {mode!r} is unknown; known: {', '.join(MODES)} with 0 < t <= 1; trajectory_set(...)")
    return torch.full((1, n), fixed)


def trajectory_set(
    model: LLaDAModelLM,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    tau: float = 0.9,
    states: int = 4,
) -> CalibrationSet:
    """Collect what the model really reads: up to `states` inputs of each denoising run, evenly spread over the run.

    The runs use a threshold `tau`. `t` is the share of the answer that is masked. Raises like `calibration_set`.
    """
    clean = calibration_set(tokenizer, problems, "clean")
    prompts = [encode_prompt(tokenizer, p.question) for p in problems]
    out = sampling.sample(model, prompts, sampler=sampling.Sampler(commit=Threshold(tau)))
    found, text = [], []
    for i, prompt in enumerate(prompts):
        seen = out.trace.states(i)[:-1]  # the last state is never read
        pick = torch.linspace(0, len(seen) - 1, min(states, len(seen))).round().long().tolist()
        found += [seen[k][out.prompt_length - len(prompt) :] for k in pick]
        text += [i] * len(pick)
    index = torch.tensor(text)
    ids = clean.ids[index].clone()
    for row, state in zip(ids, found, strict=True):
        row[: len(state)] = state
    t = (ids == clean.mask_id).sum(1) / ANSWER_LENGTH
    return CalibrationSet(ids, clean.real[index], t, index, clean.mask_id)


# ------------------------------------------------------------------------------------------------ token weights


def sink_scores(
    model: LLaDAModelLM,
    calib: CalibrationSet,
    *,
    std: float = 2.0,
    sharpness: float = 5.0,
    normalise: str = "none",
    each_head: bool = False,
    batch_size: int = 64,
) -> Tensor:
    """Score how much of a sink each token of each state is, phi in [0, 1], (N, L); 0 on padding.

    The attention mass is summed over layers and heads of this model, as in arXiv 2602.17664; options as in
    `sinks.soft_sink_score`, of which `normalise="none"` is its released code. `each_head`: every head is scored on its
    own, and a token gets the mean of its scores: the share of the heads for which it is a sink.
    """
    phi = torch.zeros(calib.ids.shape)
    for first in range(0, len(calib), batch_size):
        part = slice(first, first + batch_size)
        ids, real = calib.ids[part].to(model.device), calib.real[part].to(model.device)
        sums = sinks.received(model, ids, real).cpu()  # (layers, B, H, L)
        mass = sums.permute(1, 0, 2, 3).flatten(1, 2) if each_head else sinks.attention_mass(sums)[:, None]
        for row, m, n in zip(phi[part], mass, calib.real[part].sum(1).tolist(), strict=True):
            scores = sinks.soft_sink_score(m[:, :n], std=std, sharpness=sharpness, normalise=normalise)
            row[:n] = scores.mean(0)
    return phi


def mean_over_levels(phi: Tensor, calib: CalibrationSet) -> Tensor:
    """Replace the score of each state by the mean over the states of its text, (N, L): the paper's phi-bar."""
    texts = int(calib.text.max()) + 1
    total = torch.zeros(texts, phi.shape[1]).index_add_(0, calib.text, phi)
    return (total / calib.text.bincount(minlength=texts)[:, None])[calib.text]


SHUFFLED = {"shuffled": "sink", "preserve shuffled": "preserve", "inverted shuffled": "inverted"}  # whose control
ALIKE = {f"{control} alike": kind for control, kind in SHUFFLED.items()}  # masks with masks, visible with visible
KINDS = ("ones", "sink", "preserve", "inverted", *SHUFFLED, *ALIKE, "masks", "visible")


def token_weights(
    kind: str,
    calib: CalibrationSet,
    *,
    phi: Tensor | None = None,
    lam: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Say how much each token counts, (N, L), 0 on padding.

    `ones` · `sink` 1 - phi · `preserve` 1 + lam phi (our reading of "AR sink preserve": no paper or code defines it) ·
    `inverted` phi · `shuffled`, `preserve shuffled`, `inverted shuffled`: the weights of `sink`, of `preserve` and of
    `inverted`, dealt out anew among the tokens of each state; the same with `alike` at the end: among its masks, and
    among its visible tokens, so that each class keeps its weight · `masks`, `visible`: 1 on that class of tokens.
    Raises `ValueError` for an unknown kind and for a missing `phi` or generator.
    """
    real = calib.real.float()
    if kind in ("ones", "masks", "visible"):
        return {"ones": real, "masks": calib.masked.float(), "visible": real * ~calib.masked}[kind]
    if kind not in KINDS:
        raise ValueError(f"token weight {kind!r} is unknown; known: {', '.join(KINDS)}")
    if phi is None:
        raise ValueError(f"token weight {kind!r} needs phi=sink_scores(...)")
    weights = {"sink": 1 - phi, "preserve": 1 + lam * phi, "inverted": phi}
    weights = weights[(SHUFFLED | ALIKE).get(kind, kind)]
    if kind in SHUFFLED or kind in ALIKE:
        if generator is None:
            raise ValueError(f"token weight {kind!r} needs generator=torch.Generator().manual_seed(...)")
        classes = (calib.real,) if kind in SHUFFLED else (calib.real & ~calib.masked, calib.masked)
        weights = sum(shuffled(weights, at, generator) for at in classes)
    return weights * real


def shuffled(weights: Tensor, real: Tensor, generator: torch.Generator) -> Tensor:
    """Deal the weights of each state out anew among its real tokens, (N, L); 0 on all others.

    The control of any token weight: as much is given and taken, but not where it should be. Every state has a draw of
    its own. Shapes: weights (N, L), real (N, L) bool.
    """
    out = weights * real
    for row, at in zip(out, real, strict=True):
        row[at] = row[at][torch.randperm(int(at.sum()), generator=generator)]
    return out
