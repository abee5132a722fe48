"""What a GPU changes, checked on one: precision, every method, an 8B-sized model block by block, tokens a second.

    python tools/gpu_check.py                                  on cuda, with blocks as wide as those of LLaDA-8B
    python tools/gpu_check.py --device cpu --size tiny         the same steps where there is no GPU (a test runs this)

Each line is one check: what was compared, the number, and whether it is within its bound. The exit status is the number
of checks that failed. Weights of the wide model are random, so it shows memory and time, not answers; give
`--checkpoint FOLDER` to decode with real ones.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

import dlmlab as dl
from dlmlab import guard
from dlmlab.compress.calibration import CalibrationSet
from dlmlab.compress.pruning import Recipe
from dlmlab.compress.quant import quantize
from dlmlab.compress.registry import compress
from dlmlab.decode.run import decode, sampler_for
from dlmlab.network.codes import QSpec
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM

WIDE = {"d_model": 4096, "n_heads": 32, "n_layers": 4, "mlp_hidden_size": 12288, "vocab_size": 126464}
TINY = {"d_model": 64, "n_heads": 4, "n_layers": 2, "mlp_hidden_size": 96, "vocab_size": 400}
LAYERS = 32  # of the real model, for what is told of all of it
TEXTS, LENGTH = 8, 128  # of random tokens, that the wide model is calibrated on
PROBLEMS = 50


@dataclass(frozen=True)
class Check:
    """One line: what was measured, its `value`, the largest one allowed (None: nothing to fail), and its `unit`."""

    name: str
    value: float
    most: float | None = None
    unit: str = ""

    @property
    def failed(self) -> bool:
        return self.most is not None and not self.value <= self.most  # NaN fails

    def __str__(self) -> str:
        verdict = "" if self.most is None else f"  {'FAILED' if self.failed else 'ok'} (at most {self.most:g})"
        return f"{self.name:60} {self.value:12.4g} {self.unit}{verdict}"


def logits_of(model, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(ids.to(model.device)).logits.float().cpu()


def precision(device: str) -> Iterator[Check]:
    """LLaDA-mini on the device against the CPU, in float32 and in bfloat16: logits, then answers."""
    reference, tokenizer = dl.load("llada-mini")
    problems = dl.tasks.load_split("test")[:PROBLEMS]
    ids = torch.randint(5, 300, (4, 80), generator=torch.Generator().manual_seed(0))
    right = logits_of(reference, ids)
    sampler = dl.Sampler(commit=dl.Threshold(0.9))
    for dtype, near, most in ((torch.float32, 1e-3, 0.02), (torch.bfloat16, 0.1, 0.1)):
        model, _ = dl.load("llada-mini", device=device, dtype=dtype)
        off = float((logits_of(model, ids) - right).norm() / right.norm())
        yield Check(f"{dtype}: relative error of the logits", off, near)
        found = dl.evaluate.accuracy(model, tokenizer, problems, sampler=sampler)
        wrong = 1 - found.correct.count("1") / len(problems)
        yield Check(f"{dtype}: share of {PROBLEMS} answers that are wrong", wrong, 0.06 + most)


def methods(device: str) -> Iterator[Check]:
    """Every method on the device against the same method on the CPU: how far the logits of the results are apart."""
    ids = torch.randint(5, 300, (4, 80), generator=torch.Generator().manual_seed(0))
    here, tokenizer = dl.load("llada-mini")
    there, _ = dl.load("llada-mini", device=device)
    texts = dl.methods.Texts(tokenizer, dl.calibration.calibration_problems(8))
    for name in dl.methods.names():
        a, b = (logits_of(dl.methods.apply(model, name, 0.5, texts=texts), ids) for model in (here, there))
        yield Check(f"prune {name}: relative distance of the logits", float((a - b).norm() / a.norm()), 0.1)
    for name in quantize.names():
        a, b = (logits_of(quantize.apply(model, name, texts=texts), ids) for model in (here, there))
        yield Check(f"quantize {name}: relative distance of the logits", float((a - b).norm() / a.norm()), 0.1)


def random_model(size: dict) -> LLaDAModelLM:
    """Make a model with random weights in bfloat16, on the CPU."""
    torch.manual_seed(0)
    config = LLaDAConfig(**size, max_sequence_length=1024, mask_token_id=1, eos_token_id=2, pad_token_id=2)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        return LLaDAModelLM(config).eval()
    finally:
        torch.set_default_dtype(before)


def states(vocab: int) -> CalibrationSet:
    """Draw random texts, half of them masked: enough to see memory and time."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, vocab, (TEXTS, LENGTH), generator=generator)
    ids[torch.rand(ids.shape, generator=generator) < 0.5] = 1
    real = torch.ones_like(ids, dtype=torch.bool)
    return CalibrationSet(ids, real, torch.full((TEXTS,), 0.5), torch.arange(TEXTS), 1)


def blocks(device: str, size: dict) -> Iterator[Check]:
    """Compress a wide model that stays in host memory, one block at a time on the device: seconds and peak a block."""
    model, calib = random_model(size), states(size["vocab_size"])
    spec, recipe = QSpec(4, group=32), Recipe("sparsegpt", 0.5)
    one = sum(p.numel() * p.element_size() for p in dl.parts.blocks(model)[0].parameters())
    for name, options in (("wanda", Recipe("wanda", 0.5)), ("sparsegpt", recipe), ("gptq", spec)):
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
        start = time.perf_counter()
        small = compress(model, name, options, calib=calib, device=device)
        seconds = (time.perf_counter() - start) / size["n_layers"]
        whole = f"s; {LAYERS} take {LAYERS * seconds:.0f} s"
        yield Check(f"{name}, block by block: seconds a block", seconds, None, whole)
        if device.startswith("cuda"):
            peak = torch.cuda.max_memory_allocated(device)
            yield Check(f"{name}: peak on the device over the bytes of a block", peak / one, 24e9 / one, "x")
        changed = logits_of(small, calib.ids[:1])
        yield Check(f"{name}: share of logits that are not finite", float((~changed.isfinite()).float().mean()), 0.0)


def decoding(device: str, size: dict, checkpoint: str | None) -> Iterator[Check]:
    """Tokens a second of forwards over whole texts, and, with a checkpoint, an answer."""
    if checkpoint:
        model, tokenizer = dl.load(checkpoint, device=device, dtype=torch.bfloat16)
        message = [{"role": "user", "content": "What is 17 + 25?"}]
        prompt = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
        sampler = sampler_for(model.config, commit=dl.Threshold(0.9))
        out = decode(model, [list(prompt)], sampler=sampler, gen_length=64, generator=torch.Generator(device))
        print(tokenizer.decode(out.answers[0]))
        layers = model.config.n_layers
    else:
        model, layers = random_model(size).to(device), size["n_layers"]
    ids = torch.randint(5, size["vocab_size"], (1, LENGTH), generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        for _ in range(2):
            model(ids).logits.float().sum().item()
        start = time.perf_counter()
        for _ in range(5):
            model(ids).logits.float().sum().item()  # item() waits for the device
    forward = (time.perf_counter() - start) / 5
    yield Check(f"a forward of {LENGTH} tokens, {layers} layers", 1000 * forward, None, "ms")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=("8b", "tiny"), default="8b", help="how wide the blocks are")
    parser.add_argument("--only", nargs="+", choices=("precision", "methods", "blocks", "decoding"))
    parser.add_argument("--checkpoint", help="a folder or hub:owner/name to decode with")
    args = parser.parse_args(arguments)
    guard.device(args.device, "--device")
    size = WIDE if args.size == "8b" else TINY
    name = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else "CPU"
    print(f"{args.device} ({name}), torch {torch.__version__}, blocks of {size['d_model']} channels")
    parts = {
        "precision": lambda: precision(args.device),
        "methods": lambda: methods(args.device),
        "blocks": lambda: blocks(args.device, size),
        "decoding": lambda: decoding(args.device, size, args.checkpoint),
    }
    failed = 0
    for part in args.only or parts:
        for check in parts[part]():
            print(check, flush=True)
            failed += check.failed
    print(f"{failed} checks failed" if failed else "all checks passed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
