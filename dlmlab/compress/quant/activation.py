"""Activations in few bits: who shares a scale, and whether it is known before.

    tensor    all tokens of a text share one    class    prompt, visible answer and masks have one each
    token     each token has its own            static   tensor or class scales from calibration, else from the text

Decisions
* A dynamic scale is made from one text, not from the batch: a text must not change with its company. Padding has no
  say.
* Before the first block all MASK tokens are the same vector: a scale of their own fits them perfectly, and says nothing
  about the others. Hence the classes.
* Per-token scales cannot be static: nobody has seen the token before.
* Inputs of the block matrices are rounded where they enter (`quantized_inputs`); attention stays in floating point.
  What hooks changed before (a rotation) is what is rounded.

Sources: Quantization Meets dLLMs, arXiv 2508.14896 (outliers of diffusion language models by token); STaR-Quant, arXiv
2606.04945 (masked and unmasked tokens treated differently).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dlmlab.compress.calibration import CalibrationSet
from dlmlab.compress.quant import grids
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.network import parts
from dlmlab.network.codes import QSpec, decode
from dlmlab.network.model import LLaDAModelLM, pick

CLASSES = ("prompt", "visible", "mask")
PADDING = -1


@dataclass(frozen=True)
class Ranges:
    """The lowest (<= 0) and highest (>= 0) input of each class, (B or 1, K) each."""

    low: Tensor
    high: Tensor

    def join(self, other: "Ranges") -> "Ranges":
        """Cover both, over all their texts, (1, K)."""
        low, high = torch.cat([self.low, other.low]), torch.cat([self.high, other.high])
        return Ranges(low.amin(0, keepdim=True), high.amax(0, keepdim=True))


def token_classes(
    ids: Tensor, mask_id: int, *, real: Tensor | None = None, answer_length: int = ANSWER_LENGTH
) -> Tensor:
    """Tell prompt (0), visible answer (1), mask (2) and padding (-1) apart, (B, L).

    The answer is the last `answer_length` real tokens of a row; a mask in the prompt is a mask.
    """
    real = torch.ones_like(ids, dtype=torch.bool) if real is None else real.bool()
    left = real.flip(1).cumsum(1).flip(1)  # real tokens from here to the end
    classes = (left <= answer_length).long().masked_fill(ids == mask_id, 2)
    return classes.masked_fill(~real, PADDING)


def spans(x: Tensor, classes: Tensor, K: int) -> Ranges:
    """Find the range of each class in each text, x (B, q, C) and classes (B, q) -> (B, K)."""
    parts = [x.masked_fill((classes != k)[..., None], 0.0).flatten(1) for k in range(K)]
    return Ranges(
        torch.stack([p.amin(1) for p in parts], 1).clamp(max=0), torch.stack([p.amax(1) for p in parts], 1).clamp(min=0)
    )


def fake(x: Tensor, spec: QSpec, *, classes: Tensor | None = None, ranges: Ranges | None = None) -> Tensor:
    """Round activations x (B, q, C) on a grid a token, or a grid a class (one class when `classes` is None).

    `ranges`: static, from calibration; what exceeds them is clipped. Raises `ValueError` for granularity row (it is of
    weights), for static ranges of tokens, and for ranges of another number of classes.
    """
    if spec.granularity == "row":
        raise ValueError("granularity='row' is of weights: activations have tensor or token")
    if spec.granularity == "token":
        if ranges is not None:
            raise ValueError("per-token scales cannot be static: they are made from the token")
        return grids.fake_quantize(x, spec)
    K = 1 if classes is None else len(CLASSES)
    classes = torch.zeros(x.shape[:2], dtype=torch.long, device=x.device) if classes is None else classes
    found = spans(x, classes, K) if ranges is None else ranges
    if found.low.shape[1] != K:
        raise ValueError(f"ranges of {found.low.shape[1]} classes, but the tokens have {K}")
    index = classes.clamp(min=0)
    low, high = (r.to(x).expand(len(x), -1).gather(1, index) for r in (found.low, found.high))  # (B, q)
    scale, zero = grids.lay(low, high, spec)
    shift = None if zero is None else zero[..., None]
    codes = grids.encode(x, scale[..., None], shift, spec)
    return decode(codes, scale[..., None], shift).to(x.dtype)


# ------------------------------------------------------------------------------------------------ models


@dataclass
class _Text:
    """What the model reads now: `classes` (B, L), 0 for all real tokens unless `by_class`."""

    by_class: bool
    mask_id: int
    answer_length: int
    classes: Tensor | None = None
    keep: Tensor | slice | None = None
    handles: list = field(default_factory=list)

    def note(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Remember the classes of the tokens (a hook before the model)."""
        ids = args[0] if args else kwargs["input_ids"]
        real = args[1] if len(args) > 1 else kwargs.get("attention_mask")
        if self.by_class and kwargs.get("kv") is not None:
            raise ValueError("token classes need the whole text, a cache passes new tokens only")
        if real is not None and real.shape != ids.shape:
            real = None
        classes = token_classes(ids, self.mask_id, real=real, answer_length=self.answer_length)
        self.classes = classes if self.by_class else classes.clamp(max=0)
        self.keep = kwargs.get("logits_to_keep")

    def of(self, x: Tensor) -> Tensor:
        """The classes of the tokens that x (B, q, C) holds; the last layer may hold fewer."""
        return self.classes if x.shape[1] == self.classes.shape[1] else pick(self.classes, self.keep)


@contextmanager
def _watched(model: LLaDAModelLM, by_class: bool, answer_length: int, enter) -> Iterator[LLaDAModelLM]:
    """While it is open, `enter(name, x, classes)` sees, and may replace, every input of a block matrix."""
    text = _Text(by_class, model.config.mask_token_id, answer_length)

    def hook(name):
        def before(module, inputs):
            new = enter(name, inputs[0], text.of(inputs[0]))
            return None if new is None else (new, *inputs[1:])

        return before

    handles = [model.register_forward_pre_hook(text.note, with_kwargs=True)]
    for layer, block in enumerate(parts.blocks(model)):
        for name, matrix in parts.matrices(block).items():
            handles.append(matrix.register_forward_pre_hook(hook(f"blocks.{layer}.{name}")))
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def observe(
    model: LLaDAModelLM,
    calib: CalibrationSet,
    *,
    by_class: bool = False,
    answer_length: int = ANSWER_LENGTH,
    batch_size: int = 64,
) -> dict[str, Ranges]:
    """Find the static ranges of the inputs of every block matrix, by its name."""
    found: dict[str, Ranges] = {}

    def enter(name: str, x: Tensor, classes: Tensor) -> None:
        new = spans(x, classes, len(CLASSES) if by_class else 1)
        found[name] = new.join(found.get(name, new))

    with _watched(model, by_class, answer_length, enter):
        for index in torch.arange(len(calib)).split(batch_size):
            part = calib.rows(index)
            model(part.ids.to(model.device), part.real.to(model.device))
    return found


@contextmanager
def quantized_inputs(
    model: LLaDAModelLM,
    choose,
    *,
    by_class: bool = False,
    ranges: dict[str, Ranges] | None = None,
    answer_length: int = ANSWER_LENGTH,
) -> Iterator[LLaDAModelLM]:
    """While it is open, the inputs of the block matrices are rounded.

    `choose`: a `QSpec`, or a function name -> `QSpec` or None (left alone). `by_class`: scales for prompt, visible and
    mask. `ranges`: static ones of `observe`. Raises `ValueError` as `fake`.

        with quantized_inputs(model, QSpec(8, granularity="token")):
            sample(model, prompts)
    """

    def enter(name: str, x: Tensor, classes: Tensor) -> Tensor | None:
        spec = choose if isinstance(choose, QSpec) else choose(name)
        if spec is None:
            return None
        static = None if ranges is None else ranges[name]
        if by_class or spec.granularity == "token":
            return fake(x, spec, classes=classes if spec.granularity != "token" else None, ranges=static)
        return fake(x.masked_fill((classes == PADDING)[..., None], 0.0), spec, ranges=static)

    with _watched(model, by_class, answer_length, enter):
        yield model
