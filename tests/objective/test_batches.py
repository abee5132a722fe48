"""A recipe with a mistake is refused, and the message names the file, the key and what is allowed."""

import re

import pytest
import torch

from dlmlab.objective.batches import Batches, TrainConfig, check_plan, value_at, wrong_tokens


@pytest.mark.parametrize(
    "line, message",
    [
        ("rows = '64'", r"a\.toml: rows = '64' must be of type int"),
        ("compile = 1", r"compile = 1 must be of type bool"),
        ("tokens = 1.5", r"tokens = 1\.5 must be of type int"),
        ("lr = true", r"lr = True must be of type float"),
        ("suffix = 0.5", r"suffix = 0\.5 must be a list of pairs \[from, value\]"),
        ("suffix = [[0, 'a']]", r"must be a list of pairs"),
        ("suffix = [[0, 1.5]]", r"a\.toml: suffix=\(\(0, 1\.5\),\): every value must lie in 0\.\.1"),
        ("answer_only = []", r"answer_only=\(\) must begin at 0 and go up"),
        ("answer_only = [[5, 0.1]]", r"must begin at 0 and go up"),
        ("lr_plan = [[0, 1], [9, 0.5], [9, 0]]", r"lr_plan=.* must begin at 0 and go up"),
        ("lr_plan = [[0, -1]]", r"every value must lie in 0\.\.inf"),
        ("max_equations = [[0, 6]]", r"max_equations=\(\(0, 6\.0\),\): every value must lie in 1\.\.5"),
        ("warmup = 0", r"a\.toml: warmup=0 must be >= 1"),
        ("rows = 0", r"rows=0 must be >= 1"),
        ("lr = nan", r"lr=nan must be >= 0 and finite"),
        ("lr_rest = -1", r"lr_rest=-1"),
        ("save_every = inf", r"save_every=inf"),
        ("clip = 0", r"clip=0"),
        ("seed = -1", r"seed=-1 must lie in 0"),
        ("optimizer = 'sgd'", r"optimizer='sgd' is unknown; known: muon, adamw"),
        ("rows = = 3", r"a\.toml: .*line 2"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(tmp_path, line, message):
    path = tmp_path / "a.toml"
    path.write_text(f'name = "a"\n{line}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        TrainConfig.read(path)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../../x", "/tmp/x", "a/b", "a\\b", "C:x", "a\n", "a\0", " a", "a ", "a.", "-a", "nul", "COM1.txt"]
    + ["a" * 101, "a*", "~"],
)
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(ValueError, match=re.escape(f"name={name!r} must be a file name")):
        TrainConfig(name=name)


def test_plain_names_are_names():
    for name in ("a", "llada-mini", "v1.2_b", "Übung 3", "salient-0", "console"):
        assert TrainConfig(name=name).name == name


def test_a_recipe_that_is_no_text_is_named(tmp_path):
    (tmp_path / "d.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"d\.toml: "):
        TrainConfig.read(tmp_path / "d.toml")


def test_a_recipe_without_a_name_is_refused_with_its_file(tmp_path):
    path = tmp_path / "b.toml"
    path.write_text("tokens = 5\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"b\.toml: .*'name'"):
        TrainConfig.read(path)


def test_whole_numbers_stand_for_fractions_and_plans_become_tuples(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('name = "c"\nlr = 1\nlr_plan = [[0, 1], [10, 0]]\n', encoding="utf-8")
    config = TrainConfig.read(path)
    assert config.lr == 1.0 and isinstance(config.lr, float) and config.lr_plan == ((0, 1.0), (10, 0.0))


def test_a_plan_holds_until_its_next_entry():
    plan = ((0, 0.1), (10, 0.5))
    check_plan("share", plan, most=1.0)
    assert [value_at(plan, step) for step in (0, 9, 10, 99)] == [0.1, 0.1, 0.5, 0.5]


def test_with_a_reach_only_the_first_masks_of_a_masked_tail_count():
    options = dict(name="a", rows=8, answer_only=((0, 1.0),), suffix=((0, 1.0),))
    whole, near = (Batches(TrainConfig(**options, reach=reach))(3) for reach in (0, 4))
    assert torch.equal(whole.inputs, near.inputs)  # the text is the same, the loss is not
    assert bool((near.weight <= whole.weight).all())
    assert torch.equal(near.weight.sum(1), whole.weight.sum(1).clamp(max=4))
    first = whole.weight.int().argmax(1)
    assert bool(near.weight.gather(1, first[:, None]).all())


@pytest.mark.parametrize("salient", [0.0, 1.0])
def test_a_reach_leaves_rows_that_are_not_masked_to_the_end_alone(salient):
    options = dict(name="a", rows=8, answer_only=((0, 1.0),), salient=((0, salient),))
    whole, near = (Batches(TrainConfig(**options, reach=reach))(3) for reach in (0, 2))
    assert torch.equal(whole.weight, near.weight)


def test_the_first_steps_are_those_of_an_autoregressive_model():
    first = TrainConfig(name="a", rows=4, causal_steps=2)
    twin, plain = TrainConfig(name="a", rows=4, attention="causal"), TrainConfig(name="a", rows=4)
    for step, other in ((0, twin), (1, twin), (2, plain)):
        ours, theirs = Batches(first)(step), Batches(other)(step)
        assert torch.equal(ours.inputs, theirs.inputs) and torch.equal(ours.weight, theirs.weight)
    assert [first.attention_at(step) for step in (0, 1, 2)] == ["causal", "causal", "full"]


def test_a_drill_comes_before_the_problems_and_takes_none_of_them():
    first, plain = TrainConfig(name="a", rows=4, drill_steps=9), TrainConfig(name="a", rows=4)
    drilled, whole = Batches(first), Batches(plain)
    mask = drilled.tokenizer.mask_token_id
    for step in (0, 8):
        batch = drilled(step)
        assert batch.inputs.shape == (4, 36) and batch.weight.sum() == 24
        assert torch.equal(batch.inputs == mask, batch.weight)
        assert torch.equal(batch.inputs[~batch.weight], batch.targets[~batch.weight])
    assert torch.equal(drilled(3).targets, Batches(first)(3).targets)  # whatever was asked before
    assert not torch.equal(drilled(3).targets, drilled(4).targets)
    causal = Batches(TrainConfig(name="a", rows=4, drill_steps=9, causal_steps=12))(3)  # results as next tokens
    assert torch.equal(causal.inputs[:, 1:], causal.targets[:, :-1]) and causal.weight.sum() == 24
    assert torch.equal(causal.targets[causal.weight], drilled(3).targets[drilled(3).weight])
    for step in (9, 10, 16):
        assert torch.equal(drilled(step).inputs, whole(step).inputs)
    assert [len(rows) for rows in drilled.problems(1)] == [0] + [4] * 7
    assert drilled.problems(1)[1:] == whole.problems(1)[1:]


@pytest.mark.parametrize("options, message", [
    ({"suffix": ((0, 0.2), (9, 0.8)), "salient": ((0, 0.4),)}, "suffix and salient together are 1.2 at step 9"),
    ({"reach": -1}, "reach=-1"), ({"causal_steps": -1}, "causal_steps=-1 must be >= 0"),
    ({"drill_steps": -1}, "drill_steps=-1 must be >= 0"), ({"drill_equations": 0}, "drill_equations=0 must be >= 1"),
    ({"drill_steps": 5, "attention": "block:8"}, "drill_steps=5: a row of equations has no blocks"),
    ({"drill_steps": 1, "drill_equations": 17}, "drill_equations=17 are 102 tokens, more than max_sequence_length=96"),
    ({"causal_steps": 5, "attention": "causal"}, "causal_steps=5 prepares a model with attention 'full' only"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(name="a", **options)


def test_a_curriculum_shows_short_problems_first():
    short = Batches(TrainConfig(name="a", rows=8, max_equations=((0, 1), (8, 5))))
    plain = Batches(TrainConfig(name="a", rows=8))
    equals = short.tokenizer.convert_tokens_to_ids("=")
    assert all(bool(((short(step).targets == equals).sum(1) == 1).all()) for step in range(8))
    assert all(torch.equal(short(step).inputs, plain(step).inputs) for step in range(8, 12))


def test_a_curriculum_shows_every_number_of_equations_up_to_its_limit():
    batches = Batches(TrainConfig(name="a", rows=16, max_equations=((0, 3),)))
    equals = batches.tokenizer.convert_tokens_to_ids("=")
    assert {int(n) for step in range(8) for n in (batches(step).targets == equals).sum(1)} == {1, 2, 3}


def test_a_curriculum_packs_short_problems_too():
    options = dict(name="a", rows=4, context=64, max_equations=((0, 1),))
    batches = Batches(TrainConfig(**options))
    ids = batches(0).targets.tolist()
    equals, start = (batches.tokenizer.convert_tokens_to_ids(t) for t in ("=", "<|startoftext|>"))
    assert all(row.count(equals) <= row.count(start) for row in ids)


def test_a_salient_row_hides_a_result_and_every_later_copy_of_it():
    batches = Batches(TrainConfig(name="a", rows=32, answer_only=((0, 1.0),), salient=((0, 1.0),)))
    counts = set()
    for step in range(4):
        batch = batches(step)
        for text, hidden in zip(batch.targets, batch.weight, strict=True):
            answer = int((text == batches.answer_id).nonzero())
            results = ((text == batches.equals_id).nonzero()[:, 0] + 1).tolist()
            chosen = [r for r in results if hidden[r] and text[r] not in text[answer:r][hidden[answer:r]]]
            later = {i for r in chosen for i in range(r, len(text)) if text[i] == text[r]}
            assert later and {int(i) for i in hidden.nonzero()[:, 0]} == later
            counts.add(len(chosen) / len(results))
    assert 1.0 in counts and min(counts) < 0.5


def test_a_share_of_salient_rows_leaves_the_other_rows_as_they_were():
    options = dict(name="a", rows=64, answer_only=((0, 1.0),), suffix=((0, 0.4),))
    without, with_some = (Batches(TrainConfig(**options, salient=((0, s),)))(5) for s in (0.0, 0.3))
    changed = (without.weight != with_some.weight).any(1).float().mean()
    assert 0.1 < changed < 0.5


# ------------------------------------------------------------------------------------------------ blocks and edits

BLOCKS = {"name": "a", "attention": "block:8", "rows": 16, "threads": 1}


@pytest.mark.parametrize(
    "options, message",
    [({"family": "llada3"}, "family='llada3' is unknown"), ({"attention": "block:0"}, "attention='block:0' is unknown")]
    + [({"corrupt": ((0, 1.5),)}, "corrupt="), ({"balance": -1.0}, "balance=-1.0"), ({"kept_weight": -1.0}, "kept_w")]
    + [({"attention": "causal", "corrupt": ((0, 0.1),)}, "never reads its text again")],
    ids=str,
)
def test_a_recipe_of_blocks_or_experts_that_cannot_be_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"name": "a"} | options)


def test_the_blocks_of_a_row_have_times_of_their_own():
    """Shares of masks in the blocks of one row are as far apart as evenly drawn times, not alike."""
    shares = {}
    for attention in ("block:8", "full"):
        batches = Batches(TrainConfig(**BLOCKS | {"attention": attention, "answer_only": ((0, 0.0),)}))
        rows = [batches(step) for step in range(6)]
        masked = [(b.weight.view(len(b.weight), -1, 8)[:, 1:4]).float().mean(-1) for b in rows]  # whole blocks
        shares[attention] = torch.cat(masked).std(1).mean()
    assert shares["block:8"] > 1.5 * shares["full"]


def test_block_masks_hide_what_the_loss_counts_and_nothing_else():
    batch = Batches(TrainConfig(**BLOCKS))(3)
    assert torch.equal(batch.inputs != batch.targets, batch.weight) and bool(batch.weight.any())
    assert batch.corrupted is None and batch.kept is None


def test_without_blocks_a_batch_is_as_before_there_were_any():
    """The hash of the first batches of the shipped recipe's options, before this option existed."""
    batch = Batches(TrainConfig(name="a", rows=4, suffix=((0, 0.5),), reach=3))(1)
    again = Batches(TrainConfig(name="a", rows=4, suffix=((0, 0.5),), reach=3, corrupt=((0, 0.0), (5, 0.5))))(1)
    assert torch.equal(batch.inputs, again.inputs) and torch.equal(batch.weight, again.weight)


@pytest.mark.parametrize("attention", ["full", "block:8"])
def test_a_share_of_what_is_visible_is_wrong_and_marked_so(attention):
    plain = Batches(TrainConfig(**BLOCKS | {"attention": attention}))
    batches = Batches(TrainConfig(**BLOCKS | {"attention": attention, "corrupt": ((0, 0.25),)}))
    mask_id, wrong, right = batches.tokenizer.mask_token_id, 0, 0
    for step in range(8):
        batch = batches(step)
        assert torch.equal(batch.weight, plain(step).weight) and torch.equal(batch.targets, plain(step).targets)
        assert torch.equal(batch.inputs == mask_id, batch.weight)  # a wrong token is never the mask
        assert torch.equal((batch.inputs != batch.targets) & ~batch.weight, batch.corrupted)
        assert not bool((batch.corrupted & batch.kept).any() | (batch.kept & batch.weight).any())
        wrong, right = wrong + int(batch.corrupted.sum()), right + int(batch.kept.sum())
    assert 0.2 < wrong / (wrong + right) < 0.3


def test_a_wrong_token_is_any_but_the_right_one_and_the_mask():
    x0 = torch.arange(6).repeat(4000, 1)
    drawn = wrong_tokens(x0, 2, 6, generator=torch.Generator().manual_seed(0))
    for token in range(6):
        counts = drawn[:, token].bincount(minlength=6).float()
        allowed = [v for v in range(6) if v not in (token, 2)]
        assert counts[[v for v in range(6) if v not in allowed]].sum() == 0
        assert bool((counts[allowed] - 4000 / len(allowed)).abs().max() < 250), (token, counts)
    with pytest.raises(ValueError, match="V=2"):
        wrong_tokens(x0, 0, 2, generator=torch.Generator())
