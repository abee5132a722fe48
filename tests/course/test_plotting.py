"""Views are pure functions from state to figure and text: what is drawn is what is said."""

import io

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from dlmlab.course import plotting
from dlmlab.decode.commit import Fixed
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.measure.difference import Difference
from dlmlab.task.tokenizer import build_tokenizer
from tests.mocks import OracleDenoiser

TOKENIZER = build_tokenizer()


@pytest.fixture(scope="module")
def run():
    answer = TOKENIZER("8 * 2 = 16 ; #### 16<|endoftext|><|endoftext|>", add_special_tokens=False)["input_ids"]
    prompt = TOKENIZER("<|startoftext|>ben<|answer|>", add_special_tokens=False)["input_ids"]
    x0 = torch.tensor([prompt + answer])
    ids = {"mask_id": TOKENIZER.mask_token_id, "eos_id": TOKENIZER.eos_token_id}
    denoiser = OracleDenoiser(x0, len(TOKENIZER), TOKENIZER.mask_token_id)
    return sample(denoiser, [prompt], gen_length=len(answer), sampler=Sampler(commit=Fixed(5)), **ids)


def test_the_text_grid_goes_from_all_masks_to_the_answer(run):
    lines = plotting.text_grid(run, TOKENIZER).splitlines()
    assert len(lines) == 6  # the start and five forwards
    assert lines[0].split("|")[1].split() == [plotting.MASK_SIGN] * 10
    assert lines[-1].split("|")[1].split() == "8 * 2 = 16 ; #### 16 · ·".split()


def test_the_grid_skips_states_but_never_the_last(run):
    kept = [line.split("|")[0].strip() for line in plotting.text_grid(run, TOKENIZER, every=3).splitlines()]
    assert kept == ["0", "3", "5"]


def test_a_view_says_in_text_what_it_draws(run):
    fig, text = plotting.denoising_view(run, TOKENIZER, step=5)
    assert "after forward 5 of 5" in text and "8 * 2 = 16" in text
    written = sorted((t.get_position()[0], t.get_text()) for t in fig.axes[0].texts)
    assert [token for _, token in written] == "8 * 2 = 16 ; #### 16 · ·".split()


def test_a_cell_is_coloured_from_the_forward_that_commits_it_on(run):
    for step, state in enumerate(run.trace.states()):
        fig, _ = plotting.denoising_view(run, TOKENIZER, step=step)
        drawn = fig.axes[0].images[0].get_array()  # (5, 10), masked where nothing stands
        seen = [(~row).sum() for row in drawn.mask] if drawn.mask.any() else [10] * 5
        committed = int((state[run.prompt_length :] != TOKENIZER.mask_token_id).sum())
        assert seen[step:] == [0] * (5 - step) and (step == 0 or seen[step - 1] == committed)
        assert list(seen[:step]) == sorted(seen[:step])


def test_the_picture_of_the_network_says_who_is_read():
    causal, full = plotting.network_view().axes
    assert (len(causal.lines), len(full.lines)) == (4, 6)  # four tokens up to "=", and all six
    assert causal.texts[4].get_text() == "16" == [t.get_text() for t in causal.texts][-2]  # the next token
    assert full.texts[2].get_text() == plotting.MASK_SIGN and [t.get_text() for t in full.texts][-2] == "2"


def test_groups_on_top_of_each_other_are_joined_and_others_are_not():
    rows = [
        {"method": m, "nfe": x, "exact_match": y}
        for m, x, y in (("a", 5, 0.6), ("a", 10, 0.8), ("b", 5, 0.605), ("c", 5, 0.65), ("d", 6, 0.6))
    ]
    assert [r["method"] for r in plotting.alike(rows)] == ["a, b", "a, b", "c", "d"]


def test_a_step_outside_the_run_is_refused(run):
    with pytest.raises(ValueError, match=r"step=6 is outside 0\.\.5"):
        plotting.denoising_view(run, TOKENIZER, step=6)


def test_a_figure_without_a_description_is_not_shown():
    with pytest.raises(ValueError, match="describe"):
        plotting.show(plotting.figure(), alt="plot")


def test_a_table_aligns_numbers_to_the_right():
    text = plotting.table([{"rule": "a", "n": 5}, {"rule": "longer", "n": 10}])
    assert text.splitlines() == ["rule     n", "------  --", "a        5", "longer  10"]


def test_a_frontier_draws_one_line_a_method_with_its_interval():
    points = {"b": [(4, 0.9, 0.8, 0.95), (1, 0.5, 0.4, 0.7)], "a": [(2, 0.3, 0.25, 0.6)]}  # unsorted, lopsided
    keys = ("nfe", "exact_match", "low", "high")
    rows = [{"method": m} | dict(zip(keys, point, strict=True)) for m, mine in points.items() for point in mine]
    ax = plotting.frontier(rows, title="t").axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b", "a"]
    for bars, mine in zip(ax.containers, points.values(), strict=True):
        line, _, [spans] = bars.lines
        xs, ys, lows, highs = zip(*sorted(mine), strict=True)
        assert [list(data) for data in line.get_data()] == [list(xs), list(ys)]
        for segment, x, low, high in zip(spans.get_segments(), xs, lows, highs, strict=True):
            assert segment.ravel().tolist() == pytest.approx([x, low, x, high])


def test_a_frontier_with_ticks_is_logarithmic_and_may_begin_higher():
    rows = [{"method": "a", "nfe": n, "exact_match": 0.9, "low": 0.8, "high": 0.95} for n in (3, 40)]
    ax = plotting.frontier(rows, title="t", ticks=(1, 2.5, 40), least=0.5).axes[0]
    assert ax.get_xscale() == "log" and ax.get_ylim()[0] == 0.5
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2.5", "40"]


def test_a_forest_draws_every_difference_and_fills_only_those_that_have_a_word():
    shown, not_shown = Difference(-2.0, -3.0, -1.0, (-2.5, -1.5)), Difference(0.1, -0.2, 0.4, (0.3, -0.1))
    fig = plotting.forest({"one": [("50 %", shown)], "two": [("50 %", not_shown)]}, title="t", xlabel="x", near=0.1)
    (ax,) = fig.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "50 %", "two", "50 %"]
    dots = {float(line.get_xdata()[0]): line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"}
    assert dots == {-2.0: plotting.COLORS[0], 0.1: "white"}
    ends = [tuple(map(float, line.get_xdata())) for line in ax.lines if line.get_linewidth() == 1.6]
    assert ends == [(-3.0, -1.0), (-0.2, 0.4)]
    crosses = [tuple(map(float, line.get_xdata())) for line in ax.lines if line.get_marker() == "x"]
    assert crosses == [shown.seeds, not_shown.seeds]
    assert ax.get_xscale() == "symlog"
    linear = plotting.forest({"one": [("50 %", shown)]}, title="t", xlabel="x")
    assert linear.axes[0].get_xscale() == "linear"


def test_the_cache_view_marks_what_a_forward_computed(run):
    computed = torch.ones(5, run.ids.shape[1], dtype=torch.bool)
    computed[2, :3] = False
    fig, text = plotting.cache_view(run, computed, TOKENIZER, step=3)
    assert "forward 3 of 5 computes 10 of 13 columns" in text and text.count("[") == 10
    drawn = fig.axes[0].images[0].get_array()
    assert drawn.shape == (3, 13) and (drawn[2, :3] == 0).all() and (drawn == 2).sum() == 6
    with pytest.raises(ValueError, match="step=0 is outside 1..5"):
        plotting.cache_view(run, computed, TOKENIZER, step=0)


def test_the_attention_view_names_the_strongest_receivers_and_marks_them():
    mass, words = torch.tensor([0.5, 3.0, 1.0, 2.0]), ["^", "8", "*", "2"]
    fig, text = plotting.attention_view(mass, words, title="layer 0", top=2)
    assert text.splitlines() == ["layer 0", "strongest receivers: 8 at 1 (3.0), 2 at 3 (2.0)", "^ 8 * 2"]
    bars = fig.axes[0].patches
    assert [bar.get_height() for bar in bars] == mass.tolist()
    assert [i for i, bar in enumerate(bars) if bar.get_hatch()] == [1, 3]
    assert [label.get_text() for label in fig.axes[0].get_xticklabels()] == words


def test_panels_show_whole_runs_side_by_side(run):
    everything = torch.ones(5, run.ids.shape[1], dtype=torch.bool)
    few = everything.clone()
    few[1:, :3] = False
    left, right = plotting.cache_panels({"none": (run, everything), "some": (run, few)}).axes
    assert (left.get_title(), right.get_title()) == ("none", "some")
    assert int((left.images[0].get_array() == 0).sum()) == 0 and int((right.images[0].get_array() == 0).sum()) == 12


def test_a_grid_is_drawn_over_the_weights_it_is_for():
    row, points = torch.linspace(-1, 2, 40), torch.tensor([-1.0, 0.0, 1.0, 2.0])
    ax = plotting.grid_figure(row, row[:10], points, "t").axes[0]
    assert [line.get_xdata()[0] for line in ax.lines] == points.tolist()
    said = [text.get_text() for text in ax.get_legend().get_texts()]
    assert said == ["the whole row (40 weights)", "weights with this scale (10)", "grid, 4 points"]
    assert sum(p.get_height() for p in ax.patches) == 50


MODELS = [
    {"name": "a", "method": "x", "bytes": 100, "ms": 4.0, "exact_match": 0.9},
    {"name": "b", "method": "x", "bytes": 90, "ms": 2.0, "exact_match": 0.9},
    {"name": "c", "method": "y", "bytes": 100, "ms": 4.0, "exact_match": 0.8, "chosen_by": 0.95},
]


def test_a_budget_chooses_the_most_accurate_that_fits_and_of_equals_the_smaller():
    assert plotting.within(MODELS[:2], 100, 4.0)["name"] == "b"
    assert plotting.within(MODELS, 100, 4.0)["name"] == "c", "by the problems it was chosen on"
    assert plotting.within(MODELS, 90, 1.9) is None and plotting.within(MODELS, 89, 9.0) is None


def test_the_budget_view_marks_the_chosen_model_and_says_what_it_answers():
    fig, text = plotting.budget_view(MODELS, 95, 3.0, answer=lambda row: f"answer of {row['name']}")
    assert text.splitlines()[0].endswith("x, 0.00 MB, 2.0 ms, 90.0% right") and text.endswith("answer of b")
    rings = [line for line in fig.axes[0].lines if line.get_markersize() == 14]
    assert [line.get_ydata().tolist() for line in rings] == [[0.9]]
    assert {t.get_text() for t in fig.axes[0].get_legend().get_texts()} == {"x", "y"}
    fig, text = plotting.budget_view(MODELS, 10, 3.0, answer=lambda row: "never")
    assert text.endswith("no model") and not [line for line in fig.axes[0].lines if line.get_markersize() == 14]


def test_ticks_of_a_logarithmic_axis_are_the_given_numbers_that_it_shows():
    ax = plotting.figure().add_subplot(xscale="log", xlim=(1.2, 12))
    plotting.plain_ticks(ax.xaxis, (1, 1.5, 3, 10, 100))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1.5", "3", "10"]


def test_lines_keep_their_colours_beside_a_heat_map():
    fig = plotting.figure(7.0, 3.0)
    left, right = fig.subplots(1, 2)
    left.imshow(torch.linspace(0, 1, 80).view(8, 10), cmap="Blues")
    for i, color in enumerate(plotting.COLORS):
        right.plot([0, 1], [i, i + 0.5], "o-", color=color, lw=1.2)
    shown = np.asarray(Image.open(io.BytesIO(plotting.png(fig))).convert("RGB"), dtype=int).reshape(-1, 3)
    for color in plotting.COLORS:
        wanted = np.asarray([round(255 * v) for v in to_rgb(color)])
        assert np.abs(shown - wanted).max(1).min() <= 16, color
