"""Ways to hold and multiply one matrix in few bits on a CPU, each as its library offers it.

Decisions
* A way makes, of W (R, C), a function x (n, C) -> (n, R) and the number of bytes that it holds: those of the tensors,
  or of the file. What is derived from the weights at every call is not counted, what is kept is.
* Only torch is needed for some; the others are found where they are, and each says what to install. None is a
  dependency, and what one of them prints or warns about goes nowhere.
* The inputs are float32, and so are the results: a cast that a way needs is part of its time, as in a model.
* Weight-only ways multiply in floating point; the others round the inputs too, and multiply whole numbers.

Source of the calls: documentation of each library in November 2026 (torch 2.13, torchao 0.18, bitsandbytes 0.50,
optimum-quanto 0.2, onnxruntime 1.32).
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dlmlab.compress.quant import int8
from dlmlab.compress.quant.grids import quantize
from dlmlab.measure.onnxfile import Reader, quiet
from dlmlab.measure.peers import held, present
from dlmlab.network.codes import QSpec
from dlmlab.network.packed import pack_nibbles, unpack_nibbles

Made = tuple[Callable[[Tensor], Tensor], int]
GROUP = 32


@dataclass(frozen=True)
class Way:
    """How a matrix is held and multiplied: `weights` and `inputs` in words, the `modules` that it takes, the `pip`
    names that install them, and `make`."""

    make: Callable[[Tensor], Made]
    weights: str
    inputs: str = "float"
    modules: tuple[str, ...] = ()
    pip: str = ""

    @property
    def missing(self) -> str:
        """What to install, in one sentence; "" when all is there."""
        absent = [name for name in self.modules if not present(name)]
        return f"{', '.join(absent)} not installed: `pip install {self.pip}`" if absent else ""


def _layer(W: Tensor) -> nn.Sequential:
    linear = nn.Linear(W.shape[1], W.shape[0], bias=False)
    linear.weight = nn.Parameter(W.detach().clone(), requires_grad=False)
    return nn.Sequential(linear).eval()


def float32(W: Tensor) -> Made:
    """The baseline."""
    W = W.detach().clone()
    return (lambda x: nn.functional.linear(x, W)), held(W)


def bfloat16(W: Tensor) -> Made:
    """Two bytes a weight, and inputs rounded alike."""
    W = W.to(torch.bfloat16)
    return (lambda x: nn.functional.linear(x.to(torch.bfloat16), W).float()), held(W)


def int8_weights(W: Tensor) -> Made:
    """Int8 with a scale a row, torch's own kernel; inputs in bfloat16."""
    q = quantize(W, int8.WEIGHT)
    codes, scale = q.codes.to(torch.int8), q.scale.flatten().to(torch.bfloat16)
    kernel = torch.ops.aten._weight_int8pack_mm
    return (lambda x: kernel(x.to(torch.bfloat16), codes, scale).float()), held(codes) + held(scale)


def int4_weights(W: Tensor, group: int = GROUP) -> Made:
    """Int4 in groups, two bfloat16 a group, torch's own kernel; inputs in bfloat16."""
    q = quantize(W, QSpec(4, group=group, scale="fp32"))
    scale, zero = q.scale, q.zero.float()
    both = torch.stack([scale, scale * (8 - zero)], -1).transpose(0, 1).contiguous().to(torch.bfloat16)  # (C/g, R, 2)
    codes = torch.ops.aten._convert_weight_to_int4pack_for_cpu(q.codes, 1)
    kernel = torch.ops.aten._weight_int4pack_mm_for_cpu
    return (lambda x: kernel(x.to(torch.bfloat16), codes, group, both).float()), held(codes) + held(both)


def int8_both(W: Tensor, checked: bool = True) -> Made:
    """Int8 times int8: inputs are rounded token by token at every call. `checked`: torch's kernel is used only where it
    adds up right (`dlmlab.int8`); on processors without AVX512 it may not."""
    q = quantize(W, int8.WEIGHT)
    codes, scale = q.codes.to(torch.int8), q.scale.float().T  # (1, R)
    turned, product = codes.T, int8.int_mm if checked else torch._int_mm

    def multiply(x: Tensor) -> Tensor:
        step = x.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        return product((x / step).round().to(torch.int8), turned).float() * step * scale

    return multiply, held(codes) + held(scale)


def int4_both(W: Tensor) -> Made:
    """Int4 times int4 as a CPU can have it: codes are stored packed, inputs have fifteen levels, and both become int8
    before they are multiplied."""
    q = quantize(W, QSpec(4, symmetric=True, scale="fp32"))
    packed, scale, shape = pack_nibbles(q.codes + 8), q.scale.float().T, W.shape

    def multiply(x: Tensor) -> Tensor:
        step = x.abs().amax(1, keepdim=True).clamp(min=1e-12) / 7
        codes = (unpack_nibbles(packed, shape.numel()) - 8).to(torch.int8).view(shape)
        return torch._int_mm((x / step).round().to(torch.int8), codes.T).float() * step * scale

    return multiply, held(packed) + held(scale)


def torch_dynamic_model(model: nn.Module, reduce_range: bool = True) -> nn.Module:
    """Let torch's `quantize_dynamic` replace every linear layer: the oldest of them, and announced to go.

    Its layers round their inputs to seven bits, so that no processor's sum of two products overflows 16 bits
    (`reduce_range=True` in their `forward`). False gives eight, as layers before version 4 had them: on a processor
    without instructions for products of bytes that are added in 32 bits (VNNI), large sums may then be clipped.
    """
    with quiet():
        from torch.ao.nn.quantized.dynamic import Linear
        from torch.ao.quantization import quantize_dynamic

        new = quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    for layer in new.modules():
        if isinstance(layer, Linear) and not reduce_range:
            layer.version = 3
    return new


def torch_dynamic(W: Tensor) -> Made:
    """The same of one matrix."""
    return torch_dynamic_model(_layer(W)), W.numel() + 16  # its bytes are hidden: codes, a scale and a zero point


def _torchao(config: str, **options) -> Callable[[Tensor], Made]:
    def make(W: Tensor) -> Made:
        with quiet():
            import torchao.quantization as api
            from torchao.quantization.granularity import PerGroup

            if options:
                options_now = {"weight_dtype": torch.int4} | {options["group"]: PerGroup(GROUP)}
                made = getattr(api, config)(**options_now)
            else:
                made = getattr(api, config)()
            model = _layer(W)
            api.quantize_(model, made)
        return model, held(model[0].weight)

    return make


def _bnb8(W: Tensor) -> Made:
    with quiet():
        import bitsandbytes as bnb

        layer = bnb.nn.Linear8bitLt(W.shape[1], W.shape[0], bias=False, has_fp16_weights=False)
        layer.weight = bnb.nn.Int8Params(W.detach().clone(), requires_grad=False, has_fp16_weights=False)
        layer = layer.to("cpu")
        layer(torch.ones(1, W.shape[1]))
    return layer, W.numel() + 4 * W.shape[0]  # codes, and a float32 a row


def _bnb4(kind: str) -> Callable[[Tensor], Made]:
    def make(W: Tensor) -> Made:
        with quiet():
            import bitsandbytes as bnb

            layer = bnb.nn.Linear4bit(W.shape[1], W.shape[0], bias=False, quant_type=kind, compute_dtype=torch.float32)
            layer.weight = bnb.nn.Params4bit(W.detach().clone(), requires_grad=False, quant_type=kind)
            layer = layer.to("cpu")
            layer(torch.ones(1, W.shape[1]))
        return layer, W.numel() // 2 + W.numel() // 64 * 4  # codes, and a float32 for each block of 64

    return make


def _quanto(W: Tensor) -> Made:
    with quiet():
        import optimum.quanto as quanto

        model = _layer(W)
        quanto.quantize(model, weights=quanto.qint8)
        quanto.freeze(model)
    return model, held(model[0].weight)


def _onnx(kind: str, **options) -> Callable[[Tensor], Made]:
    def make(W: Tensor) -> Made:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            import onnx
            from onnx import TensorProto, helper, numpy_helper

            weight = numpy_helper.from_array(W.detach().T.contiguous().numpy(), "W")
            ends = [
                helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k])
                for n, k in zip("xy", W.T.shape, strict=True)
            ]
            graph = helper.make_graph(
                [helper.make_node("MatMul", ["x", "W"], ["y"])], "g", ends[:1], ends[1:], [weight]
            )
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
            source, path = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
            onnx.save(model, source)
            if kind == "float32":
                path = source
            elif kind == "int8":
                from onnxruntime.quantization import QuantType, quantize_dynamic

                quantize_dynamic(str(source), str(path), weight_type=QuantType.QInt8)
            else:
                from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

                writer = MatMulNBitsQuantizer(model, block_size=GROUP, is_symmetric=True, **options)
                writer.process()
                writer.model.save_model_to_file(str(path))
            return Reader(path, threads=torch.get_num_threads()), path.stat().st_size

    return make


_AO, _BNB, _ORT = ("torchao",), ("bitsandbytes",), ("onnxruntime", "onnx")
WAYS: dict[str, Way] = {
    "float32": Way(float32, "float32"),
    "bfloat16": Way(bfloat16, "bfloat16", "bfloat16"),
    "torch, int8 weights": Way(int8_weights, "int8, a scale a row"),
    "torch, int4 weights": Way(int4_weights, "int4, groups of 32"),
    "torch, int8 x int8": Way(int8_both, "int8, a scale a row", "int8"),
    "torch, int4 x int4": Way(int4_both, "int4, a scale a row", "int4"),
    "torch, dynamic int8": Way(torch_dynamic, "int8, one scale", "int7"),
    "torchao, int8 weights": Way(_torchao("Int8WeightOnlyConfig"), "int8, a scale a row", "float", _AO, "torchao"),
    "torchao, int8 x int8": Way(
        _torchao("Int8DynamicActivationInt8WeightConfig"), "int8, a scale a row", "int8", _AO, "torchao"
    ),
    "torchao, int4 weights": Way(
        _torchao("IntxWeightOnlyConfig", group="granularity"), "int4, groups of 32", "float", _AO, "torchao"
    ),
    "torchao, int8 x int4": Way(
        _torchao("Int8DynamicActivationIntxWeightConfig", group="weight_granularity"), "int4, groups of 32", "int8",
        _AO, "torchao",
    ),
    "bitsandbytes, int8": Way(_bnb8, "int8, a scale a row", "int8", _BNB, "bitsandbytes"),
    "bitsandbytes, nf4": Way(_bnb4("nf4"), "nf4, blocks of 64", "float", _BNB, "bitsandbytes"),
    "bitsandbytes, fp4": Way(_bnb4("fp4"), "fp4, blocks of 64", "float", _BNB, "bitsandbytes"),
    "quanto, int8": Way(_quanto, "int8, a scale a row", "float", ("optimum.quanto",), "optimum-quanto"),
    "onnxruntime, float32": Way(_onnx("float32"), "float32", "float", _ORT, "onnxruntime onnx"),
    "onnxruntime, int8": Way(_onnx("int8"), "int8, one scale", "int8", _ORT, "onnxruntime onnx"),
    "onnxruntime, int4 weights": Way(_onnx("int4"), "int4, blocks of 32", "float", _ORT, "onnxruntime onnx"),
    "onnxruntime, int4 weights, int8 inside": Way(
        _onnx("int4", accuracy_level=4), "int4, blocks of 32", "int8", _ORT, "onnxruntime onnx"
    ),
}  # fmt: skip


def error(
    multiply: Callable[[Tensor], Tensor], W: Tensor, seeds: tuple[int, ...] = (0, 1, 2), n: int = 64
) -> list[float]:
    """Relative error of the output, for normal inputs of each seed."""
    found = []
    for seed in seeds:
        x = torch.randn(n, W.shape[1], generator=torch.Generator().manual_seed(seed))
        wanted = x @ W.T
        with quiet(), torch.no_grad():
            found.append(float((multiply(x) - wanted).norm() / wanted.norm()))
    return found
