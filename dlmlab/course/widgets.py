"""Widgets: three lines that bind a slider to a view of `dlmlab.plotting`.

They use `observe` with `HTML` and `Image`, so they work in JupyterLab and in strict nbval alike, and a test can drive
them by setting `slider.value`.
"""

import html
import textwrap
from collections.abc import Callable, Sequence
from functools import cache

import ipywidgets as W
import torch
from matplotlib.figure import Figure
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dlmlab.compress.quant.grids import quantize
from dlmlab.compress.registry import compress
from dlmlab.course.plotting import budget_view, cache_view, denoising_view, grid_figure, png, weights_view
from dlmlab.decode import sampling
from dlmlab.decode.commit import Threshold
from dlmlab.decode.trace import Sample
from dlmlab.network import parts
from dlmlab.network.codes import QSpec, dequantize
from dlmlab.network.model import LLaDAModelLM
from dlmlab.task.layout import decode_answer


class Player(W.VBox):
    """A slider over the states of something; `view(i) -> (figure, text)` draws one."""

    def __init__(self, view, last: int, description: str, first: int = 0):
        self.slider = W.IntSlider(
            min=first,
            max=last,
            value=first,
            description=description,
            continuous_update=False,
            layout=W.Layout(width="420px"),
        )
        self.image = W.Image(format="png", layout=W.Layout(width="720px"))
        self.text = W.HTML()
        self._view = view
        self.slider.observe(self._draw, "value")
        self._draw()
        super().__init__([self.slider, self.image, self.text])

    def _draw(self, change=None) -> None:
        fig, text = self._view(self.slider.value)
        self.image.value = png(fig)
        self.text.value = f"<pre>{html.escape(text)}</pre>"

    def __repr__(self) -> str:
        return f"Player({self.slider.description} {self.slider.min}..{self.slider.max})"


class TextPlayer(W.VBox):
    """A field for a text, typed or chosen; `view(text) -> (figure, words)` draws it, or raises `ValueError`, whose
    message is shown."""

    def __init__(self, view, texts: Sequence[str], description: str):
        wide = W.Layout(width="720px")
        self.field = W.Combobox(
            value=texts[0], options=list(texts), description=description, ensure_option=False, layout=wide
        )
        self.field.continuous_update = False
        self.image, self.text = W.Image(format="png", layout=wide), W.HTML()
        self._view, self._texts = view, len(texts)
        self.field.observe(self._draw, "value")
        self._draw()
        super().__init__([self.field, self.image, self.text])

    def _draw(self, change=None) -> None:
        try:
            fig, text = self._view(self.field.value)
            self.image.value = png(fig)
        except ValueError as error:
            text = str(error)
        self.text.value = f"<pre>{html.escape(text)}</pre>"

    def __repr__(self) -> str:
        return f"TextPlayer({self.field.description}, {self._texts} to choose from)"


def denoising_player(out: Sample, tokenizer: PreTrainedTokenizerBase, row: int = 0) -> Player:
    """Step through a run: slider, bars of confidence, text."""
    return Player(lambda step: denoising_view(out, tokenizer, step, row), len(out.trace.states(row)) - 1, "forward")


def cache_player(out: Sample, computed: Tensor, tokenizer: PreTrainedTokenizerBase, row: int = 0) -> Player:
    """Step through what each forward of a run computed (`dlmlab.cache.replay`)."""
    return Player(lambda step: cache_view(out, computed, tokenizer, step, row), len(computed), "forward", first=1)


def grid_view(
    model: LLaDAModelLM, tokenizer: PreTrainedTokenizerBase, prompt: list[int], bits: int, group: int | None
) -> tuple[Figure, str]:
    """Round a model to nearest at `bits`, one scale a row or a `group` of its neighbours: the grid of the first cell of
    one matrix, the error of that matrix, and what the rounded model answers."""
    spec, layer = QSpec(bits, group=group), 2
    weight = parts.matrices(parts.blocks(model)[layer])[parts.DOWN].weight.detach()
    found = quantize(weight, spec)
    error = float((weight - dequantize(found)).square().sum() / weight.square().sum())
    points = (torch.arange(2**bits) - found.zero[0, 0]) * found.scale[0, 0].float()
    name = f"{bits} bits, one scale a {'row' if group is None else f'group of {group}'}"
    title = f"{name}: row 0 of layer {layer}'s output matrix"
    fig = grid_figure(weight[0], weight[0, : group or weight.shape[1]], points, title)
    out = sampling.sample(compress(model, "rtn", spec), [prompt], sampler=sampling.Sampler(commit=Threshold(0.9)))
    answer = textwrap.fill(decode_answer(tokenizer, out.answers[0]), 110)
    cost = f"{found.bits:.2f} bits a weight with scales and zero points, relative error {error:.2%}"
    return fig, f"{name}: {cost}\n{answer}\n{out.trace.nfe[0]} forwards"


class GridPlayer(W.VBox):
    """Two sliders, bits and how many weights share a scale; `view(bits, group) -> (figure, text)` draws a choice."""

    def __init__(self, view: Callable[[int, int | None], tuple[Figure, str]], groups: tuple[int, ...]):
        self.bits = W.IntSlider(min=2, max=8, value=4, description="bits", continuous_update=False)
        options = [("row", 0), *((str(g), g) for g in groups)]  # a slider takes no None
        self.group = W.SelectionSlider(options=options, description="group", continuous_update=False)
        self.image = W.Image(format="png", layout=W.Layout(width="720px"))
        self.text = W.HTML()
        self._view = view
        for slider in (self.bits, self.group):
            slider.observe(self._draw, "value")
        self._draw()
        super().__init__([self.bits, self.group, self.image, self.text])

    def _draw(self, change=None) -> None:
        fig, text = self._view(self.bits.value, self.group.value or None)
        self.image.value = png(fig)
        self.text.value = f"<pre>{html.escape(text)}</pre>"

    def __repr__(self) -> str:
        return f"GridPlayer(bits {self.bits.min}..{self.bits.max}, group {', '.join(n for n, _ in self.group.options)})"


def grid_player(
    model: LLaDAModelLM,
    tokenizer: PreTrainedTokenizerBase,
    prompt: list[int],
    *,
    groups: tuple[int, ...] = (64, 32, 16),
) -> GridPlayer:
    """Slide through bits and groups: the grid over the weights, its error, and the answer."""
    return GridPlayer(lambda bits, group: grid_view(model, tokenizer, prompt, bits, group), groups)


def pruning_view(
    model: LLaDAModelLM, tokenizer: PreTrainedTokenizerBase, prompt: list[int], sparsity: float, *, layer: int = 0
) -> tuple[Figure, str]:
    """Show one matrix of a pruned model, the value projection of a layer, and what the model answers."""
    weight = getattr(parts.blocks(model)[layer], parts.VALUE).weight[:32, :48]
    zeros = float((weight == 0).float().mean())
    title = f"sparsity {sparsity:.0%}: a corner of layer {layer}'s {parts.VALUE}, {zeros:.0%} removed (white)"
    out = sampling.sample(model, [prompt], sampler=sampling.Sampler(commit=Threshold(0.9)))
    answer = decode_answer(tokenizer, out.answers[0])
    text = textwrap.fill(f"{sparsity:.0%}: {answer}", 110)
    return weights_view(weight, title), f"{text}\n{out.trace.nfe[0]} forwards"


def pruning_player(
    prune: Callable[[float], LLaDAModelLM], tokenizer: PreTrainedTokenizerBase, prompt: list[int], *, steps: int = 8
) -> Player:
    """Slide through sparsities 0, 10, 20, ... %: the mask of a matrix and the answer. `prune(sparsity) -> model`."""
    pruned = cache(prune)
    return Player(lambda i: pruning_view(pruned(i / 10), tokenizer, prompt, i / 10), steps, "sparsity / 10 %")


class BudgetPlayer(W.VBox):
    """Two sliders, bytes and milliseconds, over stored models: which are allowed, and what the best answers.

    The sliders count in steps between the least and the largest of the rows; bytes grow by a constant factor.
    """

    def __init__(self, rows: Sequence[dict], answer: Callable[[dict], str], *, group: str = "method", steps: int = 20):
        self.rows, self.answer, self.group, self.steps = rows, cache_by_name(answer), group, steps
        wide = W.Layout(width="420px")
        made = {"min": 0, "max": steps, "value": steps, "continuous_update": False, "layout": wide}
        self.bytes, self.ms = W.IntSlider(description="bytes", **made), W.IntSlider(description="time", **made)
        self.image = W.Image(format="png", layout=W.Layout(width="740px"))
        self.text = W.HTML()
        for slider in (self.bytes, self.ms):
            slider.observe(self._draw, "value")
        self._draw()
        super().__init__([self.bytes, self.ms, self.image, self.text])

    @property
    def budget(self) -> tuple[float, float]:
        """Bytes and milliseconds that the sliders allow."""
        sizes, times = ([row[name] for row in self.rows] for name in ("bytes", "ms"))
        size = min(sizes) * (max(sizes) / min(sizes)) ** (self.bytes.value / self.steps)
        ms = min(times) + (max(times) - min(times)) * self.ms.value / self.steps
        return 1.0001 * size, 1.0001 * ms  # rounding must not exclude the row at the end of a slider

    def _draw(self, change=None) -> None:
        fig, text = budget_view(self.rows, *self.budget, answer=self.answer, group=self.group)
        self.image.value = png(fig)
        self.text.value = f"<pre>{html.escape(text)}</pre>"

    def __repr__(self) -> str:
        return f"BudgetPlayer({len(self.rows)} models, bytes and time 0..{self.steps})"


def cache_by_name(answer: Callable[[dict], str]) -> Callable[[dict], str]:
    """Ask for the answer of a row once: rebuilding its model takes seconds. Rows of one `name` are one model."""
    known: dict[str, str] = {}

    def asked(row: dict) -> str:
        if row["name"] not in known:
            known[row["name"]] = answer(row)
        return known[row["name"]]

    return asked
