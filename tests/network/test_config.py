"""A configuration says everything a result depends on, and refuses what the model does not compute."""

import pytest
from transformers import AutoConfig

from dlmlab.network.config import ABSENT, CONSTANTS, REAL, REQUIRED, WHOLE, LLaDAConfig, attention_block
from tests.network.test_model import LLADA_8B
from tests.tiny import SIZES


@pytest.mark.parametrize("sizes", [{"d_model": 30}, {"n_kv_heads": 3}])
def test_heads_that_do_not_divide_are_refused(sizes):
    with pytest.raises(ValueError, match="divide"):
        LLaDAConfig(**SIZES | sizes)


@pytest.mark.parametrize("text, block", [("full", None), ("causal", 1), ("block:1", 1), ("block:32", 32)])
def test_attention_kinds(text, block):
    assert attention_block(text) == block


@pytest.mark.parametrize(
    "text", ["", "Full", "block", "block:", "block:0", "block:-1", "block:2.5", "block:²", "causal:3", "sparse"]
)
def test_an_unknown_kind_of_attention_is_refused(text):
    with pytest.raises(ValueError):
        attention_block(text)
    with pytest.raises(ValueError):
        LLaDAConfig(attention=text)


def test_auto_config_keeps_every_key(tmp_path):
    config = LLaDAConfig(**LLADA_8B, attention="block:32", mask_token_id_of_a_friend=7)
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(again) is LLaDAConfig and again.to_diff_dict() == config.to_diff_dict()
    assert all(getattr(again, key) == value for key, value in LLADA_8B.items())


def test_everything_that_is_wrong_is_said_at_once():
    wrong = {key: low - 1 for key, (low, high) in WHOLE.items()} | {key: "x" for key in REAL}
    with pytest.raises(ValueError) as error:
        LLaDAConfig(**wrong)
    assert not [key for key in wrong if f"{key} = " not in str(error.value)]


@pytest.mark.parametrize("value", [True, 2.0, "2", None, 2**24 + 1])
def test_a_size_is_a_whole_number_and_no_yes(value):
    with pytest.raises(ValueError, match="d_model = "):
        LLaDAConfig(**SIZES | {"d_model": value})


@pytest.mark.parametrize("key", [*CONSTANTS, *ABSENT])
def test_what_the_model_does_not_compute_is_refused_unless_it_is_switched_off(key):
    only = CONSTANTS.get(key)
    LLaDAConfig(**SIZES, **{key: only})
    if not only:
        LLaDAConfig(**SIZES, **{key: False})
    with pytest.raises(ValueError, match=f"{key} = 'other'; this model implements"):
        LLaDAConfig(**SIZES, **{key: "other"})


def test_a_name_of_transformers_may_repeat_a_size_and_not_change_it():
    assert LLaDAConfig(**SIZES, hidden_size=32).hidden_size == 32
    with pytest.raises(ValueError, match="hidden_size = 64 is another name of d_model = 32"):
        LLaDAConfig(**SIZES, hidden_size=64)


@pytest.mark.parametrize("key", [*REQUIRED, "attention"])
def test_a_file_must_say_what_results_depend_on(key):
    values = LLaDAConfig(**SIZES).to_dict()
    assert LLaDAConfig.from_file(values).to_dict() == values
    del values[key]
    with pytest.raises(ValueError, match=f"missing and not guessed: {key}"):
        LLaDAConfig.from_file(values)


def test_a_published_file_need_not_say_that_attention_is_full():
    values = {k: v for k, v in LLaDAConfig(**SIZES).to_dict().items() if k != "attention"} | {"auto_map": {"x": "y"}}
    assert LLaDAConfig.from_file(values).attention == "full"


def test_layers_of_a_pruned_model_have_shapes_of_their_own():
    config = LLaDAConfig(**SIZES, layer_heads=[4, 2], layer_mlp=[48, 7])
    assert [config.layer_shape(i) for i in (0, 1)] == [(4, 2, 48), (2, 1, 7)]
    assert LLaDAConfig(**SIZES).layer_shape(1) == (4, 2, 48)
    for key, value in (("layer_heads", [4]), ("layer_heads", [4, 3]), ("layer_heads", [4, 6]), ("layer_mlp", [48, 0])):
        with pytest.raises(ValueError, match=f"{key}="):
            LLaDAConfig(**SIZES, **{key: value})
