"""The training loop behind `python -m dlmlab train`.

Decisions
* A run is a function of its recipe: a run that was killed and resumed gives the same weights (`dlmlab.batches`).
* Objective: mean cross-entropy over masked tokens (`full` attention, and `block:K`, where each block reads the clean
  ones before it) or over next tokens (`causal`). Not the 1/t-weighted bound: its gradient is noisier. Where wrong
  tokens were put in, the means over these and over the ones left alone are added with their weights.
* Experts are kept at an even load by moving their biases after every step (`LLaDA2MoeModelLM.balance`).
* Muon (`dlmlab.muon`) on the matrices of the blocks, AdamW on embedding, head and norms, linear decay to zero.
* `bf16` asks for matrix products in bfloat16, and gets them where the machine has instructions for them; elsewhere
  they would be ten times slower than float32. What was used stands in every line of the log.
* Data parallel: every process makes the global batch and takes its rows; the loss is divided by the global token
  count, so 1 and N processes agree. `PartialState` of accelerate joins what a launcher started. Its `Accelerator` would
  also hand logits on as float32, which is another recipe: autocast stays here, where it is read.
* Where a model does not fit, `fsdp` cuts weights, gradients and the optimizers' state among the processes as well
  (`dlmlab.sharding`): the same steps, and the same state on disk. For judging, the first process then has a whole copy.
"""

import json
import os
import platform
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, reduce
from torch import Tensor

from dlmlab import guard
from dlmlab.network import parts
from dlmlab.network.checkpoint import load, save
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM, count_parameters
from dlmlab.network.moe import LLaDA2Config, LLaDA2MoeModelLM
from dlmlab.objective import sharding
from dlmlab.objective.batches import Batch, Batches, TrainConfig, build_tokenizer
from dlmlab.objective.confidence import right_entropy
from dlmlab.objective.muon import Muon

T = TypeVar("T")

# ------------------------------------------------------------------------------------------------ optimizer


def build_model(config: TrainConfig) -> LLaDAModelLM:
    """Make the model of a run before its first step; the same seed gives the same weights.

    With `start` they are those of a model that is there. Raises `ValueError` when the recipe describes another one.
    """
    tokenizer = build_tokenizer()
    made = _untrained(config, tokenizer)
    if config.start:
        first = load(config.start).model
        there = first.config.to_dict()
        names = {key for key, value in made.config.to_dict().items() if there.get(key) != value}
        if names := names - {"init_std", "architectures", "dtype", "transformers_version"}:
            raise ValueError(f"start={config.start!r} is another model than the recipe's: {', '.join(sorted(names))}")
        made.load_state_dict(first.state_dict())
    return made


def _untrained(config: TrainConfig, tokenizer) -> LLaDAModelLM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.family == "llada2_moe":
            return LLaDA2MoeModelLM(_config_with_experts(config, tokenizer))
        return LLaDAModelLM(
            LLaDAConfig(
                d_model=config.d_model,
                n_heads=config.n_heads,
                n_kv_heads=config.n_kv_heads or config.n_heads,
                n_layers=config.n_layers,
                mlp_hidden_size=config.mlp_hidden_size,
                max_sequence_length=config.max_sequence_length,
                attention=config.attention,
                **_vocabulary(tokenizer),
            )
        )


def _vocabulary(tokenizer) -> dict[str, int]:
    names = ("mask_token_id", "eos_token_id", "pad_token_id", "bos_token_id")
    return {"vocab_size": len(tokenizer)} | {name: getattr(tokenizer, name) for name in names}


def _config_with_experts(config: TrainConfig, tokenizer) -> LLaDA2Config:
    return LLaDA2Config(
        hidden_size=config.d_model,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads or config.n_heads,
        num_hidden_layers=config.n_layers,
        intermediate_size=config.mlp_hidden_size,
        moe_intermediate_size=config.expert_hidden_size,
        num_experts=config.experts,
        num_experts_per_tok=config.experts_per_token,
        num_shared_experts=1,
        n_group=config.expert_groups,
        topk_group=config.groups_per_token,
        first_k_dense_replace=config.dense_layers,
        max_position_embeddings=config.max_sequence_length,
        attention=config.attention,
        **_vocabulary(tokenizer),
    )


def build_optimizers(model: LLaDAModelLM, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks and AdamW for the rest, or AdamW for all."""
    blocks = [p for p in parts.blocks(model).parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is q for q in blocks)]
    if config.optimizer == "adamw":
        groups = [{"params": blocks, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        return [torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95))]
    return [
        Muon(blocks, lr=config.lr, weight_decay=config.weight_decay),
        torch.optim.AdamW(rest, lr=config.lr_rest, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(tokens_seen: int, step: int, config: TrainConfig) -> float:
    """Learning-rate factor: linear warm-up over steps, then straight lines over tokens (by default from 1 to 0)."""
    tokens, factors = zip(*(config.lr_plan or ((0, 1.0), (config.tokens, 0.0))), strict=True)
    return min((step + 1) / config.warmup, 1.0) * float(np.interp(tokens_seen, tokens, factors))


def multiplies_bf16(device: str) -> bool:
    """Say whether a device multiplies bfloat16 matrices with instructions of its own, so that it is worth using.

    `is_mkldnn_bf16_supported` alone is no answer on x86: it is true with AVX-512 alone, which has none.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def precision(config: TrainConfig) -> str:
    """Name the number format of the matrix products of a run on this machine."""
    return "bfloat16" if config.bf16 and multiplies_bf16(config.device) else "float32"


# ------------------------------------------------------------------------------------------------ one step


def rates(optimizers: list[torch.optim.Optimizer]) -> list[list[float]]:
    """Note the learning rate of every group, which `set_rates` scales."""
    return [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]


def set_rates(optimizers: list[torch.optim.Optimizer], base: list[list[float]], factor: float) -> None:
    """Set every learning rate to `factor` times its base."""
    for optimizer, lrs in zip(optimizers, base, strict=True):
        for group, lr in zip(optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr * factor


def learn(
    model: LLaDAModelLM,
    optimizers: list[torch.optim.Optimizer],
    batch: Batch,
    *,
    clip: float,
    forward: Callable | None = None,
    rank: int = 0,
    size: int = 1,
    bf16: bool = False,
    edits: tuple[float, float] = (0.0, 0.0),
    sharpen: float = 0.0,
    paired: bool = False,
    ready: Callable[[], None] | None = None,
    **how,
) -> Tensor:
    """Follow the gradient of one batch, at the rates that the optimizers have; return summed loss and count, (2,).

    The loss is the mean cross-entropy over the weighted positions; where the batch has wrong tokens, the means over
    these and over the ones left alone are added, times `edits`. The returned sum is that of the weighted positions.
    `sharpen`: weight of the entropy where the surest token is the right one (`dlmlab.confidence`), a mean over the
    weighted positions.
    `paired`: the model reads the clean text behind the noised one (`dlmlab.blockwise`). `rank`, `size`: of the
    processes that share the batch; each takes its rows and counts those of all. `forward`: the model as it is called
    (compiled, parallel). `ready` is called when the gradients are there. `how` goes to the model: which attention,
    which kernel.
    """
    count, mine = max(int(batch.weight.sum()), 1), slice(rank, None, size)
    inputs, targets, weight = (x[mine].to(model.device) for x in (batch.inputs, batch.targets, batch.weight))
    with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
        logits = (model if forward is None else forward)(inputs, **how | ({"clean": targets} if paired else {})).logits
    guess, truth = logits[weight], targets[weight]
    loss = F.cross_entropy(guess, truth, reduction="sum")
    total = loss * size / count
    if sharpen:
        total = total + sharpen * right_entropy(guess, truth).sum() * size / count
    for where, factor in zip((batch.corrupted, batch.kept), edits, strict=True):
        if where is not None and factor:
            here = where[mine].to(model.device)
            part = F.cross_entropy(logits[here], targets[here], reduction="sum")
            total = total + factor * part * size / max(int(where.sum()), 1)
    total.backward()
    if ready:
        ready()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return torch.stack([loss.detach().cpu(), torch.tensor(float(weight.sum()))])


# ------------------------------------------------------------------------------------------------ the loop


class OtherRecipe(ValueError):
    """A saved state belongs to another recipe; the message names the keys."""


class Run:
    """One training run: weights, optimizers, counters and the log. `fsdp`: weights are cut among the processes."""

    def __init__(self, config: TrainConfig, out: str | Path, *, fsdp: bool = False):
        self.config, self.out, self.fsdp = config, Path(out), fsdp
        if config.rows % (processes := int(os.environ.get("WORLD_SIZE", "1"))):
            raise ValueError(f"rows={config.rows} does not divide among {processes} processes")
        if fsdp and processes < 2:
            raise ValueError("fsdp cuts a model among processes, and this is the only one: start several with torchrun")
        guard.device(config.device)
        self.workers = PartialState(cpu=torch.device(config.device).type == "cpu")  # one process needs no launcher
        torch.set_num_threads(config.threads)
        self.model = build_model(config).train()
        if fsdp:
            sharding.shard(self.model, config.device, compile=config.compile)
        else:
            self.model.to(config.device)
        self.optimizers = build_optimizers(self.model, config)
        self.base_lr = rates(self.optimizers)
        self.kernel = "explicit"  # on a CPU its backward pass is twice as fast
        self.batches, self.precision = Batches(config), precision(config)
        self.step, self.tokens, self.seconds, self.log = 0, 0, 0.0, []
        self.sums = torch.zeros(2)  # loss and count since the last entry of the log
        forward = torch.compile(self.model, dynamic=False) if config.compile and not fsdp else self.model
        self.forward = forward
        if self.workers.num_processes > 1 and not fsdp:
            idle = config.family == "llada2_moe"  # an expert that read nothing has no gradient
            self.forward = torch.nn.parallel.DistributedDataParallel(forward, find_unused_parameters=idle)

    @property
    def state_path(self) -> Path:
        return self.out / "state.pt"

    def save(self) -> None:
        """Write the whole state; a kill or a full disk while writing leaves the previous one. Raises `OSError`."""
        chief = self.workers.is_main_process
        weights = sharding.gather(self.model.state_dict(), chief)
        optimizers = [sharding.gather(o.state_dict(), chief) for o in self.optimizers]
        if not chief:
            return
        state = {
            "config": asdict(self.config),
            "model": weights,
            "optimizers": optimizers,
            "counters": {"step": self.step, "tokens": self.tokens, "seconds": self.seconds},
            "sums": self.sums,
            "log": self.log,
        }
        part = self.state_path.with_suffix(".part")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            torch.save(state, part)
            os.replace(part, self.state_path)
        except (OSError, RuntimeError) as error:  # torch.save has its own class for a full disk
            with suppress(OSError):
                part.unlink()
            kept = "the state saved before is kept" if self.state_path.exists() else "nothing was saved before"
            reason = str(error).splitlines()[0]
            raise OSError(f"step {self.step} could not be saved in {self.out} ({reason}); {kept}") from error

    def resume(self) -> bool:
        """Go on from the saved state, if there is one. Raises `ValueError` when it is damaged or belongs to another
        recipe."""
        if not self.state_path.exists():
            return False
        try:
            with zipfile.ZipFile(self.state_path) as records:  # torch.load does not look at the checksums it wrote
                if bad := records.testzip():
                    raise ValueError(bad)
            where = "cpu" if self.fsdp else self.config.device  # whole, it may not fit there
            state = torch.load(self.state_path, map_location=where, weights_only=True, mmap=self.fsdp)
            counters = [state["counters"][k] for k in ("step", "tokens", "seconds")]
            self._check_recipe(state["config"])
            sharding.load_weights(self.model, state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                sharding.load_optimizer(optimizer, saved)
            self.log = state["log"]
            sums = state.get("sums", self.sums).cpu()  # an older state was saved where they are 0
        except OtherRecipe:
            raise
        except Exception as error:  # cut short, overwritten, of another program: torch.load has a class for each
            raise ValueError(
                f"{self.state_path} is damaged or no state of a run ({type(error).__name__}); "
                "delete it to begin again, or give another --out"
            ) from error
        self.step, self.tokens, self.seconds = counters
        if self.workers.is_main_process:  # the other processes have handed theirs over
            self.sums = sums
        return True

    def _check_recipe(self, saved: dict) -> None:
        free = {"save_every", "eval_every", "log_every", "threads", "device"}  # these change no weight on purpose
        saved = asdict(TrainConfig(name="default")) | saved  # an older state lacks options that were added since
        other = {k for k, v in asdict(self.config).items() if saved[k] != v} - free
        if other:
            raise OtherRecipe(
                f"{self.state_path} was made with other values of {', '.join(sorted(other))}; "
                "give another --out or delete it"
            )

    def train_step(self) -> Tensor:
        """Take one optimizer step and return the summed loss and count of this process, (2,)."""
        config, batch = self.config, self.batches(self.step)
        set_rates(self.optimizers, self.base_lr, schedule(self.tokens, self.step, config))
        sums = learn(
            self.model,
            self.optimizers,
            batch,
            clip=config.clip,
            forward=self.forward,
            rank=self.workers.process_index,
            size=self.workers.num_processes,
            bf16=self.precision == "bfloat16",
            attention=config.attention_at(self.step),
            kernel=self.kernel,
            edits=(config.corrupt_weight, config.kept_weight),
            sharpen=config.sharpen,
            paired=config.block_at(self.step) is not None,
            ready=self._forget_idle if self.fsdp and config.family == "llada2_moe" else None,
        )
        if config.family == "llada2_moe" and config.balance:
            self.model.balance(self._sum(self.model.loads()), config.balance)
        self.step += 1
        self.tokens += batch.targets.numel()
        return sums

    def _forget_idle(self) -> None:
        sharding.forget_idle(self.model, self._sum(self.model.loads()))

    def run(
        self,
        *,
        stop_after: int | None = None,
        evaluate: Callable[[LLaDAModelLM], dict] | None = None,
        say=print,
        stop: Callable[[], bool] = lambda: False,
    ) -> LLaDAModelLM:
        """Train until the token budget is spent (or `stop_after` steps), saving as it goes; returns the model.

        `evaluate(model) -> dict` is called every `eval_every` steps and at the end; its numbers go into the log.
        `stop()` is asked after every step; when it says so, the state is saved and the run can go on later.
        """
        config, saved = self.config, time.perf_counter()
        self.since = self.tokens, self.seconds  # for the speed
        while self.tokens < config.tokens and (stop_after is None or self.step < stop_after):
            start = time.perf_counter()
            self.sums += self.train_step()
            self.seconds += time.perf_counter() - start  # neither judging nor saving is training time
            done = self.tokens >= config.tokens
            stopped = self._any(stop()) and not done
            if self.step % config.log_every == 0 or done:
                due = not stopped and (self.step % config.eval_every == 0 or done)
                self._write_down(evaluate if due else None, say)
                if not stopped and self._any(time.perf_counter() - saved > config.save_every):
                    self.save()
                    saved = time.perf_counter()
            if stopped:
                break
        self._gather()
        self.save()
        return self.model.eval()

    def _any(self, wish: bool) -> bool:
        """Whether any process wishes: one that stopped or saved alone would leave the others waiting."""
        return bool(self._sum(torch.tensor(float(wish))))

    def as_the_first(self, compute: Callable[[], T]) -> T:
        """Compute something in the first process, and know it in all, which wait for it."""
        return broadcast_object_list([compute() if self.workers.is_main_process else None])[0]

    def _whole(self, device: str) -> LLaDAModelLM | None:
        """Return the model with all its weights, a copy on `device` where they are cut; then None but on the first
        process."""
        if not self.fsdp:
            return self.model
        weights = sharding.gather(self.model.state_dict(), self.workers.is_main_process)
        if not self.workers.is_main_process:
            return None
        with torch.device("meta"):
            model = _untrained(self.config, build_tokenizer())
        model.load_state_dict(weights, assign=True)
        return model.to(device)

    def _gather(self) -> None:
        """Bring the sums of all processes to the first one."""
        self.sums = self._sum(self.sums) * self.workers.is_main_process

    def _sum(self, values: Tensor) -> Tensor:
        """Add up the values of all processes, where they compute: NCCL knows no tensor of the CPU."""
        return reduce(values.to(self.workers.device), "sum").cpu()

    def _write_down(self, evaluate: Callable[[LLaDAModelLM], dict] | None, say: Callable[[str], None]) -> None:
        """Add an entry to the log, with what `evaluate` finds, and say it."""
        self._gather()
        model = self._whole(self.config.device) if evaluate else None
        if not self.workers.is_main_process:
            return
        loss, scores = round(float(self.sums[0] / self.sums[1]), 5), {}
        entry = {"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds, 1), "loss": loss}
        self.sums = torch.zeros(2)
        if evaluate:
            scores = evaluate(model.eval())
            self.model.train()
        self.log.append(entry | {"precision": self.precision} | scores)
        speed = (self.tokens - self.since[0]) / (self.seconds - self.since[1])
        self.since = self.tokens, self.seconds
        left = (self.config.tokens - self.tokens) / speed / 60
        say(
            f"{self.config.name} · step {self.step} · {self.tokens / 1e6:.2f} M tokens · "
            f"loss {loss:.4f} · {speed:,.0f} tokens/s · {left:.1f} min left"
            + "".join(f" · {k} {v:.3f}" for k, v in scores.items())
        )

    def export(self, folder: str | Path) -> None:
        """Write the model as safetensors with its tokenizer, the log as JSON lines and the loss curve."""
        model = self._whole("cpu")
        if not self.workers.is_main_process:
            return
        folder = Path(folder)
        save(model, build_tokenizer(), folder)
        lines = "".join(json.dumps(entry) + "\n" for entry in self.log)
        (folder / "log.jsonl").write_text(lines, encoding="utf-8", newline="\n")
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
    budget = f"{config.tokens / 1e6:.0f} M tokens, {config.rows} rows a step, {config.optimizer}, {precision(config)}"
    if config.bf16 and not multiplies_bf16(config.device):
        budget += " (no bfloat16 instructions here)"
    return f"{config.name}: {n:,} parameters, {config.attention} attention, {budget}"
