"""One decoding loop for masked diffusion language models; what varies is plugged in.

    sample(model, prompts, sampler=Sampler(score="probability", commit=Threshold(0.9), block_length=32))

Decisions
* A committed token is never changed, except by the edit rule, which says how often (`dlmlab.edit`). "Low-confidence
  remasking" in the literature means: keep the best, leave the rest masked.
* Confidence is the softmax of the *clean* float32 logits, never of the noised ones (LLaDA issue 137); the mask token
  has probability 0, so it is never committed.
* Gumbel noise is drawn in float64: in float32 the tail is cut and the effective temperature falls (Zheng et al., arXiv
  2409.02908).
* The prompt is padded on the left, so the answers of a batch share their columns; masks inside a prompt are filled
  too, in the first block.
* Finished rows leave the batch; a forward in which no row may commit is not run. The number of forwards is bounded by
  the number of masks, or by the plan of the commit rule; an edit rule adds what it states.
* Logits are computed only where some row may commit. Chance is the exception: noise is drawn for every position, so
  that a seed gives the tokens of the published sampler.

Source of the semantics: LLaDA's published sampler (arXiv 2502.09992, appendix B.4); tests hold this loop against a
literal re-implementation of it.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dlmlab import limits
from dlmlab.decode import speculation
from dlmlab.decode.cache import BlockCache, Cache, Forward
from dlmlab.decode.commit import NEG_INF, SCORES, Candidates, Commit, Fixed, order_of
from dlmlab.decode.edit import Edit, Exchange, Written
from dlmlab.decode.prompts import read_prompts
from dlmlab.decode.proposal import Proposal
from dlmlab.decode.trace import Sample, Step, Trace, cut_at_end
from dlmlab.network.cost import forward_flops

Denoiser = Callable[[Tensor, Tensor | None], Tensor]  # ids (B, L), attention mask (B, L) or None -> logits (B, L, V)


@dataclass(frozen=True)
class Sampler:
    """How to decode: what is proposed, how positions are ranked, how many are committed.

    `score`: a key of `SCORES`. `commit`: a rule of `dlmlab.commit`, or your own. `temperature`: 0 takes the
    most likely token. `guidance`: the weight w of classifier-free guidance, 0 for none. `block_length`:
    semi-autoregressive blocks of this length, None for one block. `aligned`: blocks are counted from the first token of
    each row, as those of block-causal attention are, not from the end of the prompt. `eos_last`: commit end marks only
    when nothing else is left in the block. `forbid`: ids that are never proposed. `stop_at_eos`: a row ends once its
    text up to the first end mark is complete. `cache`: what is computed again at a step (`dlmlab.cache`), None for
    everything. `edit`: what may become of committed tokens (`dlmlab.edit`), None for nothing. `proposal`: what
    tokens are drawn from (`dlmlab.proposal`, with a temperature of its own), None for softmax(logits / temperature).
    `speculate`: read up to so many states to come in one forward (`dlmlab.speculation`), None for the text as it is.
    """

    score: str = "probability"
    commit: Commit = field(default_factory=Fixed)
    temperature: float = 0.0
    guidance: float = 0.0
    block_length: int | None = None
    eos_last: bool = False
    forbid: tuple[int, ...] = ()
    stop_at_eos: bool = False
    cache: Cache | None = None
    edit: Edit | None = None
    aligned: bool = False
    proposal: Proposal | None = None
    speculate: int | None = None

    @property
    def random(self) -> bool:
        """Whether chance decides anything: then a generator is needed."""
        return self.temperature > 0 or self.score == "random" or self.proposal is not None

    def __post_init__(self) -> None:
        if not isinstance(self.score, str) or self.score not in SCORES:
            raise ValueError(f"score={self.score!r} is unknown; known: {', '.join(SCORES)}")
        if not isinstance(self.commit, Commit):
            raise ValueError(
                f"commit={self.commit!r} is no commit rule, such as Threshold(0.9): a dlmlab.commit.Commit"
            )
        self.commit.check_score(self.score)
        check_temperature(self.temperature)
        limits.number("guidance", self.guidance, 0)
        limits.whole("block_length", self.block_length, 1, optional=True)
        limits.switch("aligned", self.aligned)
        if self.aligned and self.block_length is None:
            raise ValueError("aligned=True needs block_length=: whose borders are to be met")
        limits.switch("eos_last", self.eos_last)
        limits.switch("stop_at_eos", self.stop_at_eos)
        if not isinstance(self.forbid, Sequence) or isinstance(self.forbid, str):
            raise ValueError(f"forbid={self.forbid!r} must be a tuple of ids, () for none")
        for id in self.forbid:
            limits.whole("forbid", id, 0)
        if not isinstance(self.cache, Cache | None):
            raise ValueError(f"cache={self.cache!r} is no cache, such as DualCache(), nor None")
        if self.cache is not None and self.guidance > 0:
            raise ValueError(f"guidance={self.guidance} reads two texts, a cache holds the keys of one: choose")
        if not isinstance(self.proposal, Proposal | None):
            raise ValueError(f"proposal={self.proposal!r} is no proposal, such as Softmax(1.0), nor None")
        if self.proposal is not None and self.temperature:
            raise ValueError(f"temperature={self.temperature} is that of no proposal; {self.proposal} has its own")
        if not isinstance(self.edit, Edit | None):
            raise ValueError(f"edit={self.edit!r} is no edit rule, such as Replace(0.9), nor None")
        stale = not isinstance(self.cache, BlockCache | None)  # only keys of finished blocks are never edited
        if self.edit is not None and (stale or self.guidance > 0 or self.stop_at_eos):
            raise ValueError(
                f"edit={self.edit} reads the whole block at every forward and goes on when it is full: no cache but "
                "BlockCache, others keep keys of what was there before, no guidance, no stop_at_eos"
            )
        limits.whole("speculate", self.speculate, 1, optional=True)
        if self.speculate is not None:
            self._check_speculation()

    def _check_speculation(self) -> None:
        """Raise `ValueError` where there is no single next state, or where its logits are not those of a row alone."""
        reasons = {
            f"commit={self.commit} may commit several tokens: only Fixed() is one per forward": self.commit != Fixed(),
            f"cache={self.cache} holds the keys of one state, not of {self.speculate}": self.cache is not None,
            f"guidance={self.guidance} reads a second text for each": self.guidance > 0,
            f"edit={self.edit} may undo what the next state was made from": self.edit is not None,
            "chance would have to be drawn before the guesses": self.random,
        }
        if found := [reason for reason, holds in reasons.items() if holds]:
            raise ValueError(f"speculate={self.speculate} is exact for the plain greedy loop alone; {'; '.join(found)}")


def gumbel_argmax(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Draw a token of softmax(logits / temperature) at every position, (B, L, V) -> (B, L); temperature 0 takes the
    largest logit.

    argmax_v of logit_v - T log(-log u_v), u uniform in [0, 1), all in float64.
    """
    if temperature == 0:
        return logits.argmax(-1)
    u = torch.rand(logits.shape, generator=generator, dtype=torch.float64, device=logits.device)
    return (logits.double() - temperature * (-u.log()).log()).argmax(-1)


def guided_logits(denoise: Denoiser, x: Tensor, valid: Tensor | None, given: Tensor, w: float, mask_id: int) -> Tensor:
    """Blend logits with and without the given tokens: un + (w + 1)(cond - un), (B, L, V).

    Without means that every given token, `given` (B, L) bool, is masked. Source: LLaDA, equation 16.
    """
    blind = torch.where(given, mask_id, x)
    cond, un = denoise(x, valid), denoise(blind, valid)
    blend = un + (w + 1) * (cond - un)
    # A token that one pass rules out: no inf - inf. +inf or NaN stay what they are, for `check_logits` to find.
    return torch.where(torch.minimum(cond, un).isneginf() & (un < torch.inf), cond, blend)


def check_temperature(temperature: float) -> None:
    """Raise `ValueError` unless the noise can be added: finite, so that a forbidden token, -inf, stays forbidden."""
    limits.number("temperature", temperature, 0, 1e6)  # all tokens are alike long before


def check_request(gen_length: int, random: bool, generator: torch.Generator | None) -> None:
    """Raise `ValueError` for a length that is none, or a random decoder without a generator."""
    limits.whole("gen_length", gen_length, 0)
    if random and not isinstance(generator, torch.Generator):
        raise ValueError(f"a random sampler needs generator=torch.Generator().manual_seed(...), got {generator!r}")


def read_for(model, prompts, attention_mask, *, mask_id: int, eos_id: int | None, more: int, least: int = 0):
    """Read prompts (`dlmlab.prompts`) for a model that reads them and `more` tokens; lists of ids.

    What the model does not say, its vocabulary or its longest text, is not checked. Raises `ValueError`.
    """
    config = getattr(model, "config", None)
    vocab_size, most = (getattr(config, name, None) for name in ("vocab_size", "max_sequence_length"))
    padding = {eos_id, getattr(config, "pad_token_id", None)} - {None, mask_id}
    rows = read_prompts(prompts, attention_mask, vocab_size=vocab_size, padding=padding, least=least)
    length = max(map(len, rows)) + more
    if most is not None and length > most:
        raise ValueError(
            f"length {length} is outside 1..{most} (max_sequence_length): the longest prompt has {length - more} "
            f"tokens, the answer {more} to read"
        )
    return rows


def check_ids(model, **named: Sequence[int]) -> None:
    """Raise `ValueError` for an id that the model's vocabulary, where it is known, does not hold."""
    vocab_size = getattr(getattr(model, "config", None), "vocab_size", None)
    for name, ids in named.items():
        for id in ids:
            if vocab_size is not None and id >= vocab_size:
                raise ValueError(f"{name} holds the id {id}, outside the vocabulary 0..{vocab_size - 1}")


def rule_out(logits: Tensor, never: Tensor, vocab_size: int | None) -> Tensor:
    """Give the ids `never`, and the places of a padded table that are no ids, the logit -inf, in place."""
    logits.index_fill_(-1, never, NEG_INF)
    if vocab_size is not None:
        logits[..., vocab_size:] = NEG_INF
    return logits


def check_logits(logits: Tensor, used: Tensor, forward: int, rows: Tensor, positions: Tensor) -> None:
    """Raise `ValueError` where a token should be chosen and cannot: NaN, +inf, or no token that is not ruled out.

    -inf rules a token out. Shapes: logits (R, C, V), used (R, C) bool, rows (R,) of the batch, positions (R, C) in
    the text of the row, without padding. `forward` is counted from 1.
    """
    best = logits.amax(-1)  # (R, C): a maximum keeps NaN and +inf, and is -inf only if everything is
    wrong = used & ~best.isfinite()
    if not bool(wrong.any()):
        return
    r, c = wrong.nonzero()[0].tolist()
    name = {math.inf: "+inf", -math.inf: "-inf for every token"}.get(float(best[r, c]), "NaN")
    raise ValueError(
        f"forward {forward}, row {int(rows[r])}, position {int(positions[r, c])}: logits are {name} "
        f"({int(wrong.sum())} of {int(used.sum())} positions); look for weights that are not finite, a dtype that is "
        "too narrow for them, or forbidden ids that leave nothing"
    )


def left_pad(prompts: Sequence[Sequence[int]] | Tensor, pad_id: int, device) -> tuple[Tensor, Tensor]:
    """Put prompts of unequal lengths into one matrix, padded on the left: ids (B, P) and which of them are real (B,
    P) bool."""
    rows = [list(map(int, p)) for p in prompts]
    P = max(len(r) for r in rows)
    ids = torch.tensor([[pad_id] * (P - len(r)) + r for r in rows], dtype=torch.long, device=device).view(len(rows), P)
    valid = torch.tensor(
        [[False] * (P - len(r)) + [True] * len(r) for r in rows], dtype=torch.bool, device=device
    ).view(len(rows), P)
    return ids, valid


def _check_model(model, sampler: Sampler) -> None:
    if getattr(getattr(model, "config", None), "attention", "full") == "causal":
        raise ValueError(
            "this model is causal and predicts the next token; decode it with dlmlab.autoregressive.sample"
        )
    if sampler.cache is not None and not hasattr(model, "frame"):
        raise ValueError(f"cache={sampler.cache} needs a LLaDAModelLM, got {type(model).__name__}")


def _denoiser_at(model, columns: Tensor) -> Denoiser:
    """Turn a model or a function into a function whose logits are those of `columns`, (B, C, V)."""
    if getattr(model, "config", None) is None:
        return lambda x, valid: model(x, valid)[:, columns]
    return lambda x, valid: model(x, valid, logits_to_keep=columns).logits


def _special_ids(model, mask_id: int | None, eos_id: int | None) -> tuple[int, int | None]:
    config = getattr(model, "config", None)
    mask_id = getattr(config, "mask_token_id", None) if mask_id is None else mask_id
    eos_id = getattr(config, "eos_token_id", None) if eos_id is None else eos_id
    if mask_id is None:
        raise ValueError("mask_id is needed: the model has no config.mask_token_id")
    limits.whole("mask_id", mask_id, 0)
    limits.whole("eos_id", eos_id, 0, optional=True)
    if eos_id == mask_id:
        raise ValueError(f"eos_id={eos_id} is the mask: it is never written, so no text would end")
    return mask_id, eos_id


@torch.inference_mode()
def sample(
    model,
    prompts: Sequence[Sequence[int]] | Tensor | Mapping,
    *,
    attention_mask: Tensor | Sequence[Sequence[int]] | None = None,
    gen_length: int = limits.ANSWER_LENGTH,
    sampler: Sampler | None = None,
    generator: torch.Generator | None = None,
    mask_id: int | None = None,
    eos_id: int | None = None,
) -> Sample:
    """Generate `gen_length` tokens after each prompt, and fill the masks inside the prompts.

    `model`: a `LLaDAModelLM`, or any function (ids (B, L), mask) -> logits (B, L, V), then with `mask_id` (and
    `eos_id`). `prompts`: B lists of ids, of any lengths, also none; or a tensor (B, P), padded on either side, with
    its `attention_mask`; or what a tokenizer returns (`dlmlab.prompts` says what is refused). `generator` is needed
    where chance decides (temperature > 0, random order). Raises `ValueError` for prompts that cannot be meant, prompt
    and answer longer than the model reads, more blocks than steps, and for logits from which no token can be chosen.
    """
    sampler = Sampler() if sampler is None else sampler
    if not isinstance(sampler, Sampler):
        raise ValueError(f"sampler={sampler!r} must be a Sampler(...) or None")
    mask_id, eos_id = _special_ids(model, mask_id, eos_id)
    check_request(gen_length, sampler.random, generator)
    if eos_id is None and (sampler.eos_last or sampler.stop_at_eos):
        raise ValueError("eos_last and stop_at_eos need eos_id: the model has no config.eos_token_id")
    _check_model(model, sampler)
    check_ids(model, mask_id=[mask_id], eos_id=[] if eos_id is None else [eos_id], forbid=sampler.forbid)
    device = getattr(model, "device", "cpu")
    rows = read_for(model, prompts, attention_mask, mask_id=mask_id, eos_id=eos_id, more=gen_length)
    prompt, valid = left_pad(rows, 0 if eos_id is None else eos_id, device)
    B, P = prompt.shape
    x = torch.cat([prompt, torch.full((B, gen_length), mask_id, device=device)], 1)
    valid = torch.cat([valid, torch.ones(B, gen_length, dtype=torch.bool, device=device)], 1)
    loop = _Loop(model, sampler, generator, mask_id, eos_id, x, valid, P)
    ends = block_ends(loop.real[:, :P].sum(1), P, gen_length, sampler)
    if sampler.speculate is not None:
        speculation.fill(loop, ends)
    else:
        for i, end in enumerate(ends):
            loop.block(ends[i - 1] if i else torch.zeros_like(end), end, i, len(ends))
    answers = [cut_at_end(row, eos_id) for row in loop.x[:, P:].tolist()]
    return Sample(loop.x, P, answers, loop.trace)


def block_ends(real: Tensor, P: int, G: int, sampler: Sampler) -> list[Tensor]:
    """List the columns where the blocks of every row end, (B,) each, for answers of G tokens after column P.

    `real` (B,): tokens of each prompt, without padding. Aligned blocks begin where a row begins, so the first one holds
    the tail of the prompt; a row may have one fewer than another.
    """
    length, last = sampler.block_length or max(G, 1), torch.full_like(real, P + G)
    first = (real // length + 1) * length + P - real if sampler.aligned else torch.full_like(real, P + length)
    count = max(1, -(-(P + G - int(first.min())) // length) + 1)
    return [torch.minimum(first + i * length, last) for i in range(count)]


class _Loop:
    """State of one run: the ids, which rows go on, the trace."""

    def __init__(self, model, sampler, generator, mask_id, eos_id, x, valid, P):
        self.model, self.sampler, self.generator = model, sampler, generator
        self.mask_id, self.eos_id, self.x, self.P = mask_id, eos_id, x, P
        self.real, self.valid = valid, None if bool(valid.all()) else valid
        self.given = valid & (x != mask_id)
        self.stopped = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.never = torch.tensor([mask_id, *sampler.forbid], device=x.device)
        self.vocab_size = getattr(getattr(model, "config", None), "vocab_size", None)
        self.trace = Trace(x.clone().cpu(), eos_id)
        self.cache = sampler.cache and sampler.cache.begin(model, mask_id, x, self.valid)
        self.stored = torch.zeros_like(x, dtype=torch.float32)  # the confidence with which each token was written

    def block(self, begin: Tensor, end: Tensor, block: int, blocks: int) -> None:
        """Fill every mask before the columns `end` (B,).

        Runs at most as many forwards as the fullest row has masks, or as are planned, and those that an edit rule
        states on top. Raises `ValueError` for a rule that then left masks.
        """
        eligible, edit = self.eligible(end), self.sampler.edit
        masks = eligible.sum(1)  # (B,)
        plan = self.plan(masks, block, blocks)
        if self.cache and bool(eligible.any()):
            start = torch.where(eligible.any(1), eligible.int().argmax(1), end)  # (B,), each row's first mask
            self.cache.enter(start, end)
        if edit is not None:
            self.begin, self.end = begin, end
            self.left, self.unsettled = torch.full_like(masks, edit.extra), masks > 0  # (B,) both
        most = int(masks.max()) if plan is None else plan.shape[1]
        for i in range(most + (0 if edit is None else edit.extra)):
            eligible = self.eligible(end)
            wanted = eligible.any(1) & ~self.stopped
            if edit is not None:  # a full block is read again until nothing changes
                wanted |= self.unsettled & (self.left > 0)
            rows = wanted.nonzero()[:, 0]
            if len(rows) == 0:
                break
            self.step(rows, eligible[rows], self.quota(plan, i, eligible.sum(1))[rows])
        left = self.eligible(end)[~self.stopped]
        if bool(left.any()):
            raise ValueError(
                f"commit={self.sampler.commit} left {int(left.sum())} masks: a rule takes a position of every row at "
                "each forward, or as many as it planned"
            )

    def plan(self, masks: Tensor, block: int, blocks: int) -> Tensor | None:
        """Ask the commit rule for its schedule. Raises `ValueError` for one that would leave masks."""
        plan = self.sampler.commit.plan(masks, block, blocks)
        if plan is None and isinstance(self.sampler.edit, Exchange):
            raise ValueError(f"edit={self.sampler.edit} keeps to a plan, commit={self.sampler.commit} has none")
        if plan is not None and (plan.shape[:1] != masks.shape or bool((plan < 0).any() | (plan.sum(1) < masks).any())):
            raise ValueError(
                f"commit={self.sampler.commit} plans {plan.tolist()} for {masks.tolist()} masks: a row for each text, "
                "no number below 0, and every mask must be due"
            )
        return plan

    def quota(self, plan: Tensor | None, i: int, masks: Tensor) -> Tensor:
        """Say how many positions of each row are due at forward `i` of a block, (B,)."""
        if plan is None or i >= plan.shape[1]:
            return torch.ones_like(masks)
        due = plan[:, i]
        if self.sampler.edit is None:
            return due
        more = masks > plan[:, i:].sum(1)  # some were masked again
        return torch.where(more, due.clamp(min=1), due)

    def eligible(self, end: Tensor) -> Tensor:
        """Masked columns before `end` (B,), padding never, (B, L) bool."""
        column = torch.arange(self.x.shape[1], device=self.x.device)
        return (self.x == self.mask_id) & self.real & (column < end[:, None])

    def forward(self, rows: Tensor, columns: Tensor, x: Tensor | None = None) -> Forward:
        """Run the network and predict `columns` (C,) of the rows (R,), or of other states `x` (R, L) of them."""
        if self.cache:
            return self.cache(rows, columns)
        x, valid = self.x[rows] if x is None else x, None if self.valid is None else self.valid[rows]
        denoise, (R, L), nfe = _denoiser_at(self.model, columns), x.shape, 2 if self.sampler.guidance > 0 else 1
        if self.sampler.guidance > 0:
            logits = guided_logits(denoise, x, valid, self.given[rows], self.sampler.guidance, self.mask_id)
        else:
            logits = denoise(x, valid)
        config = getattr(self.model, "config", None)
        flops = forward_flops(config, L, logits=len(columns)) if hasattr(config, "d_model") else 0
        return Forward(logits, nfe * R * L, nfe * R * flops)

    def editable(self, rows: Tensor) -> Tensor:
        """Mark what the edit rule may change: written columns of the current block, (R, L) bool."""
        x = self.x[rows]
        if self.sampler.edit is None:
            return torch.zeros_like(x, dtype=torch.bool)
        column = torch.arange(x.shape[1], device=x.device)
        block = (self.begin[rows, None] <= column) & (column < self.end[rows, None])
        return block & (x != self.mask_id) & ~self.given[rows] & self.real[rows]

    def marked(self, rows: Tensor, full: Tensor, written: Written) -> tuple[Tensor, Tensor]:
        """Ask the edit rule what is replaced and what is masked again, (R, C) bool each, and keep it to its bound.

        `full` (R,): the forward found no mask. It costs one of the forwards the rule has left, as does each token that
        is masked again. An exchange costs none and is bounded by the masks that are left over.
        """
        replace, remask = (marked & written.editable for marked in self.sampler.edit(written))
        if isinstance(self.sampler.edit, Exchange):
            room = written.masked.sum(1) - written.due  # (R,)
            return torch.zeros_like(remask), remask & (order_of(-written.present, remask)[1] < room[:, None])
        replace &= written.x0 != written.ids
        remask &= ~replace
        self.left[rows] -= full.long()
        remask &= order_of(-written.present, remask)[1] < self.left[rows][:, None]  # the least probable first
        self.left[rows] -= remask.sum(1)
        self.unsettled[rows] &= ~full | (replace | remask).any(1)
        return replace, remask

    def change(self, rows: Tensor, columns: Tensor, x0: Tensor, replace: Tensor, remask: Tensor):
        """Change what is marked; returns where, (E, 2) row and column, and what stands there now, (E,)."""
        at = (replace | remask).nonzero()  # (E, 2)
        place = torch.stack([rows[at[:, 0]], columns[at[:, 1]]], 1)
        to = torch.where(remask, self.mask_id, x0)[at[:, 0], at[:, 1]]
        self.x[place[:, 0], place[:, 1]] = to
        return place, to

    def propose(self, logits: Tensor, used: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, ...]:
        """Propose a token for every column: tokens (R, C), probabilities (R, C, V), confidence and score (R, C).

        Raises `ValueError` for logits (R, C, V) from which no token can be chosen where one is `used` (R, C).
        """
        logits = rule_out(logits.float(), self.never, self.vocab_size)
        positions = self.real[rows].cumsum(1)[:, columns] - 1  # (R, C), counted without padding
        check_logits(logits, used, len(self.trace.steps) + 1, rows, positions)
        if self.sampler.proposal is None:
            x0 = gumbel_argmax(logits, self.sampler.temperature, self.generator)
        else:  # noise is added to log q: its zeros stay zeros
            x0 = gumbel_argmax(self.sampler.proposal(logits).log(), 1.0, self.generator)
        p = logits.softmax(-1)
        confidence = p.gather(-1, x0[..., None])[..., 0]
        score = SCORES[self.sampler.score](p, x0, self.generator)
        if self.sampler.eos_last:
            score = score.masked_fill(x0 == self.eos_id, NEG_INF)
        return x0, p, confidence, score

    def step(self, rows: Tensor, eligible: Tensor, quota: Tensor) -> None:
        """Run one forward for `rows` (R,) and commit some of their `eligible` (R, L) columns."""
        start, sampler = time.perf_counter(), self.sampler
        chance = sampler.random
        full, editable = ~eligible.any(1), self.editable(rows)
        wanted = torch.ones_like(eligible[0]) if chance and not self.cache else (eligible | editable).any(0)
        columns = wanted.nonzero()[:, 0]  # (C,)
        eligible, editable, forward = eligible[:, columns], editable[:, columns], self.forward(rows, columns)
        ids = self.x[rows][:, columns]  # (R, C), what the forward read
        eligible = eligible if forward.open is None else eligible & forward.open  # (R, C)
        x0, p, confidence, score = self.propose(forward.logits, eligible | editable, rows, columns)
        if sampler.edit is not None:
            present, stored = p.gather(-1, ids[..., None])[..., 0], self.stored[rows][:, columns]
            written = Written(ids, editable, present, x0, confidence, eligible, stored, quota, self.generator)
            replace, remask = self.marked(rows, full, written)
            if isinstance(sampler.edit, Exchange):
                quota = quota + remask.sum(1)
        at = sampler.commit(Candidates(score, eligible, confidence, p, quota)).nonzero()  # (N, 2)
        place = torch.stack([rows[at[:, 0]], columns[at[:, 1]]], 1)
        tokens = x0[at[:, 0], at[:, 1]]
        self.x[place[:, 0], place[:, 1]] = tokens
        filled = self.stop() if sampler.stop_at_eos else torch.empty(0, 2, dtype=torch.long)
        edited = {}
        if sampler.edit is not None:
            self.stored[place[:, 0], place[:, 1]] = confidence[at[:, 0], at[:, 1]]
            changes = self.change(rows, columns, x0, replace, remask)
            edited = {name: part.cpu() for name, part in zip(("edited", "edited_to"), changes, strict=True)}
        self.trace.steps.append(
            Step(
                rows.cpu(),
                place.cpu(),
                tokens.cpu(),
                confidence[at[:, 0], at[:, 1]].cpu(),
                nfe=2 if sampler.guidance > 0 else 1,
                tokens_through=forward.tokens,
                flops=forward.flops,
                seconds=time.perf_counter() - start,
                filled=filled.cpu(),
                evicted=forward.evicted,
                **edited,
            )
        )

    def complete(self, x: Tensor, rows: Tensor) -> Tensor:
        """Say whose text is complete in the states `x` (R, L) of the rows (R,): it has an end mark and no mask before
        it, nor in the prompt."""
        prompt, answer = x[:, : self.P], x[:, self.P :]
        is_end, masked = (answer == self.eos_id).int(), answer == self.mask_id
        gap = (masked & (is_end.cumsum(1) == 0)).any(1) | ((prompt == self.mask_id) & self.real[rows, : self.P]).any(1)
        return is_end.any(1) & ~gap

    def stop(self) -> Tensor:
        """End rows whose text is complete: no mask in the prompt, nor in the answer up to its first end mark.

        What is still masked after that becomes end marks; returns where, (F, 2) row and column.
        """
        answer, done = self.x[:, self.P :], self.complete(self.x, torch.arange(len(self.x), device=self.x.device))
        fill = done[:, None] & (answer == self.mask_id)
        answer[fill] = self.eos_id
        self.stopped |= done
        return fill.nonzero() + torch.tensor([0, self.P], device=fill.device)
