"""Widgets bind a slider to a view and know nothing themselves; notebooks drive each and show one of its states."""

import ast
import inspect
import re
from pathlib import Path

import nbformat.v4 as v4
import pytest
import torch
from matplotlib.figure import Figure

from dlmlab import paths
from dlmlab.compress.pruning import Recipe, prune
from dlmlab.course import widgets
from tests.course.test_plotting import TOKENIZER, run  # noqa: F401 (a fixture)
from tests.notebooks.cells import parsed, read
from tests.tiny import tiny_model


def test_a_player_draws_the_state_its_slider_names_and_no_other():
    drawn = []
    player = widgets.Player(lambda i: drawn.append(i) or (Figure(), f"<state {i}>"), 4, "state", first=2)
    player.slider.value = 4
    assert drawn == [2, 4] and player.text.value == "<pre>&lt;state 4&gt;</pre>"
    assert (player.slider.min, player.slider.max, repr(player)) == (2, 4, "Player(state 2..4)")


def test_a_text_player_draws_what_is_typed_and_says_why_it_cannot():
    def view(text):
        if "?" in text:
            raise ValueError("no <questions>")
        return Figure(), f"<{text}>"

    player = widgets.TextPlayer(view, ["a", "b"], "text")
    assert player.text.value == "<pre>&lt;a&gt;</pre>" and repr(player) == "TextPlayer(text, 2 to choose from)"
    player.field.value = "c"  # none of the choices
    assert player.text.value == "<pre>&lt;c&gt;</pre>"
    player.field.value = "why?"
    assert player.text.value == "<pre>no &lt;questions&gt;</pre>"


def test_dragging_the_slider_changes_picture_and_text(run):  # noqa: F811
    player = widgets.denoising_player(run, TOKENIZER)
    before = bytes(player.image.value), player.text.value
    player.slider.value = 3
    assert player.slider.max == 5
    assert bytes(player.image.value) != before[0] and bytes(player.image.value).startswith(b"\x89PNG")
    assert "after forward 3 of 5" in player.text.value
    assert repr(player) == "Player(forward 0..5)"


def test_the_cache_player_starts_at_the_first_forward(run):  # noqa: F811
    player = widgets.cache_player(run, torch.ones(5, run.ids.shape[1], dtype=torch.bool), TOKENIZER)
    assert repr(player) == "Player(forward 1..5)"
    player.slider.value = 2
    assert "forward 2 of 5" in player.text.value


def test_the_pruning_player_shows_mask_and_answer_of_every_sparsity():
    ids = {"mask_token_id": TOKENIZER.mask_token_id, "eos_token_id": TOKENIZER.eos_token_id}
    model = tiny_model(vocab_size=len(TOKENIZER), max_sequence_length=48, **ids)
    made = []

    def pruned(sparsity):
        made.append(sparsity)
        return prune(model, Recipe("magnitude", sparsity))

    player = widgets.pruning_player(pruned, TOKENIZER, [1, 5, 2])
    player.slider.value = 5
    assert player.text.value.startswith("<pre>50%:") and "forwards" in player.text.value
    player.slider.value = 0
    assert player.text.value.startswith("<pre>0%:") and made == [0.0, 0.5]  # each model is made once
    fig, _ = widgets.pruning_view(pruned(0.5), TOKENIZER, [1, 5, 2], 0.5)
    assert "50% removed" in fig.axes[0].get_title()


# ------------------------------------------------------------------------------------------------ in the notebooks

NOTEBOOKS = paths.notebooks(Path(__file__).resolve().parents[2])
PLAYERS = [name for name, value in vars(widgets).items() if name.endswith("_player") and inspect.isfunction(value)]


@pytest.mark.parametrize("name", PLAYERS)
def test_a_player_is_bound_to_a_view_that_is_tested_without_it(name):
    views = set(re.findall(r"\b(\w+_view)\(", inspect.getsource(getattr(widgets, name))))
    files = (Path(__file__).with_name(f"test_{module}.py") for module in ("plotting", "widgets"))
    tests = [file.read_text(encoding="utf-8") for file in files]
    assert views, f"{name} draws by itself: its picture cannot be tested without a widget"
    assert all(any(f"{view}(" in test for test in tests) for view in views)


def widget_problems(nb) -> list[str]:
    """List the widgets of a notebook that no cell moves by `.value`, or that show no state as picture and text."""
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    problems = []
    for cell, after in zip(code, [*code[1:], v4.new_code_cell("")], strict=True):
        for node in ast.walk(parsed(cell)):
            made = ast.unparse(node.value) if isinstance(node, ast.Assign) else ""
            if re.match(r"dl\.widgets\.(\w*Player|\w+_player)\(", made):
                name, below = ast.unparse(node.targets[0]), f"{cell.source}\n{after.source}"
                problems += [] if re.search(rf"\b{name}\.\w+\.value = ", below) else [f"nothing moves {name}"]
                twin = "dl.plotting.show(" in below and "print(" in below
                problems += [] if twin else [f"no picture and text of {name} for those who have no kernel"]
    return problems


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_widget_is_driven_and_has_a_static_twin(path):
    assert widget_problems(read(path)) == []


def test_a_widget_without_a_twin_is_found():
    first = v4.new_code_cell("player = dl.widgets.denoising_player(out, tokenizer)\nplayer")
    twin = "player.slider.value = 2\nfig, text = view(2)\ndl.plotting.show(fig, alt='Bars.')\nprint(text)"
    assert widget_problems(v4.new_notebook(cells=[first, v4.new_code_cell(twin)])) == []
    assert widget_problems(v4.new_notebook(cells=[first])) == [
        "nothing moves player",
        "no picture and text of player for those who have no kernel",
    ]
    silent = v4.new_code_cell(twin.replace("print(text)", "text"))
    assert len(widget_problems(v4.new_notebook(cells=[first, silent]))) == 1


def test_the_grid_player_shows_grid_error_and_answer_of_every_choice():
    ids = {"mask_token_id": TOKENIZER.mask_token_id, "eos_token_id": TOKENIZER.eos_token_id}
    model = tiny_model(vocab_size=len(TOKENIZER), max_sequence_length=48, n_layers=3, **ids)
    player = widgets.grid_player(model, TOKENIZER, [1, 5, 2], groups=(16,))
    assert repr(player) == "GridPlayer(bits 2..8, group row, 16)"
    pictures = [bytes(player.image.value)]
    assert player.text.value.startswith("<pre>4 bits, one scale a row: 4.") and "forwards" in player.text.value
    player.bits.value = 2
    player.group.value = 16
    pictures += [bytes(player.image.value)]
    assert "2 bits, one scale a group of 16" in player.text.value and pictures[0] != pictures[1]
    errors = {}
    for bits, group in ((2, None), (2, 16), (6, None)):
        fig, text = widgets.grid_view(model, TOKENIZER, [1, 5, 2], bits, group)
        errors[bits, group] = float(text.split("relative error ")[1].split("%")[0])
        assert len(fig.axes[0].lines) == 2**bits
    assert errors[6, None] < errors[2, 16] < errors[2, None]


BUDGETED = [
    {"name": "a", "method": "greedy", "bytes": 100, "ms": 4.0, "exact_match": 0.5},
    {"name": "b", "method": "greedy", "bytes": 400, "ms": 2.0, "exact_match": 0.9},
    {"name": "c", "method": "dense, fewer steps", "bytes": 1600, "ms": 1.0, "exact_match": 0.8},
]


def test_two_sliders_give_the_best_model_that_both_allow():
    asked = []
    player = widgets.BudgetPlayer(BUDGETED, lambda row: asked.append(row["name"]) or f"<{row['name']}>", steps=6)
    assert "90.0% right" in player.text.value and "&lt;b&gt;" in player.text.value
    before = bytes(player.image.value)
    player.ms.value = 0
    assert "fewer steps" in player.text.value and bytes(player.image.value) != before
    player.bytes.value = 0
    assert "no model" in player.text.value
    player.ms.value = 6
    assert "50.0% right" in player.text.value
    player.bytes.value = 6
    assert asked == ["b", "c", "a"], "each model answers once"
    assert repr(player) == "BudgetPlayer(3 models, bytes and time 0..6)"
