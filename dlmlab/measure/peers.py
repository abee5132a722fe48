"""Other libraries on one matrix: what they hold in memory and how far their products are off, where they are installed.

Decisions
* None of them is a dependency. One that is absent gives a sentence, one that fails gives its error: a comparison never
  stops a notebook.
* Weights only; the inputs stay in floating point. Bytes are those of the tensors that a layer holds, the parts of a
  composed tensor counted one by one.
* Libraries that only serve whole models on graphics cards are named and not run.

Source of the calls: the documentation of each library as of 2026 (torchao 0.18, bitsandbytes 0.50, optimum-quanto 0.2).
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata, util

import torch
from torch import Tensor, nn

Layer = Callable[[Tensor], tuple[Callable[[Tensor], Tensor], int]]  # W (R, C) -> (x -> x W^T, bytes held)
GROUP = 64


@dataclass(frozen=True)
class Peer:
    """A library by its `module`, the `package` that installs it, `kind` of quantization, and how it makes a layer; None
    where this machine cannot run one."""

    module: str
    package: str
    kind: str
    make: Layer | None = None


def held(tensor: Tensor) -> int:
    """Count the bytes of a tensor, of a composed one those of its parts."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return sum(held(getattr(tensor, name)) for name in names)
    return tensor.numel() * tensor.element_size()


def _linear(W: Tensor) -> nn.Sequential:
    linear = nn.Linear(W.shape[1], W.shape[0], bias=False)
    linear.weight = nn.Parameter(W.detach().clone(), requires_grad=False)
    return nn.Sequential(linear)


def _torchao(bits: int) -> Layer:
    def make(W: Tensor):
        api = import_module("torchao.quantization")
        config = api.Int8WeightOnlyConfig()
        if bits < 8:
            grain = import_module("torchao.quantization.granularity").PerGroup(GROUP)
            config = api.IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=grain)
        model = _linear(W)
        api.quantize_(model, config)
        return model, held(model[0].weight)

    return make


def _bitsandbytes(W: Tensor):
    api = import_module("bitsandbytes.functional")
    codes, state = api.quantize_4bit(W.detach().clone(), blocksize=GROUP, quant_type="nf4")
    new = api.dequantize_4bit(codes, state)
    return (lambda x: x @ new.T), held(codes) + held(state.absmax)


def _quanto(W: Tensor):
    api, model = import_module("optimum.quanto"), _linear(W)
    api.quantize(model, weights=api.qint4)
    api.freeze(model)
    return model, held(model[0].weight)


PEERS = (
    Peer("torchao", "torchao", "int8, one scale a row", _torchao(8)),
    Peer("torchao", "torchao", "int4, groups of 64", _torchao(4)),
    Peer("bitsandbytes", "bitsandbytes", "nf4, groups of 64", _bitsandbytes),
    Peer("optimum.quanto", "optimum-quanto", "int4, groups", _quanto),
    Peer("llmcompressor", "llmcompressor", "GPTQ, AWQ and others for serving with vLLM"),
    Peer("vllm", "vllm", "serving of packed checkpoints"),
)


def present(module: str) -> bool:
    """Say whether a module can be found, without importing it."""
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package of a submodule is absent
        return False


def compare(W: Tensor, x: Tensor, peers: tuple[Peer, ...] = PEERS) -> list[dict]:
    """Let every library quantize W (R, C) and multiply x (n, C): one row each, with `bytes` and the relative error of
    the output, or with what is missing. Nothing that a library says or raises gets out."""
    wanted, rows = x @ W.T, []
    for peer in peers:
        row = {"library": peer.package, "kind": peer.kind, "bytes": "", "output error": "", "note": ""}
        if not present(peer.module):
            row["note"] = f"not installed: pip install {peer.package}"
        elif peer.make is None:
            row["note"] = f"{_version(peer.package)}; it needs a graphics card and a whole model, not run here"
        else:
            row |= _measured(peer, W, x, wanted)
        rows.append(row)
    return rows


def _measured(peer: Peer, W: Tensor, x: Tensor, wanted: Tensor) -> dict:
    quiet = io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            warnings.simplefilter("ignore")
            layer, size = peer.make(W)
            with torch.no_grad():
                y = layer(x)
        error = float((y - wanted).square().sum() / wanted.square().sum())
        return {"bytes": f"{size:,}", "output error": f"{error:.1e}", "note": _version(peer.package)}
    except Exception as error:  # whatever a library does wrong is a row of the table
        return {"note": f"{_version(peer.package)}; did not run here: {type(error).__name__}"}
    finally:
        logging.disable(logging.NOTSET)


def _version(package: str) -> str:
    try:
        return f"version {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return "version unknown"
