"""What a training run reads: its recipe, and the stream of batches that follows from recipe and step.

Decisions
* Every batch is a function of `(config.seed, step)`: fresh problems each step, and a run that was killed and resumed
  sees the same ones.
* A block-causal model learns block by block: every block of a text has a time of its own, and its masks are guessed
  from the clean blocks before it (`dlmlab.blockwise`; BD3-LM, arXiv 2503.09573).
* A model that shall edit its own text must have met wrong tokens: a share of what is not masked is replaced by another
  token, and the loss counts there too, and at what was left as it is (LLaDA2.1, arXiv 2602.08676; our reading of it,
  with tokens drawn evenly).
* Equations can come first, alone: a recipe may drill what a solution calculates before it reads a question
  (`dlmlab.task.equations`). Their tokens count like all others.
* Rows of like length share a batch (a pool of `POOL` batches is sorted), and lengths are rounded up to multiples of
  `multiple`: with 16 few shapes to compile, and still a fifth of the tokens is padding (`bench --only train`). With
  `context`, a row is problem after problem, cut at that length, and every token sees the others of its row: the usual
  packing of language-model training.
"""

import itertools
import math
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dlmlab.network.config import attention_block
from dlmlab.objective.noise import forward_process, low_discrepancy_times
from dlmlab.task.equations import LENGTH, drill
from dlmlab.task.layout import encode_texts
from dlmlab.task.splits import RULES
from dlmlab.task.tasks import STEP_WEIGHTS, Problem, make_problem
from dlmlab.task.tokenizer import ANSWER, build_tokenizer

POOL = 8
Plan = tuple[tuple[int, float], ...]
OPTIMIZERS = ("muon", "adamw")
FAMILIES = ("llada", "llada2_moe")
PLANS = ("answer_only", "suffix", "salient", "corrupt", "lr_plan", "max_equations")


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Lengths in tokens, times in seconds, `rows` is the global batch."""

    name: str
    family: str = "llada"  # or "llada2_moe", and then the sizes below
    attention: str = "full"
    d_model: int = 192
    n_heads: int = 6
    n_layers: int = 6
    mlp_hidden_size: int = 512
    max_sequence_length: int = 96
    n_kv_heads: int = 0  # 0: as many as n_heads
    experts: int = 8
    experts_per_token: int = 2
    expert_groups: int = 4
    groups_per_token: int = 2
    expert_hidden_size: int = 72
    dense_layers: int = 1
    balance: float = 1e-3  # how far the bias of an expert moves at a step, towards an even load
    context: int = 0  # 0: one problem a row; else problems packed into rows of this many tokens
    multiple: int = 16  # of which the length of a batch is one, where a row is a problem
    tokens: int = 30_000_000
    rows: int = 64
    lr: float = 3e-3
    lr_rest: float = 3e-3
    weight_decay: float = 0.1
    warmup: int = 100
    clip: float = 1.0
    # Shares, as (from step, share): rows that mask only the answer; of these, rows masked from a point to the end, and
    # rows that mask results of equations, each with all its later copies (salient spans, as in arXiv 2002.08909).
    answer_only: Plan = ((0, 0.7),)
    suffix: Plan = ((0, 0.0),)
    salient: Plan = ((0, 0.0),)
    reach: int = 0  # of a row masked to the end, only the first so many masks count; 0: all
    # Of what is not masked, the share that becomes another token; the weight of the mean loss there, and of that at
    # the tokens that were left alone, beside a weight of 1 for masks.
    corrupt: Plan = ((0, 0.0),)
    corrupt_weight: float = 1.0
    kept_weight: float = 0.1
    max_equations: Plan = ((0, 5),)  # (from step, equations): a curriculum of problems with at most so many
    drill_steps: int = 0  # so many steps first on rows of equations alone: only their results count
    drill_equations: int = 6  # in such a row
    causal_steps: int = 0  # so many steps as an autoregressive model first (as in arXiv 2410.17891)
    lr_plan: Plan = ()  # (tokens, factor) joined by straight lines; empty: from 1 to 0 over all tokens
    seed: int = 0
    split_rule: str = ""  # which problems are none to train on (`tasks.RULES`); "": as the splits in data/mini-gsm
    start: str = ""  # a model whose weights come first: a shipped one or a folder; "": random ones
    # Confidence-aware training (arXiv 2512.15745): the weight of the entropy where the surest token is the right one.
    sharpen: float = 0.0
    optimizer: str = "muon"  # or "adamw"
    compile: bool = True
    bf16: bool = True
    threads: int = 2
    device: str = "cpu"
    log_every: int = 20
    save_every: float = 60.0
    eval_every: int = 2_000

    def __post_init__(self) -> None:
        check_name(self.name)
        for name in (
            *("multiple", "tokens", "rows", "warmup", "threads"),
            "drill_equations",
            "log_every",
            "eval_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be >= 1")
        for name in (
            "lr",
            "lr_rest",
            "weight_decay",
            "save_every",
            "balance",
            "corrupt_weight",
            "kept_weight",
            "sharpen",
        ):
            if not 0 <= getattr(self, name) < math.inf:  # nan is refused too
                raise ValueError(f"{name}={getattr(self, name)} must be >= 0 and finite")
        if not self.clip > 0:
            raise ValueError(f"clip={self.clip} must be > 0")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed={self.seed} must lie in 0..{2**31 - 1}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer={self.optimizer!r} is unknown; known: {', '.join(OPTIMIZERS)}")
        if self.family not in FAMILIES:
            raise ValueError(f"family={self.family!r} is unknown; known: {', '.join(FAMILIES)}")
        if self.split_rule not in ("", *RULES):
            raise ValueError(f"split_rule={self.split_rule!r} is unknown; known: {', '.join(RULES)}")
        attention_block(self.attention)
        if not 0 <= self.context <= self.max_sequence_length:
            raise ValueError(f"context={self.context} must lie in 0..{self.max_sequence_length} (max_sequence_length)")
        check_plan("answer_only", self.answer_only, most=1.0)
        check_plan("suffix", self.suffix, most=1.0)
        check_plan("salient", self.salient, most=1.0)
        check_plan("corrupt", self.corrupt, most=1.0)
        if self.attention == "causal" and any(share for _, share in self.corrupt):
            raise ValueError("corrupt teaches to edit, and a causal model never reads its text again: leave it out")
        for start in sorted({start for start, _ in (*self.suffix, *self.salient)}):
            if (both := value_at(self.suffix, start) + value_at(self.salient, start)) > 1:
                raise ValueError(f"suffix and salient together are {both:g} at step {start}: shares of the same rows")
        check_plan("max_equations", self.max_equations, least=1, most=len(STEP_WEIGHTS))
        if self.lr_plan:
            check_plan("lr_plan", self.lr_plan)
        for name in ("reach", "drill_steps", "causal_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be >= 0")
        if self.drill_steps and self.block_at(0):
            raise ValueError(f"drill_steps={self.drill_steps}: a row of equations has no blocks, attention does")
        if self.drill_steps and self.drill_equations * LENGTH > self.max_sequence_length:
            raise ValueError(
                f"drill_equations={self.drill_equations} are {self.drill_equations * LENGTH} tokens, "
                f"more than max_sequence_length={self.max_sequence_length}"
            )
        if self.causal_steps and self.attention != "full":
            raise ValueError(f"causal_steps={self.causal_steps} prepares a model with attention 'full' only")
        if self.context and any(share for _, share in (*self.suffix, *self.salient)):
            raise ValueError(
                "suffix and salient masks are defined for one problem a row: leave them out or context = 0"
            )

    def attention_at(self, step: int) -> str:
        """Name the attention of a step: `causal` in the first `causal_steps`."""
        return "causal" if step < self.causal_steps else self.attention

    def block_at(self, step: int) -> int | None:
        """Return the block length of a step that learns block by block, None for any other."""
        size = attention_block(self.attention_at(step))
        return None if size == 1 else size

    @classmethod
    def read(cls, path: str | Path) -> "TrainConfig":
        """Read a TOML file. Raises `ValueError` naming the file and the unknown key, wrong type or bad value."""
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:  # not TOML, not text, a list in a list in a list ...
            raise ValueError(f"{path}: {error}") from error
        types = {f.name: f.type for f in fields(cls)}
        if unknown := sorted(values.keys() - types.keys()):
            raise ValueError(f"{path}: unknown keys {', '.join(unknown)}; known: {', '.join(sorted(types))}")
        for key, value in values.items():
            values[key] = _typed(f"{path}: {key}", value, Plan if key in PLANS else types[key])
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:  # a missing name, a value out of range
            raise ValueError(f"{path}: {error}") from error


def _typed(name: str, value, kind):
    """Check the type of a value of a TOML file; plans become tuples, whole numbers may stand for fractions."""
    if kind is Plan:
        pairs = isinstance(value, list) and all(isinstance(p, list) and len(p) == 2 for p in value)
        if not pairs or not all(type(x) in (int, float) and math.isfinite(x) for p in value for x in p):
            raise ValueError(f"{name} = {value!r} must be a list of pairs [from, value] of finite numbers")
        return tuple((int(start), float(share)) for start, share in value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{name} = {value!r} must be of type {kind.__name__}")
    return value


def check_name(name: str) -> None:
    """Raise `ValueError` unless a run's name is a file name on every system: it names the folder of the run."""
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    if reserved or not re.fullmatch(r"\w([\w.+ -]*[\w+-])?", name) or len(name.encode()) > 100:
        raise ValueError(f"name={name!r} must be a file name: letters, digits, '-', '_' and '.', no folders, up to 100")


def check_plan(name: str, plan: Plan, *, least: float = 0.0, most: float = float("inf")) -> None:
    """Raise `ValueError` unless a plan starts at 0, goes up in its first column and stays in least..most in its
    second."""
    starts = [start for start, _ in plan]
    if not starts or starts[0] != 0 or any(a >= b for a, b in zip(starts, starts[1:], strict=False)):
        raise ValueError(f"{name}={plan} must begin at 0 and go up")
    if not all(least <= value <= most for _, value in plan):
        raise ValueError(f"{name}={plan}: every value must lie in {least:g}..{most:g}")


def value_at(plan: Plan, step: int) -> float:
    """Look up the value of a plan in steps: that of the last entry that has begun."""
    return [value for start, value in plan if start <= step][-1]


def wrong_tokens(x0: Tensor, mask_id: int, V: int, *, generator: torch.Generator) -> Tensor:
    """Draw for every token one of the V - 2 ids that are neither it nor the mask, evenly: (B, L) -> (B, L).

    Raises `ValueError` for fewer than three ids.
    """
    if V < 3:
        raise ValueError(f"V={V}: of fewer than three ids none is neither the token nor the mask")
    low, high = torch.minimum(x0, torch.tensor(mask_id)), torch.maximum(x0, torch.tensor(mask_id))
    twin = low == high  # a mask in a clean text: only one id is taken out
    drawn = (torch.rand(x0.shape, generator=generator, dtype=torch.float64) * (V - 2 + twin.long())).long()
    drawn = drawn + (drawn >= low)
    return torch.where(twin, drawn, drawn + (drawn >= high))


@dataclass
class Batch:
    """x0 (B, L) ids, `targets` (B, L) ids, `inputs` (B, L) ids, `weight` (B, L) bool: where the loss counts.

    `corrupted`, `kept` (B, L) bool, or None: visible tokens that are wrong, and those that are right, where what is
    visible is learned too.
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    corrupted: Tensor | None = None
    kept: Tensor | None = None


class Batches:
    """The stream of batches: `batches(step)` is the same for the same config, whatever was asked before."""

    def __init__(self, config: TrainConfig):
        self.config, self.tokenizer = config, build_tokenizer()
        self.answer_id = self.tokenizer.convert_tokens_to_ids(ANSWER)
        self.equals_id = self.tokenizer.convert_tokens_to_ids("=")
        self.pool_index, self.pool = -1, []

    def _rows(self, pool_index: int) -> list[list[int]]:
        """Make POOL * rows encoded texts, sorted by length."""
        if self.config.context:
            most = self._most(pool_index)
            return [self._packed(row, most) for row in self._seeds(pool_index)]
        return sorted(encode_texts(self.tokenizer, self._drawn(pool_index)), key=len)

    def _seeds(self, pool_index: int) -> range:
        n = POOL * self.config.rows
        first = (self.config.seed << 40) + pool_index * n
        return range(first, first + n)

    def _most(self, pool_index: int) -> int:
        return int(value_at(self.config.max_equations, pool_index * POOL))

    def _drawn(self, pool_index: int) -> list[Problem]:
        most = self._most(pool_index)
        return [self.problem(seed, most) for seed in self._seeds(pool_index)]

    def _part(self, step: int) -> slice:
        """Say which rows of its pool a step reads."""
        shuffle = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step // POOL)
        part = int(torch.randperm(POOL, generator=shuffle)[step % POOL])
        return slice(part * self.config.rows, (part + 1) * self.config.rows)

    def problems(self, pool_index: int) -> list[list[Problem]]:
        """List what the `POOL` steps of a pool read, a list of problems a step: none where equations are drilled.

        Raises `ValueError` for packed rows.
        """
        if self.config.context:
            raise ValueError(f"context={self.config.context}: rows of many problems, some cut")
        drawn = self._drawn(pool_index)
        lengths = [*map(len, encode_texts(self.tokenizer, drawn))]
        by_length = [drawn[i] for i in sorted(range(len(drawn)), key=lengths.__getitem__)]
        steps = range(pool_index * POOL, (pool_index + 1) * POOL)
        return [by_length[self._part(i)] if i >= self.config.drill_steps else [] for i in steps]

    def problem(self, seed: int, most: int) -> Problem:
        """Make the problem of a seed: as the splits are drawn, or, with fewer than 5 equations allowed, every number
        of equations up to `most` equally often."""
        steps = None if most == len(STEP_WEIGHTS) else 1 + seed % most
        return make_problem(seed, steps=steps, rule=self.config.split_rule or None)

    def _packed(self, row: int, most: int) -> list[int]:
        """Join problems until `context` tokens are full; no text is shorter than 16 tokens, so seeds never overlap."""
        seeds, ids = itertools.count(row * self.config.context), []
        while len(ids) < self.config.context:
            ids += encode_texts(self.tokenizer, [self.problem(next(seeds), most)])[0]
        return ids[: self.config.context]

    def __call__(self, step: int) -> Batch:
        config, tokenizer = self.config, self.tokenizer
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        if step < config.drill_steps:
            x0, masked = drill(config.rows, config.drill_equations, generator=generator)
            if config.attention_at(step) == "causal":
                return Batch(x0[:, :-1], x0[:, 1:], masked[:, 1:])
            return Batch(torch.where(masked, tokenizer.mask_token_id, x0), x0, masked)
        if step // POOL != self.pool_index:
            self.pool_index, self.pool = step // POOL, self._rows(step // POOL)
        rows = self.pool[self._part(step)]
        # A tail of end marks, sometimes long: at sampling time the answer region is longer than the answer.
        extra = 16 * int(torch.multinomial(torch.tensor([0.8, 0.1, 0.1]), 1, generator=generator))
        causal = config.attention_at(step) == "causal"
        if causal or config.context:  # the twin never reads past its first end mark
            extra = 0
        rounded = math.ceil((len(rows[-1]) + extra) / config.multiple) * config.multiple
        L = config.context or min(rounded, config.max_sequence_length)
        x0 = torch.full((len(rows), L), tokenizer.eos_token_id)
        for i, row in enumerate(rows):
            x0[i, : len(row)] = torch.tensor(row)
        x0 = x0[torch.randperm(len(rows), generator=generator)]  # times are a grid over rows: not tied to length
        if causal:
            return self._next_token(x0)
        return self._masked(x0, step, generator)

    def _next_token(self, x0: Tensor) -> Batch:
        ends, starts = (x0 == self.tokenizer.eos_token_id).cumsum(1), (x0 == self.tokenizer.bos_token_id).cumsum(1)
        weight = ends[:, 1:] <= starts[:, 1:]  # the end mark of each problem counts, the padding after it does not
        return Batch(x0[:, :-1], x0[:, 1:], weight)

    def _masked(self, x0: Tensor, step: int, generator: torch.Generator) -> Batch:
        config, B = self.config, len(x0)
        answer_only, suffix, salient = (value_at(p, step) for p in (config.answer_only, config.suffix, config.salient))
        started, answered = ((x0 == id).cumsum(1) for id in (self.tokenizer.bos_token_id, self.answer_id))  # (B, L)
        is_answer = (answered == started) & (x0 != self.answer_id)  # from the answer mark to the next problem
        only_answer = (torch.rand(B, generator=generator) < answer_only)[:, None]
        fixed = (x0 == self.tokenizer.bos_token_id) | (x0 == self.answer_id)
        maskable = torch.where(only_answer, is_answer, ~fixed)
        t = low_discrepancy_times(B, generator=generator)
        if size := config.block_at(step):
            masked = self._block_masks(x0, maskable, size, generator)
        else:
            _, masked = forward_process(x0, t, self.tokenizer.mask_token_id, maskable=maskable, generator=generator)
        weight = masked
        if suffix or salient:
            masked, weight = self._structured(x0, masked, t, is_answer, only_answer, suffix, salient, generator)
        batch = Batch(torch.where(masked, self.tokenizer.mask_token_id, x0), x0, weight)
        share = value_at(config.corrupt, step)
        return self._corrupted(batch, maskable & ~masked, share, generator) if share else batch

    def _structured(self, x0, masked, t, is_answer, only_answer, suffix, salient, generator) -> tuple[Tensor, Tensor]:
        """Mask some rows from a point to the end, or results of equations, instead; returns what is masked and what of
        it counts, (B, L) bool each."""
        config, B = self.config, len(x0)
        u = torch.rand(B, generator=generator)[:, None]
        from_the_end, results = (u < suffix) & only_answer, (u >= suffix) & (u < suffix + salient) & only_answer
        masked = torch.where(from_the_end, self._tail(x0, is_answer, t), masked)
        if salient:
            masked = torch.where(results, self._results(x0, is_answer, t, generator), masked)
        if config.reach:
            return masked, masked & ((masked.cumsum(1) <= config.reach) | ~from_the_end)
        return masked, masked

    def _block_masks(self, x0: Tensor, maskable: Tensor, size: int, generator: torch.Generator) -> Tensor:
        """Mask every block of every row at a time of its own, (B, L) bool. Times are a grid over all blocks."""
        (B, L), more = x0.shape, -x0.shape[1] % size
        pieces, open = (F.pad(x, (0, more)).view(-1, size) for x in (x0, maskable))  # (B * blocks, size)
        t = low_discrepancy_times(len(pieces), generator=generator)
        t = t[torch.randperm(len(t), generator=generator)]  # else a place in the text would have its times
        _, masked = forward_process(pieces, t, self.tokenizer.mask_token_id, maskable=open, generator=generator)
        return masked.view(B, -1)[:, :L]

    def _corrupted(self, batch: Batch, visible: Tensor, share: float, generator: torch.Generator) -> Batch:
        """Replace a share of the `visible` (B, L) tokens by wrong ones."""
        wrong = visible & (torch.rand(visible.shape, generator=generator) < share)
        other = wrong_tokens(batch.targets, self.tokenizer.mask_token_id, len(self.tokenizer), generator=generator)
        inputs = torch.where(wrong, other, batch.inputs)
        return Batch(inputs, batch.targets, batch.weight, wrong, visible & ~wrong)

    def _tail(self, x0: Tensor, is_answer: Tensor, t: Tensor) -> Tensor:
        """Mark the last part of each answer and all that follows it: everything at t = 1, (B, L) bool."""
        answer_at = (x0 == self.answer_id).int().argmax(1)  # (B,)
        length = (is_answer & (x0 != self.tokenizer.eos_token_id)).sum(1) + 1  # (B,), with one end mark
        cut = answer_at + 1 + ((1 - t) * length).long()
        return torch.arange(x0.shape[1])[None] >= cut[:, None]

    def _results(self, x0: Tensor, is_answer: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """Mark each result of an equation with probability t, at least one, and its later copies, (B, L) bool."""
        result = F.pad(x0 == self.equals_id, (1, 0))[:, :-1] & is_answer
        draw = torch.rand(x0.shape, generator=generator).masked_fill(~result, torch.inf)
        chosen = (draw < t[:, None]) | (draw == draw.amin(1, keepdim=True)) & result
        copies = (x0[:, :, None] == x0[:, None]) & chosen[:, None]  # (B, L, L): does l hold the token chosen at k?
        return copies.tril().any(2) & is_answer
