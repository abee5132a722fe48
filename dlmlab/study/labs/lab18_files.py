"""Lab 18: LLaDA-mini in files of other tools, read by other runtimes: bytes, what is said, and whether it is right.

Rows by `runtime`, `kind` of file and `how`. "ours" reads the weights of a GGUF file into our own model: what the file
alone changes. "llama.cpp" and "onnxruntime" run it with their own kernels.
* `bytes` of the file (ours: of its weights), `kinds`: tensors by how they are stored.
* `alike`: masked places with the same surest token as our model in float32, of `places`; `kl`: nats from our model to
  this, the mean over masked places, one number a problem; answers half masked, three draws.
* `correct`, `same`: one digit for each of the 500 test problems, decoded with the threshold: right, and the very text
  that our model writes in float32; `nfe`: forwards. Of the control whose rows are not re-ordered, the first 24.
Torch's int8 with eight bits for inputs was measured on a processor with AVX2 alone, the other rows on one with AMX.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from dlmlab.compress import gguffile
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure import difference, llamacpp, onnxfile
from dlmlab.measure.difference import Difference
from dlmlab.measure.evaluate import digits
from dlmlab.measure.lowbit import torch_dynamic_model
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network import cost
from dlmlab.network.checkpoint import load
from dlmlab.task import layout, tasks

Denoiser = Callable[[Tensor, Tensor | None], Tensor]
PROBLEMS, TEXTS, SEEDS, BATCH = 500, 64, (0, 1, 2), 50
FEW = 24  # problems asked of a model that says nothing sensible: it takes the most forwards
SAMPLER = Sampler(commit=Threshold(0.9))
PLAIN, RAW, EXACT, EIGHT = "as it is", "rows not re-ordered", "attention in float32", "eight bits for inputs"
WRITTEN = ("F32", "F16", "BF16", "Q8_0", "Q4_1", "Q4_0")  # by us; the others by llama.cpp
THEIRS = ("Q6_K", "Q4_K_M", "Q2_K")
mini = cache(lambda: load("llada-mini"))


# ------------------------------------------------------------------------------------------------ who reads


def file(folder: Path, kind: str, how: str = PLAIN) -> Path:
    """Write LLaDA-mini in one kind into a folder, by our module or by llama.cpp's own program."""
    model, path = mini().model, folder / f"{kind}.gguf"
    if kind in WRITTEN:
        return gguffile.write(model, path, kind, reorder=how != RAW)
    llamacpp.quantize(gguffile.write(model, folder / "F32.gguf"), path, kind)
    return path


def of_model(model) -> Denoiser:
    """Make a denoiser of one of our models."""
    return lambda ids, valid=None: model(ids, valid).logits.float()


@contextmanager
def opened(runtime: str, kind: str, how: str = PLAIN, threads: int = 1) -> Iterator[tuple[Denoiser, dict]]:
    """Open LLaDA-mini in one way: a denoiser, and what is known of the file."""
    model = mini().model
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        if runtime == "ours":
            kinds = Counter(gguffile.plan(model, kind).values())
            new = gguffile.held(model, kind, reorder=how != RAW)
            yield of_model(new), {"bytes": gguffile.size(model, kind), "kinds": dict(kinds)}
        elif runtime == "torch":
            if kind == "int8":  # its own count hides the codes: a byte for each weight of a linear layer
                new = torch_dynamic_model(model, reduce_range=how != EIGHT)
                codes = sum(layer.weight.numel() for layer in model.modules() if isinstance(layer, nn.Linear))
                size = cost.model_bytes(model) - 3 * codes  # embedding and norms stay in float32
            else:
                new = {"float32": model, "bfloat16": bfloat16()}[kind]
                size = cost.model_bytes(new)
            yield of_model(new), {"bytes": size}
        elif runtime == "onnxruntime":
            path = onnxfile.export(model, folder / "model.onnx")
            if kind == "int8":
                path = onnxfile.to_int8(path, folder / "int8.onnx")
            reader = onnxfile.Reader(path, threads=threads)
            yield onnxfile.unpadded(reader), {"bytes": path.stat().st_size}
        else:
            path = file(folder, kind, how)
            kinds = Counter(kind for kind, _ in gguffile.tensors(path).values())
            reader = llamacpp.Reader(path, vocab_size=model.config.embedding_size, threads=threads, flash=how != EXACT)
            try:
                yield onnxfile.unpadded(reader), {"bytes": path.stat().st_size, "kinds": dict(kinds)}
            finally:
                reader.close()


@cache
def bfloat16():
    """LLaDA-mini in two bytes a weight."""
    return load("llada-mini", dtype=torch.bfloat16).model


# ------------------------------------------------------------------------------------------------ what it says


@cache
def half_masked(seed: int, size: int) -> list[tuple[Tensor, Tensor]]:
    """Take test problems with half of their answer's places masked, drawn with the seed: ids (1, L), masked (L,)."""
    _, tokenizer = mini()
    g, found = torch.Generator().manual_seed(seed), []
    for problem in tasks.load_split("test")[:size]:
        prompt = layout.encode_prompt(tokenizer, problem.question)
        answer = tokenizer(problem.solution, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        ids, hidden = torch.tensor([prompt + answer]), torch.zeros(len(prompt) + len(answer), dtype=torch.bool)
        hidden[len(prompt) + torch.randperm(len(answer), generator=g)[: (len(answer) + 1) // 2]] = True
        ids[0, hidden] = tokenizer.mask_token_id
        found.append((ids, hidden))
    return found


@cache
def wanted(seed: int, size: int) -> list[Tensor]:
    """Give our model's log-probabilities in float32 at the masked places of each of these, (masks, V)."""
    with torch.inference_mode():
        return [mini().model(ids).logits[0, hidden].log_softmax(-1) for ids, hidden in half_masked(seed, size)]


def compared(denoise: Denoiser, size: int) -> dict:
    """Compare what a denoiser says at masked places with our model in float32."""
    alike = places = 0
    kl = torch.zeros(size, dtype=torch.float64)
    for seed in SEEDS:
        for i, ((ids, hidden), want) in enumerate(zip(half_masked(seed, size), wanted(seed, size), strict=True)):
            got = denoise(ids, None)[0, hidden].log_softmax(-1)
            kl[i] += (want.exp() * (want - got)).sum(-1).double().mean() / len(SEEDS)
            alike, places = alike + int((want.argmax(-1) == got.argmax(-1)).sum()), places + len(want)
    return {"alike": alike, "places": places, "kl": [float(f"{v:.4g}") for v in kl.tolist()]}


def answered(denoise: Denoiser, size: int) -> tuple[list[str], list[int]]:
    """Answer the first test problems: texts and forwards."""
    _, tokenizer = mini()
    problems = tasks.load_split("test")[:size]
    prompts = [layout.encode_prompt(tokenizer, p.question) for p in problems]
    order, texts, nfe = sorted(range(size), key=lambda i: (len(prompts[i]), i)), [""] * size, [0] * size
    ends = {"mask_id": tokenizer.mask_token_id, "eos_id": tokenizer.eos_token_id, "gen_length": ANSWER_LENGTH}
    for start in range(0, size, BATCH):
        some = order[start : start + BATCH]
        out = sample(denoise, [prompts[i] for i in some], sampler=SAMPLER, **ends)
        for i, ids, n in zip(some, out.answers, out.trace.nfe, strict=True):
            texts[i], nfe[i] = layout.decode_answer(tokenizer, ids), n
    return texts, nfe


@cache
def ours(size: int) -> list[str]:
    """Give the texts that our model writes in float32."""
    return answered(of_model(mini().model), size)[0]


def run(runtime: str, kind: str, how: str = PLAIN, size: int | None = None) -> dict:
    """Measure one row; of fewer problems, what depends on all of them is left out."""
    n = size or (FEW if how == RAW else PROBLEMS)
    with opened(runtime, kind, how) as (denoise, found):
        found |= compared(denoise, size or TEXTS)
        texts, nfe = answered(denoise, n)
    problems = tasks.load_split("test")[:n]
    verdicts = [tasks.verify(p.question, text) for p, text in zip(problems, texts, strict=True)]
    right = [v.answer == p.answer for v, p in zip(verdicts, problems, strict=True)]
    found |= {"correct": digits(right), "same": digits(a == b for a, b in zip(texts, ours(n), strict=True))}
    if size:
        return {name: found[name] for name in ("kl", "correct", "same")}
    return found | {"nfe": round(sum(nfe) / len(nfe), 3)}


def settings() -> list[dict]:
    """List the rows."""
    mine = [("ours", kind, PLAIN) for kind in WRITTEN] + [("ours", "F32", RAW)]
    torch_ = [("torch", kind, PLAIN) for kind in ("bfloat16", "int8")] + [("torch", "int8", EIGHT)]
    onnx = [("onnxruntime", kind, PLAIN) for kind in ("float32", "int8")]
    cpp = [("llama.cpp", kind, PLAIN) for kind in (*WRITTEN, *THEIRS)] + [
        ("llama.cpp", "F32", how) for how in (RAW, EXACT)
    ]
    return [{"runtime": r, "kind": k, "how": h} for r, k, h in (*mine, *torch_, *onnx, *cpp)]


# ------------------------------------------------------------------------------------------------ what is read off


def name_of(row: dict) -> str:
    """Name a row as pages do."""
    return f"{row['runtime']}, {row['kind']}" + ("" if row["how"] == PLAIN else f", {row['how']}")


def less_float(rows: Sequence[dict], row: dict) -> Difference:
    """Points of exact match of a row less those of the float32 file read by our model, problems paired."""
    (base,) = select(rows, runtime="ours", kind="F32", how=PLAIN)
    n = len(row["correct"])
    return difference.between(row["correct"], base["correct"][:n]).times(100)


def changed(rows: Sequence[dict], row: dict) -> tuple[int, int, float]:
    """Count answers that are right here and wrong in float32, and those the other way round; p of the exact test that
    both are as likely (McNemar), 1 where none changed."""
    (base,) = select(rows, runtime="ours", kind="F32", how=PLAIN)
    pairs = Counter(zip(row["correct"], base["correct"], strict=False))
    won, lost = pairs["1", "0"], pairs["0", "1"]
    return won, lost, float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def stored_as(row: dict) -> str:
    """Say in which kinds the matrices of a file lie, the commonest first; "" where nothing is in few bits.

    >>> stored_as({"kinds": {"Q8_0": 1, "F32": 13, "Q4_0": 37, "Q3_K": 6}})
    '37 Q4_0, 6 Q3_K, 1 Q8_0'
    """
    kinds = {kind: n for kind, n in row.get("kinds", {}).items() if kind != "F32"}  # F32: the norms
    return ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items(), key=lambda one: -one[1]))


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {}
    for row in rows:
        name, n = name_of(row), len(row["correct"])
        found |= {f"{name}, bytes": row["bytes"], f"{name}, kl": sum(row["kl"]) / len(row["kl"])}
        found |= {f"{name}, alike": row["alike"], f"{name}, places": row["places"], f"{name}, forwards": row["nfe"]}
        found |= {f"{name}, right": row["correct"].count("1") / n, f"{name}, same": row["same"].count("1")}
        d = less_float(rows, row)
        found |= {f"{name}, points": d.mean, f"{name}, points, low": d.low, f"{name}, points, high": d.high}
        won, lost, p = changed(rows, row)
        found |= {f"{name}, points, word": d.word, f"{name}, won": won, f"{name}, lost": lost, f"{name}, p": p}
        found |= {f"{name}, stored as": stored_as(row), f"{name}, kl, most": max(row["kl"])}
    seven, eight = (select(rows, runtime="torch", kind="int8", how=how)[0]["correct"] for how in (PLAIN, EIGHT))
    more = difference.between(eight, seven).times(100)
    return found | difference.headlines("torch, int8, eight bits", {"less seven": more})


TABLE = Table(
    "18_files",
    settings,
    run,
    live=(
        {"runtime": "ours", "kind": "Q8_0", "how": PLAIN},
        {"runtime": "ours", "kind": "Q4_0", "how": PLAIN},
        {"runtime": "ours", "kind": "F32", "how": RAW},
    ),
    size=20,
    tolerance={"kl": (0.001, 0.1)},
    headlines=headlines,
)
