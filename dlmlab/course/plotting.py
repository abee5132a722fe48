"""Views: pure functions from state to a figure and a text that says the same.

A notebook calls `show(fig, alt=...)`; widgets turn the same figures into PNG bytes. Colours are the Okabe-Ito set
(safe for colour-vision deficiency), and no meaning rests on colour alone.
"""

import base64
import io
import textwrap
from collections.abc import Callable, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dlmlab.decode.trace import Sample
from dlmlab.measure.difference import Difference

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-")
MASK_SIGN, END_SIGN = "▢", "·"
LEAST_DOUBT, DOUBT = 1e-6, "YlOrRd"  # a pale cell is a sure one: the token in it stays readable


def figure(width: float = 6.4, height: float = 3.4) -> Figure:
    """Make an empty figure, free of pyplot's global state."""
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def png(fig: Figure) -> bytes:
    """Render a figure, with a palette of 64 colours: a quarter of the bytes, and notebooks keep their pictures."""
    full, small = io.BytesIO(), io.BytesIO()
    fig.savefig(full, format="png")
    palette = {"colors": 64, "method": Image.Quantize.FASTOCTREE}  # median cut gives thin lines another colour
    Image.open(full).convert("RGB").quantize(**palette).save(small, format="png", optimize=True)
    return small.getvalue()


def show(fig: Figure, *, alt: str) -> None:
    """Display a figure with its alternative text. Raises `ValueError` when `alt` says nothing."""
    if len(alt.split()) < 4:
        raise ValueError(f"alt={alt!r}: describe in a sentence what the figure shows")
    from IPython.display import publish_display_data

    data = {"image/png": base64.b64encode(png(fig)).decode(), "text/plain": f"<figure: {alt}>"}
    publish_display_data(data, metadata={"image/png": {"alt": alt}})


# ------------------------------------------------------------------------------------------------ text views


def words(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int] | Tensor) -> list[str]:
    """Name tokens one by one: a box for a mask, a dot for an end mark."""
    special = {tokenizer.mask_token_id: MASK_SIGN, tokenizer.eos_token_id: END_SIGN}
    return [special.get(int(i), tokenizer.convert_ids_to_tokens(int(i))) for i in ids]


def text_grid(
    out: Sample, tokenizer: PreTrainedTokenizerBase, row: int = 0, *, start: int | None = None, every: int = 1
) -> str:
    """Draw a denoising run as text: one line a state, one column a token; `▢` is masked, `·` an end mark.

    Shows the answer, or with `start` everything from that column on; `every` skips states between the first and the
    last.
    """
    start = out.prompt_length if start is None else start
    lines = [words(tokenizer, state[start:]) for state in out.trace.states(row)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    kept = sorted({*range(0, len(lines), every), len(lines) - 1})
    return "\n".join(
        f"{i:3d} | " + " ".join(w.ljust(n) for w, n in zip(lines[i], widths, strict=True)).rstrip() for i in kept
    )


def table(rows: Sequence[dict]) -> str:
    """Lay out dictionaries with the same keys as a text table; numbers stand to the right."""
    keys = list(rows[0])
    cells = [[str(row[k]) for k in keys] for row in rows]
    widths = [max(len(k), *(len(line[i]) for line in cells)) for i, k in enumerate(keys)]
    right = [all(line[i][:1].isdigit() or line[i][:1] in "-." for line in cells) for i in range(len(keys))]

    def line(values):
        return "  ".join(
            v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True)
        ).rstrip()

    return "\n".join([line(keys), line(["-" * w for w in widths]), *map(line, cells)])


# ------------------------------------------------------------------------------------------------ figures


def denoising_view(out: Sample, tokenizer: PreTrainedTokenizerBase, step: int, row: int = 0) -> tuple[Figure, str]:
    """Show a run up to one state: answer positions across, forwards downwards, white where a mask still stands.

    The colour is the doubt with which a token was committed, 1 - confidence, on a logarithmic scale (all confidences
    are near 1, and differ by orders of magnitude in what is missing). A token is written where it was committed.
    `step` 0 is the start; raises `ValueError` outside the run.
    """
    states = out.trace.states(row)
    if not 0 <= step < len(states):
        raise ValueError(f"step={step} is outside 0..{len(states) - 1}")
    P, S, answer = out.prompt_length, len(states) - 1, words(tokenizer, states[step][out.prompt_length :])
    fig = figure(max(6.4, 0.27 * len(answer)), 1.5 + 0.17 * S)
    ax = fig.add_subplot(
        xlabel="answer position", ylabel="forward", title=f"after forward {step} of {S}", ylim=(S + 0.5, 0.5)
    )
    doubt = torch.full((S, len(answer)), torch.nan)
    for i, s in enumerate([s for s in out.trace.steps if row in s.rows][:step]):
        for (r, column), token, confidence in zip(s.at.tolist(), s.tokens.tolist(), s.confidence.tolist(), strict=True):
            if r == row and column >= P:
                doubt[i:step, column - P] = max(1 - confidence, LEAST_DOUBT)
                style = {
                    "ha": "center",
                    "va": "center",
                    "fontsize": 6,
                    "color": "black" if confidence > 0.9 else "white",
                }
                ax.text(column - P, i + 1, words(tokenizer, [token])[0], **style)
    extent = (-0.5, len(answer) - 0.5, S + 0.5, 0.5)
    image = ax.imshow(doubt.numpy(), aspect="auto", cmap=DOUBT, norm=LogNorm(LEAST_DOUBT, 1), extent=extent)
    fig.colorbar(image, ax=ax, label="doubt, 1 - confidence")
    ax.set_xticks(range(len(answer)), answer, rotation=90, fontsize=8)
    ax.set_yticks([n for n in range(1, S + 1) if S < 15 or n % 5 == 0])
    prompt = " ".join(words(tokenizer, states[step][:P]))
    return fig, f"after forward {step} of {S}\n" + textwrap.fill(prompt, 110) + "\n" + textwrap.fill(
        " ".join(answer), 110
    )


def bits_view(lines: dict[str, tuple[Sequence[str], Sequence[float]]], *, most: float = 8.0) -> Figure:
    """Write texts word by word on cells coloured by what each word costs, in bits: pale is free. `lines`: by title, the
    words of a text and the bits of each."""
    per, cells = 13, {name: list(zip(*line, strict=True)) for name, line in lines.items()}
    heights = [-(-len(line) // per) for line in cells.values()]
    fig = figure(9.0, 0.5 + sum(0.3 * n + 0.45 for n in heights))
    norm = Normalize(0, most)
    axes = fig.subplots(len(cells), 1, height_ratios=[n + 0.6 for n in heights], squeeze=False)[:, 0]
    for ax, (name, line), n in zip(axes, cells.items(), heights, strict=True):
        grid = torch.full((n, per), torch.nan)
        for i, (word, value) in enumerate(line):
            grid[i // per, i % per] = value
            color = "white" if value > 0.6 * most else "black"
            ax.text(i % per, i // per, word, ha="center", va="center", fontsize=8, color=color)
        ax.imshow(grid.numpy(), aspect="auto", cmap=DOUBT, norm=norm)
        ax.set_title(f"{name}: {sum(value for _, value in line):.1f} bits", fontsize=9, loc="left")
        ax.set_axis_off()
    fig.colorbar(ScalarMappable(norm, DOUBT), ax=list(axes), label="bits a token", extend="max")
    return fig


def network_view() -> Figure:
    """Draw what goes into one output of a causal and of a masked diffusion model, and which token it names."""
    fig = figure(7.6, 2.9)
    kinds = [
        ("autoregressive", "8 * 2 = 16 ;".split(), 3, range(4), "16", "reads up to itself, names the next token"),
        ("masked diffusion", ["8", "*", MASK_SIGN, "=", "16", ";"], 2, range(6), "2", "reads all, names its own token"),
    ]
    for ax, (name, tokens, at, read, guess, what) in zip(fig.subplots(1, 2), kinds, strict=True):
        for i, token in enumerate(tokens):
            box = {"boxstyle": "round", "fc": "white", "ec": COLORS[0] if i in read else "0.8"}
            ax.text(i, 0, token, ha="center", va="center", bbox=box, color="black" if i in read else "0.6")
            if i in read:
                ax.plot([i, at], [0.2, 1.28], color=COLORS[0], lw=1)
        ax.text(at, 1.5, guess, ha="center", va="center", bbox={"boxstyle": "round", "fc": COLORS[4], "ec": "black"})
        ax.text(
            len(tokens) - 0.5, 0.75, "layers of\nattention\nand MLP", ha="right", va="center", fontsize=8, alpha=0.7
        )
        ax.set(xlim=(-0.6, len(tokens) - 0.4), ylim=(-0.4, 1.9), title=name)
        ax.set_xlabel(what)
        ax.set_xticks([])
        ax.set_yticks([0, 1.5], ["in", "out"])
    return fig


def alike(
    rows: Sequence[dict], *, group: str = "method", x: str = "nfe", y: str = "exact_match", within: float = 0.012
) -> list[dict]:
    """Join groups that would be drawn on top of each other: rows of a group whose every point lies on a point of an
    earlier group (`within` in y, a fiftieth of x) are left out, and that group is named after both."""
    names: dict[str, list[dict]] = {}
    for row in rows:
        names.setdefault(row[group], []).append(row)

    def on(point: dict, other: dict) -> bool:
        return abs(point[y] - other[y]) <= within and abs(point[x] - other[x]) <= 0.02 * other[x]

    hosts: dict[str, list[str]] = {}
    for name, mine in names.items():
        host = next((h for h in hosts if all(any(on(p, o) for o in names[h]) for p in mine)), None)
        hosts.setdefault(host or name, []).append(name)
    return [row | {group: ", ".join(joined)} for host, joined in hosts.items() for row in names[host]]


def frontier(
    rows: Sequence[dict],
    *,
    title: str,
    group: str = "method",
    x: str = "nfe",
    y: str = "exact_match",
    xlabel: str = "forwards of the network per problem (NFE)",
    ticks: Sequence[float] = (),
    least: float = -0.02,
) -> Figure:
    """Draw quality against cost, one line a group, with 95 % intervals. Each row holds `group`, `x`, `y`, `low`,
    `high`. With `ticks` the cost is on a logarithmic axis; `least` is where quality begins."""
    fig = figure(7.2, 4.2)
    ax = fig.add_subplot(xlabel=xlabel, ylabel="exact match (test)", title=title, ylim=(least, 1.02))
    names = list(dict.fromkeys(row[group] for row in rows))
    for i, name in enumerate(names):
        mine = sorted((row for row in rows if row[group] == name), key=lambda row: row[x])
        ys, low, high = ([row[k] for row in mine] for k in (y, "low", "high"))
        error = [[a - b for a, b in zip(ys, low, strict=True)], [b - a for a, b in zip(ys, high, strict=True)]]
        style = {"color": COLORS[i % 7], "marker": MARKERS[i % 7], "linestyle": LINES[i % 7]}
        ax.errorbar(
            [row[x] for row in mine],
            ys,
            [[max(v, 0) for v in e] for e in error],
            **style,
            capsize=2,
            lw=1.3,
            ms=5,
            mfc="white" if i >= 7 else None,
            label=name,
        )
    if ticks:
        ax.set_xscale("log")
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
    ax.legend(fontsize=8, loc="lower right")
    ax.grid(alpha=0.3)
    return fig


def forest(
    groups: dict[str, Sequence[tuple[str, Difference]]], *, title: str, xlabel: str, near: float | None = None
) -> Figure:
    """Draw differences as a forest plot: a dot with its interval a row, a cross for each of several seeds, groups with
    headings.

    With `near` the axis is linear up to it on both sides of zero and logarithmic beyond, so that small and large
    differences can be read in one picture; without, it is linear. Filled dots: the word of the difference is "lower"
    or "higher"; open ones: not shown.
    """
    rows = [row for name, members in groups.items() for row in ((name, None), *members)]
    fig = figure(7.6, 0.9 + 0.21 * len(rows))
    ax = fig.add_subplot(xlabel=xlabel, title=title, ylim=(len(rows) - 0.4, -0.6))
    for y, (_, d) in enumerate(rows):
        if d is None:
            continue
        shown, color = d.word != "no difference shown", COLORS[0] if d.mean < 0 else COLORS[1]
        ax.plot([d.low, d.high], [y, y], "-", color=color, lw=1.6)
        ax.plot(d.mean, y, "o", color=color, mfc=color if shown else "white", ms=5)
        if len(d.seeds) > 1:
            ax.plot(d.seeds, [y] * len(d.seeds), "x", color="black", ms=3, alpha=0.6)
    ax.axvline(0, color="black", lw=0.8)
    if near is not None:
        ax.set_xscale("symlog", linthresh=near)
    ax.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    for label, (_, d) in zip(ax.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if d is None else "normal")
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", alpha=0.3)
    return fig


def heat_map(values, *, xlabel: str, ylabel: str, title: str, label: str, xticks=None, yticks=None) -> Figure:
    """Draw a matrix with a colour bar; rows run downwards."""
    fig = figure(7.2, 3.2)
    ax = fig.add_subplot(xlabel=xlabel, ylabel=ylabel, title=title)
    image = ax.imshow(values, aspect="auto", cmap="viridis")
    fig.colorbar(image, ax=ax, label=label)
    if xticks is not None:
        ax.set_xticks(range(len(xticks)), xticks, fontsize=8)
    if yticks is not None:
        ax.set_yticks(range(len(yticks)), yticks, fontsize=8)
    return fig


def _draw_columns(ax: Axes, out: Sample, computed: Tensor, step: int, row: int = 0) -> None:
    (S, L), shown = computed.shape, computed[:step].float()
    for i, columns in enumerate(out.trace.order(row)[:step]):
        shown[i, columns] = 2
    palette, extent = ListedColormap(["#eeeeee", COLORS[5], COLORS[1]]), (-0.5, L - 0.5, step + 0.5, 0.5)
    ax.imshow(shown.numpy(), aspect="auto", cmap=palette, vmin=0, vmax=2, extent=extent, interpolation="nearest")
    ax.set(ylim=(S + 0.5, 0.5), xlim=(-0.5, L - 0.5))
    ax.axvline(out.prompt_length - 0.5, color="black", lw=1)


def cache_panels(runs: dict[str, tuple[Sample, Tensor]]) -> Figure:
    """Put whole runs side by side, by name: the sample, and what each forward computed (`dlmlab.cache.replay`).

    Of the prompt only the end is shown: what happens to its columns happens to all of them.
    """
    fig = figure(8.4, 1.0 + 0.15 * max(len(computed) for _, computed in runs.values()))
    for ax, (name, (out, computed)) in zip(fig.subplots(1, len(runs), sharey=True), runs.items(), strict=True):
        _draw_columns(ax, out, computed, len(computed))
        ax.set(title=name, xlabel="column", xlim=(out.prompt_length - 8.5, computed.shape[1] - 0.5))
    fig.axes[0].set_ylabel("forward")
    return fig


def cache_view(
    out: Sample, computed: Tensor, tokenizer: PreTrainedTokenizerBase, step: int, row: int = 0
) -> tuple[Figure, str]:
    """Show what the first `step` forwards computed and what they read from the cache, one line a forward.

    `computed` (S, L) bool from `dlmlab.cache.replay`. The text is the state that forward saw, computed tokens in
    brackets. Raises `ValueError` outside 1..S.
    """
    S, L = computed.shape
    if not 1 <= step <= S:
        raise ValueError(f"step={step} is outside 1..{S}")
    fig = figure(7.2, 0.9 + 0.16 * S)
    ax = fig.add_subplot(
        xlabel="column (the answer begins at the line)", ylabel="forward", title=f"after forward {step} of {S}"
    )
    _draw_columns(ax, out, computed, step, row)
    state = words(tokenizer, out.trace.states(row)[step - 1])
    marked = [f"[{w}]" if c else w for w, c in zip(state, computed[step - 1].tolist(), strict=True)]
    counts = f"forward {step} of {S} computes {int(computed[step - 1].sum())} of {L} columns, in brackets"
    return fig, counts + "\n" + textwrap.fill(" ".join(marked), 110)


def weights_view(W: Tensor, title: str) -> Figure:
    """Draw a matrix as it is pruned: the size of every weight, removed ones white."""
    fig = figure(7.2, 3.2)
    ax = fig.add_subplot(xlabel="input feature", ylabel="output feature", title=title)
    size = W.detach().abs()
    image = ax.imshow(size.masked_fill(size == 0, float("nan")), aspect="auto", cmap="viridis", interpolation="none")
    fig.colorbar(image, ax=ax, label="|weight|")
    return fig


def grid_figure(row: Tensor, cell: Tensor, points: Tensor, title: str) -> Figure:
    """Draw the weights of a row, those of one cell of it that share a scale, and the points of the cell's grid."""
    fig = figure(7.2, 2.8)
    ax = fig.add_subplot(xlabel="weight", ylabel="number of weights", title=title)
    edge = 1.02 * float(row.abs().max())
    bins = {"bins": 61, "range": (-edge, edge)}
    ax.hist(row.tolist(), **bins, color="#cccccc", label=f"the whole row ({len(row)} weights)")
    ax.hist(cell.tolist(), **bins, color=COLORS[0], label=f"weights with this scale ({len(cell)})")
    width = 1.2 if len(points) <= 16 else 0.4
    for i, point in enumerate(points.tolist()):
        ax.axvline(point, color=COLORS[1], lw=width, linestyle="--", label=f"grid, {len(points)} points" * (i == 0))
    ax.legend(fontsize=7, loc="upper left")
    return fig


def attention_view(mass: Tensor, words: Sequence[str], *, title: str, top: int = 3) -> tuple[Figure, str]:
    """Show the attention each position receives, (L,) in units of a fair share, over the tokens that stand there."""
    fig = figure(max(6.4, 0.17 * len(words)), 2.6)
    ax = fig.add_subplot(ylabel="attention received\n(1 = fair share)", title=title)
    strongest = mass.topk(top).indices.tolist()
    bars = ax.bar(range(len(words)), mass.tolist(), color=COLORS[0])
    for i in strongest:
        bars[i].set(color=COLORS[1], hatch="//", edgecolor="white")
    ax.axhline(1, color=COLORS[6], lw=0.8, linestyle="--")
    ax.set_xticks(range(len(words)), words, rotation=90, fontsize=6)
    ax.set_xlim(-0.7, len(words) - 0.3)
    named = ", ".join(f"{words[i]} at {i} ({mass[i]:.1f})" for i in strongest)
    return fig, f"{title}\nstrongest receivers: {named}\n" + textwrap.fill(" ".join(words), 110)


def plain_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Label a logarithmic axis with these numbers as one writes them, and with no others."""
    low, high = axis.get_view_interval()
    shown = [v for v in values if low <= v <= high]
    axis.set_ticks([], minor=True)
    axis.set_ticks(shown, [f"{v:g}" for v in shown])


def within(rows: Sequence[dict], size: float, ms: float) -> dict | None:
    """Choose the most accurate of the models with at most `size` bytes and `ms` milliseconds, of equals the smaller;
    None when there is none. By `chosen_by` where a row has it (exact match on other problems), else `exact_match`."""
    fits = [row for row in rows if row["bytes"] <= size and row["ms"] <= ms]
    return min(fits, key=lambda row: (-row.get("chosen_by", row["exact_match"]), row["bytes"], row["ms"]), default=None)


def budget_view(
    rows: Sequence[dict], size: float, ms: float, *, answer: Callable[[dict], str], group: str = "method"
) -> tuple[Figure, str]:
    """Show which models a budget of bytes and milliseconds allows, and what the most accurate of them answers.

    Rows hold `group`, `bytes`, `ms`, `exact_match`; `answer(row)` gives the text of one. Filled: allowed; ring: chosen.
    """
    chosen = within(rows, size, ms)
    said = f"at most {size / 1e6:.2f} MB and {ms:.1f} ms a problem"
    fig = figure(7.4, 3.6)
    ax = fig.add_subplot(xlabel="stored bytes, MB", ylabel="exact match", title=said, xscale="log", ylim=(-0.03, 1.03))
    for i, name in enumerate(dict.fromkeys(row[group] for row in rows)):
        mine = [row for row in rows if row[group] == name]
        allowed = [row["bytes"] <= size and row["ms"] <= ms for row in mine]
        style = {"color": COLORS[i % 7], "marker": MARKERS[i % 7], "linestyle": "none", "ms": 6}
        for kept, fill in ((True, COLORS[i % 7]), (False, "none")):
            part = [row for row, ok in zip(mine, allowed, strict=True) if ok == kept]
            xs, ys = [row["bytes"] / 1e6 for row in part], [row["exact_match"] for row in part]
            ax.plot(xs, ys, **style, mfc=fill, label=name if kept else None)
    ax.axvline(size / 1e6, color="black", lw=0.8, linestyle="--")
    plain_ticks(ax.xaxis, (1, 1.5, 2, 3, 5, 10))
    if chosen:
        ax.plot(chosen["bytes"] / 1e6, chosen["exact_match"], "o", color="black", mfc="none", ms=14)
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.grid(alpha=0.3)
    if chosen is None:
        return fig, f"{said}: no model"
    what = f"{chosen[group]}, {chosen['bytes'] / 1e6:.2f} MB, {chosen['ms']:.1f} ms, {chosen['exact_match']:.1%} right"
    return fig, "\n".join([f"{said}: {what}", textwrap.fill(answer(chosen), 110)])
