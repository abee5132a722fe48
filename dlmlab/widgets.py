"""Widgets: three lines that bind a slider to a view of `dlmlab.plotting`.

They use `observe` with `HTML` and `Image`, so they work in JupyterLab and in strict nbval alike, and a test can drive
them by setting `slider.value`.
"""

import html

import ipywidgets as W
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dlmlab.plotting import attention_view, cache_view, denoising_view, png, words
from dlmlab.trace import Sample
from dlmlab.trajectories import Trajectory


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


def denoising_player(out: Sample, tokenizer: PreTrainedTokenizerBase, row: int = 0) -> Player:
    """Step through a run: slider, bars of confidence, text."""
    return Player(lambda step: denoising_view(out, tokenizer, step, row), len(out.trace.states(row)) - 1, "forward")


def cache_player(out: Sample, computed: Tensor, tokenizer: PreTrainedTokenizerBase, row: int = 0) -> Player:
    """Step through what each forward of a run computed (`dlmlab.cache.replay`)."""
    return Player(lambda step: cache_view(out, computed, tokenizer, step, row), len(computed), "forward", first=1)


def attention_player(run: Trajectory, tokenizer: PreTrainedTokenizerBase) -> Player:
    """Step through a trajectory: slider, the attention every position receives, text."""

    def view(state: int):
        seen = run.visible[state]
        title = f"before forward {state + 1} of {len(run.ids)}"
        return attention_view(run.mass[state, seen], words(tokenizer, run.ids[state, seen]), title=title)

    return Player(view, len(run.ids) - 1, "forward")
