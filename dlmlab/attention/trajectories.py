"""Many states of one text and the attention in each: while it is denoised, while it is written, under fresh noise.

Decisions
* Four sources, kept apart. `denoising` and `generation` replay the states a decoder really visited; `uncovering` fills
  in a known text in a known order; `renoising` draws masks anew at given times, as calibration for pruning does. What
  varies between draws at one time is the noise floor of everything that varies over time.
* A state is read whole, without a cache, so its column sums are those of the full map.
* Of a causal model, the states are the prefixes of the final text: one forward gives them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dlmlab.attention.sinks import received
from dlmlab.attention.values import through
from dlmlab.decode import autoregressive, sampling
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.noise import forward_process
from dlmlab.task.tokenizer import ANSWER

KINDS = (
    "start mark",
    "answer mark",
    "question word",
    "question number",
    "question sign",
    "answer number",
    "answer sign",
    "end mark",
    "mask",
)


@dataclass(frozen=True)
class Trajectory:
    """S states of one text of length L: `ids` (S, L), and `sums` (S, N, H, L), the column sums of N layers, H heads.

    `visible` (S, L) bool: the positions that exist in a state (a causal text grows). Functions of `sinks` that take
    (N, B, H, L) want `sums.transpose(0, 1)`.
    """

    ids: Tensor
    sums: Tensor
    visible: Tensor

    @classmethod
    def join(cls, parts: Sequence["Trajectory"]) -> "Trajectory":
        """Put trajectories of texts of one length behind each other."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ("ids", "sums", "visible")))

    @property
    def mass(self) -> Tensor:
        """Mean over layers and heads, (S, L); 1 everywhere when attention is uniform and not causal."""
        return self.sums.mean((1, 2))


@torch.inference_mode()
def denoising(
    model: LLaDAModelLM,
    prompt: Sequence[int],
    *,
    gen_length: int = ANSWER_LENGTH,
    sampler: sampling.Sampler | None = None,
    generator: torch.Generator | None = None,
) -> Trajectory:
    """Decode one prompt and read every state that was input of a forward, S = number of forwards.

    Raises `ValueError` when there is nothing to fill, and what `sampling.sample` raises.
    """
    out = sampling.sample(model, [prompt], gen_length=gen_length, sampler=sampler, generator=generator)
    if not out.trace.steps:
        raise ValueError(f"gen_length={gen_length} and no mask in the prompt: there is no state to read")
    return _read(model, torch.stack(out.trace.states()[:-1]).to(model.device))  # (S, L)


@torch.inference_mode()
def generation(model: LLaDAModelLM, prompt: Sequence[int], *, gen_length: int = ANSWER_LENGTH) -> Trajectory:
    """Decode one prompt left to right; state s is the prefix that predicted answer token s.

    `ids` holds the mask token where a state has no text yet. Raises `ValueError` for gen_length < 1, and what
    `autoregressive.sample` raises.
    """
    if gen_length < 1:
        raise ValueError(f"gen_length={gen_length} must be >= 1: there is no state to read")
    out = autoregressive.sample(model, [prompt], gen_length=gen_length)
    P, S = len(prompt), len(out.trace.steps)
    text = out.ids[:, : P + S - 1]  # (1, L), everything that was ever read
    maps = torch.stack(model(text, output_attentions=True).attentions)[:, 0]  # (N, H, L, L)
    so_far = maps.cumsum(2)[:, :, P - 1 :]  # (N, H, S, L): attention received from the queries up to each prefix's end
    ends = torch.arange(P, P + S, device=text.device)  # (S,)
    visible = torch.arange(text.shape[1], device=text.device)[None] < ends[:, None]  # (S, L)
    ids = torch.where(visible, text, model.config.mask_token_id)
    return Trajectory(ids, so_far.permute(2, 0, 1, 3).contiguous(), visible)


def renoising(
    model: LLaDAModelLM,
    x0: Tensor,
    times: Sequence[float],
    *,
    draws: int,
    maskable: Tensor | None = None,
    generator: torch.Generator,
) -> list[Trajectory]:
    """Mask one clean text x0 (L,) at each time, `draws` times anew: one trajectory of S = draws states a time.

    `maskable` (L,) bool, None for everything. Raises `ValueError` for a batch of texts, for draws < 1, and for times
    outside [0, 1].
    """
    if x0.ndim != 1 or draws < 1:
        raise ValueError(f"need one text x0 (L,) and draws >= 1, got shape {tuple(x0.shape)} and draws={draws}")
    rows, maskable = x0.expand(draws, -1), None if maskable is None else maskable.expand(draws, -1)
    trajectories = []
    for t in times:
        ids, _ = forward_process(
            rows, torch.full((draws,), t), model.config.mask_token_id, maskable=maskable, generator=generator
        )
        trajectories.append(_read(model, ids))
    return trajectories


def uncovering(model: LLaDAModelLM, x0: Tensor, order: Sequence[int]) -> Trajectory:
    """Mask these positions of one clean text x0 (L,) and uncover them in this order: S = len(order) + 1 states.

    What a decoder visits that guesses right, in an order that no rounding decides. Raises `ValueError` for a batch of
    texts, and for a position outside the text or named twice.
    """
    if x0.ndim != 1 or len(set(order)) != len(order) or not set(order) <= set(range(len(x0))):
        raise ValueError(f"need one text x0 (L,) and each position at most once, got {tuple(x0.shape)} and {order}")
    ids = x0.expand(len(order) + 1, -1).clone()
    for s, at in enumerate(order):
        ids[: s + 1, at] = model.config.mask_token_id
    return _read(model, ids)


def _read(model: LLaDAModelLM, ids: Tensor) -> Trajectory:
    return Trajectory(ids, received(model, ids).transpose(0, 1), torch.ones_like(ids, dtype=torch.bool))


def token_kinds(ids: Tensor, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Sort every token into one of `KINDS`, (S, L) -> (S, L) indices; what follows an answer mark is answer, up to the
    next start mark.

    A text whose answer mark is masked counts as question throughout. Padding is made of end marks and counts as such.
    """
    words = [tokenizer.convert_ids_to_tokens(row) for row in ids.tolist()]
    answered = (ids == tokenizer.convert_tokens_to_ids(ANSWER)).cumsum(1)  # (S, L)
    answer = (answered > 0) & (answered >= (ids == tokenizer.bos_token_id).cumsum(1))
    marks = {
        tokenizer.bos_token: KINDS.index("start mark"),
        ANSWER: KINDS.index("answer mark"),
        tokenizer.eos_token: KINDS.index("end mark"),
        tokenizer.mask_token: KINDS.index("mask"),
    }
    kinds = torch.empty_like(ids)
    for s, row in enumerate(words):
        for i, word in enumerate(row):
            side = "answer" if answer[s, i] else "question"
            form = "number" if word.isdigit() else "sign" if not word[0].isalpha() or side == "answer" else "word"
            kinds[s, i] = marks[word] if word in marks else KINDS.index(f"{side} {form}")
    return kinds


@torch.inference_mode()
def value_norms(model: LLaDAModelLM, ids: Tensor) -> Tensor:
    """Length of the value vector of every position, (N, B, H, L): what a query gets that looks only there."""
    found = []
    with through(model, found.append):
        model(ids, logits_to_keep=torch.tensor([-1]))
    config = model.config
    heads = [v.unflatten(-1, (config.n_kv_heads, -1)).norm(dim=-1).transpose(1, 2) for v in found]  # (B, H_kv, L)
    return torch.stack(heads).repeat_interleave(config.n_heads // config.n_kv_heads, 2)
