"""Widgets bind a slider to a view and know nothing themselves."""

import torch
from matplotlib.figure import Figure

from dlmlab.attention.trajectories import Trajectory
from dlmlab.compress.pruning import Recipe, prune
from dlmlab.course import widgets
from tests.course.test_plotting import TOKENIZER, run  # noqa: F401 (a fixture)
from tests.tiny import tiny_model


def test_a_player_draws_the_state_its_slider_names_and_no_other():
    drawn = []
    player = widgets.Player(lambda i: drawn.append(i) or (Figure(), f"<state {i}>"), 4, "state", first=2)
    player.slider.value = 4
    assert drawn == [2, 4] and player.text.value == "<pre>&lt;state 4&gt;</pre>"
    assert (player.slider.min, player.slider.max, repr(player)) == (2, 4, "Player(state 2..4)")


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


def test_the_attention_player_shows_only_what_exists_in_a_state():
    words = TOKENIZER("8 * 2 = 16", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([words, words])
    visible = torch.ones_like(ids, dtype=torch.bool)
    visible[0, 3:] = False
    sums = torch.ones(2, 1, 2, len(words))
    sums[..., 1] = 3
    player = widgets.attention_player(Trajectory(ids, sums, visible), TOKENIZER)
    assert "* at 1 (3.0)" in player.text.value and "16" not in player.text.value
    player.slider.value = 1
    assert "before forward 2 of 2" in player.text.value and "16" in player.text.value


MODELS = [
    {"name": "a", "method": "greedy", "bytes": 100, "ms": 4.0, "exact_match": 0.5},
    {"name": "b", "method": "greedy", "bytes": 400, "ms": 2.0, "exact_match": 0.9},
    {"name": "c", "method": "dense, fewer steps", "bytes": 1600, "ms": 1.0, "exact_match": 0.8},
]


def test_two_sliders_give_the_best_model_that_both_allow():
    asked = []
    player = widgets.BudgetPlayer(MODELS, lambda row: asked.append(row["name"]) or f"<{row['name']}>", steps=6)
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
