"""The training loop behind `python -m dlmlab train`.

Decisions
* Every batch is a function of `(config.seed, step)`: fresh problems each step, and a run that was killed and resumed
  gives the same weights.
* Rows of like length share a batch (a pool of `POOL` batches is sorted), and lengths are rounded up to multiples of
  16: little padding, few shapes to compile. With `context`, a row is problem after problem, cut at that length, and
  every token sees the others of its row: the usual packing of language-model training.
* Objective: mean cross-entropy over masked tokens (`full` attention) or over next tokens (`causal`). Not the
  1/t-weighted bound: its gradient is noisier.
* Muon (Jordan et al. 2024, `torch.optim.Muon`) on the matrices of the blocks, AdamW on embedding, head and norms,
  linear decay to zero.
* Data parallel: every process makes the global batch and takes its rows; the loss is divided by the global token
  count, so 1 and N processes agree.
"""

import itertools
import json
import math
import os
import time
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from dlmlab.model import LLaDAConfig, LLaDAModelLM, count_parameters
from dlmlab.noise import forward_process, low_discrepancy_times
from dlmlab.tasks import Problem, make_problem
from dlmlab.tokenizer import ANSWER, build_tokenizer, save_tokenizer

POOL = 8
Plan = tuple[tuple[int, float], ...]
PLANS = ("answer_only", "suffix", "lr_plan")


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Lengths in tokens, times in seconds, `rows` is the global batch."""

    name: str
    attention: str = "full"
    d_model: int = 192
    n_heads: int = 6
    n_layers: int = 6
    mlp_hidden_size: int = 512
    max_sequence_length: int = 96
    context: int = 0  # 0: one problem a row; else problems packed into rows of this many tokens
    tokens: int = 30_000_000
    rows: int = 64
    lr: float = 3e-3
    lr_rest: float = 3e-3
    weight_decay: float = 0.1
    warmup: int = 100
    clip: float = 1.0
    # Shares, as (from step, share): rows that mask only the answer; of these, rows masked from a point to the end.
    answer_only: Plan = ((0, 0.7),)
    suffix: Plan = ((0, 0.0),)
    lr_plan: Plan = ()  # (tokens, factor) joined by straight lines; empty: from 1 to 0 over all tokens
    seed: int = 0
    optimizer: str = "muon"  # or "adamw"
    compile: bool = True
    bf16: bool = True
    threads: int = 2
    device: str = "cpu"
    log_every: int = 20
    save_every: float = 60.0
    eval_every: int = 2_000

    def __post_init__(self) -> None:
        if not 0 <= self.context <= self.max_sequence_length:
            raise ValueError(f"context={self.context} must lie in 0..{self.max_sequence_length} (max_sequence_length)")
        if self.context and any(share for _, share in self.suffix):
            raise ValueError("suffix masking is defined for one problem a row: leave it out or set context = 0")

    @classmethod
    def read(cls, path: str | Path) -> "TrainConfig":
        """Read a TOML file. Raises `ValueError` naming unknown keys and the known ones."""
        values = tomllib.loads(Path(path).read_text())
        known = {f.name for f in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise ValueError(f"{path}: unknown keys {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        plans = {k: tuple((int(start), float(value)) for start, value in values[k]) for k in PLANS if k in values}
        return cls(**(values | plans))


# ------------------------------------------------------------------------------------------------ data


@dataclass
class Batch:
    """x0 (B, L) ids, `targets` (B, L) ids, `inputs` (B, L) ids, `weight` (B, L) bool: where the loss counts."""

    inputs: Tensor
    targets: Tensor
    weight: Tensor


class Batches:
    """The stream of batches: `batches(step)` is the same for the same config, whatever was asked before."""

    def __init__(self, config: TrainConfig):
        self.config, self.tokenizer = config, build_tokenizer()
        self.answer_id = self.tokenizer.convert_tokens_to_ids(ANSWER)
        self.pool_index, self.pool = -1, []

    def _rows(self, pool_index: int) -> list[list[int]]:
        """Make POOL * rows encoded texts, sorted by length."""
        n = POOL * self.config.rows
        first = (self.config.seed << 40) + pool_index * n
        if self.config.context:
            return [self._packed(first + i) for i in range(n)]
        return sorted(self.encode([make_problem(first + i) for i in range(n)]), key=len)

    def encode(self, problems: list[Problem]) -> list[list[int]]:
        """Tokenize whole texts: start, question, answer mark, solution, end mark."""
        texts = [f"<|startoftext|>{p.question}<|answer|>{p.solution}<|endoftext|>" for p in problems]
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"]

    def _packed(self, row: int) -> list[int]:
        """Join problems until `context` tokens are full; no text is shorter than 16 tokens, so seeds never overlap."""
        seeds, ids = itertools.count(row * self.config.context), []
        while len(ids) < self.config.context:
            ids += self.encode([make_problem(next(seeds))])[0]
        return ids[: self.config.context]

    def __call__(self, step: int) -> Batch:
        config, tokenizer = self.config, self.tokenizer
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        if step // POOL != self.pool_index:
            self.pool_index, self.pool = step // POOL, self._rows(step // POOL)
        shuffle = torch.Generator().manual_seed(config.seed * 1_000_003 + step // POOL)
        part = int(torch.randperm(POOL, generator=shuffle)[step % POOL])
        rows = self.pool[part * config.rows : (part + 1) * config.rows]
        # A tail of end marks, sometimes long: at sampling time the answer region is longer than the answer.
        extra = 16 * int(torch.multinomial(torch.tensor([0.8, 0.1, 0.1]), 1, generator=generator))
        if config.attention == "causal" or config.context:  # the twin never reads past its first end mark
            extra = 0
        L = config.context or min(math.ceil((len(rows[-1]) + extra) / 16) * 16, config.max_sequence_length)
        x0 = torch.full((len(rows), L), tokenizer.eos_token_id)
        for i, row in enumerate(rows):
            x0[i, : len(row)] = torch.tensor(row)
        order = torch.randperm(
            len(rows), generator=generator
        )  # times are a grid over rows: break their tie with length
        x0 = x0[order]
        if config.attention == "causal":
            return self._next_token(x0)
        return self._masked(x0, at(config.answer_only, step), at(config.suffix, step), generator)

    def _next_token(self, x0: Tensor) -> Batch:
        ends, starts = (x0 == self.tokenizer.eos_token_id).cumsum(1), (x0 == self.tokenizer.bos_token_id).cumsum(1)
        weight = ends[:, 1:] <= starts[:, 1:]  # the end mark of each problem counts, the padding after it does not
        return Batch(x0[:, :-1], x0[:, 1:], weight)

    def _masked(self, x0: Tensor, answer_only: float, suffix: float, generator: torch.Generator) -> Batch:
        B = len(x0)
        answer_at = (x0 == self.answer_id).int().argmax(1)  # (B,)
        started, answered = ((x0 == id).cumsum(1) for id in (self.tokenizer.bos_token_id, self.answer_id))  # (B, L)
        is_answer = (answered == started) & (x0 != self.answer_id)  # from the answer mark to the next problem
        only_answer = (torch.rand(B, generator=generator) < answer_only)[:, None]
        fixed = (x0 == self.tokenizer.bos_token_id) | (x0 == self.answer_id)
        maskable = torch.where(only_answer, is_answer, ~fixed)
        t = low_discrepancy_times(B, generator=generator)
        xt, masked = forward_process(x0, t, self.tokenizer.mask_token_id, maskable=maskable, generator=generator)
        if suffix > 0:
            length = (is_answer & (x0 != self.tokenizer.eos_token_id)).sum(1) + 1  # (B,), with one end mark
            cut = answer_at + 1 + ((1 - t) * length).long()
            tail = torch.arange(x0.shape[1])[None] >= cut[:, None]
            from_the_end = (torch.rand(B, generator=generator) < suffix)[:, None] & only_answer
            masked = torch.where(from_the_end, tail, masked)
            xt = torch.where(masked, self.tokenizer.mask_token_id, x0)
        return Batch(xt, x0, masked)


# ------------------------------------------------------------------------------------------------ optimizer


def build_model(config: TrainConfig) -> LLaDAModelLM:
    """Make the untrained model of a run; the same seed gives the same weights."""
    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return LLaDAModelLM(
            LLaDAConfig(
                d_model=config.d_model,
                n_heads=config.n_heads,
                n_layers=config.n_layers,
                mlp_hidden_size=config.mlp_hidden_size,
                max_sequence_length=config.max_sequence_length,
                vocab_size=len(tokenizer),
                attention=config.attention,
                mask_token_id=tokenizer.mask_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=tokenizer.bos_token_id,
            )
        )


def build_optimizers(model: LLaDAModelLM, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks and AdamW for the rest, or AdamW for all."""
    blocks = [p for p in model.model.transformer["blocks"].parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is q for q in blocks)]
    if config.optimizer == "adamw":
        groups = [{"params": blocks, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return [torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95))]
    if config.optimizer != "muon":
        raise ValueError(f"optimizer={config.optimizer!r} is unknown; known: muon, adamw")
    if not hasattr(torch.optim, "Muon"):
        raise RuntimeError(f"torch {torch.__version__} has no Muon; take torch 2.9 or newer, or optimizer = 'adamw'")
    return [
        torch.optim.Muon(blocks, lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=config.lr_rest, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def at(plan: Plan, step: int) -> float:
    """Look up the value of a plan in steps: that of the last entry that has begun."""
    return [value for start, value in plan if start <= step][-1]


def schedule(tokens_seen: int, step: int, config: TrainConfig) -> float:
    """Learning-rate factor: linear warm-up over steps, then straight lines over tokens (by default from 1 to 0)."""
    tokens, factors = zip(*(config.lr_plan or ((0, 1.0), (config.tokens, 0.0))), strict=True)
    return min((step + 1) / config.warmup, 1.0) * float(np.interp(tokens_seen, tokens, factors))


# ------------------------------------------------------------------------------------------------ the loop


@dataclass
class Workers:
    """The processes of a run: `rank` of `size`; one process needs no launcher, `torchrun` sets the environment for
    more."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str) -> "Workers":
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())


class Run:
    """One training run: weights, optimizers, counters and the log."""

    def __init__(self, config: TrainConfig, out: str | Path):
        self.config, self.out = config, Path(out)
        if config.rows % int(os.environ.get("WORLD_SIZE", "1")):
            raise ValueError(f"rows={config.rows} does not divide among {os.environ['WORLD_SIZE']} processes")
        torch.set_num_threads(config.threads)
        self.workers = Workers.join(config.device)
        self.model = build_model(config).to(config.device).train()
        self.optimizers = build_optimizers(self.model, config)
        self.base_lr = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.batches = Batches(config)
        self.step, self.tokens, self.seconds, self.log = 0, 0, 0.0, []
        forward = torch.compile(self.model, dynamic=False) if config.compile else self.model
        self.forward = forward
        if self.workers.size > 1:
            self.forward = torch.nn.parallel.DistributedDataParallel(forward)

    @property
    def state_path(self) -> Path:
        return self.out / "state.pt"

    def save(self) -> None:
        """Write the whole state; a kill while writing leaves the previous one."""
        if self.workers.rank:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        state = {
            "config": asdict(self.config),
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "counters": {"step": self.step, "tokens": self.tokens, "seconds": self.seconds},
            "log": self.log,
        }
        part = self.state_path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.state_path)

    def resume(self) -> bool:
        """Go on from the saved state, if there is one. Raises `ValueError` when it belongs to another recipe."""
        if not self.state_path.exists():
            return False
        state = torch.load(self.state_path, map_location=self.config.device, weights_only=True)
        free = {"save_every", "eval_every", "log_every", "threads", "device"}  # these change no weight on purpose
        other = {k for k, v in asdict(self.config).items() if state["config"].get(k) != v} - free
        if other:
            raise ValueError(
                f"{self.state_path} was made with other values of {', '.join(sorted(other))}; "
                "give another --out or delete it"
            )
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.tokens, self.seconds = (state["counters"][k] for k in ("step", "tokens", "seconds"))
        self.log = state["log"]
        return True

    def train_step(self) -> Tensor:
        """Take one optimizer step and return the summed loss and count of this process, (2,)."""
        config, workers = self.config, self.workers
        batch = self.batches(self.step)
        count = max(int(batch.weight.sum()), 1)  # of the global batch
        mine = slice(workers.rank, None, workers.size)
        inputs, targets, weight = (x[mine].to(config.device) for x in (batch.inputs, batch.targets, batch.weight))
        device_type = torch.device(config.device).type
        with torch.autocast(device_type, torch.bfloat16) if config.bf16 else nullcontext():
            logits = self.forward(inputs).logits
        loss = F.cross_entropy(logits[weight], targets[weight], reduction="sum")
        (loss * workers.size / count).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        factor = schedule(self.tokens, self.step, config)
        for optimizer, base in zip(self.optimizers, self.base_lr, strict=True):
            for group, lr in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = lr * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += batch.targets.numel()
        return torch.stack([loss.detach().cpu(), torch.tensor(float(weight.sum()))])

    def run(
        self, *, stop_after: int | None = None, evaluate: Callable[[LLaDAModelLM], dict] | None = None, say=print
    ) -> LLaDAModelLM:
        """Train until the token budget is spent (or `stop_after` steps), saving as it goes; returns the model.

        `evaluate(model) -> dict` is called every `eval_every` steps and at the end; its numbers go into the log.
        """
        config, chief = self.config, self.workers.rank == 0
        sums, since, saved = torch.zeros(2), time.perf_counter(), time.perf_counter()
        first_tokens = self.tokens
        while self.tokens < config.tokens and (stop_after is None or self.step < stop_after):
            sums += self.train_step()
            done = self.tokens >= config.tokens
            if self.step % config.log_every == 0 or done:
                now = time.perf_counter()
                self.seconds, speed = self.seconds + now - since, (self.tokens - first_tokens) / (now - since)
                since, first_tokens = now, self.tokens
                if self.workers.size > 1:
                    dist.all_reduce(sums)
                entry = {
                    "step": self.step,
                    "tokens": self.tokens,
                    "seconds": round(self.seconds, 1),
                    "loss": round(float(sums[0] / sums[1]), 5),
                }
                sums = torch.zeros(2)
                if evaluate and chief and (self.step % config.eval_every == 0 or done):
                    self.model.eval()
                    entry |= evaluate(self.model)
                    self.model.train()
                    since = time.perf_counter()  # evaluation is not training time
                self.log.append(entry)
                if chief:
                    left = (config.tokens - self.tokens) / speed / 60
                    extra = "".join(
                        f" · {k} {v:.3f}" for k, v in entry.items() if k not in ("step", "tokens", "seconds", "loss")
                    )
                    say(
                        f"{config.name} · step {self.step} · {self.tokens / 1e6:.2f} M tokens · "
                        f"loss {entry['loss']:.4f} · {speed:,.0f} tokens/s · {left:.1f} min left{extra}"
                    )
                if time.perf_counter() - saved > config.save_every:
                    self.save()
                    saved = time.perf_counter()
        self.save()
        return self.model.eval()

    def export(self, folder: str | Path) -> None:
        """Write the model as safetensors with its tokenizer, the log as JSON lines and the loss curve."""
        if self.workers.rank:
            return
        folder = Path(folder)
        self.model.save_pretrained(folder)
        save_tokenizer(folder)
        (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in self.log))
        plot_log(self.log, self.config.name, folder / "loss.png")


def plot_log(log: list[dict], name: str, path: Path) -> None:
    """Draw the training loss, and the exact match where it was measured, against tokens."""
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    fig = Figure(figsize=(6, 3.2), dpi=100, layout="constrained")
    ax = fig.add_subplot(
        xlabel="tokens seen (millions)", ylabel="training loss (nats / predicted token)", title=name, yscale="log"
    )
    ax.plot([e["tokens"] / 1e6 for e in log], [e["loss"] for e in log], lw=1, label="training loss")
    seen = [(e["tokens"] / 1e6, e["exact_match"]) for e in log if "exact_match" in e]
    if seen:
        right = ax.twinx()
        right.plot(*zip(*seen, strict=True), "o--", color="C1", label="exact match, validation")
        right.set(ylim=(0, 1.02), ylabel="exact match (validation)")
    fig.savefig(path)


def describe(config: TrainConfig) -> str:
    """Say in one line what a run is."""
    n = count_parameters(build_model(config))
    budget = f"{config.tokens / 1e6:.0f} M tokens, {config.rows} rows a step, {config.optimizer}"
    return f"{config.name}: {n:,} parameters, {config.attention} attention, {budget}"
