"""What notebook 07 measures: edit rules against none, on the same problems."""

import torch

from dlmlab.network import checkpoint
from dlmlab.study import nb07_compressed as compressed
from dlmlab.study import nb07_edits as study
from dlmlab.study import nb07_load as load
from dlmlab.task import layout, tasks


def test_every_rule_is_compared_with_none_under_its_own_schedule():
    rows = [
        {"commit": commit, "edit": rule, "correct": "1100" if rule == "none" else "1110"}
        for commit in study.COMMITS
        for rule in study.EDITS
    ]
    found = study.gains(rows, "five forwards")
    assert list(found) == [rule for rule in study.EDITS if rule != "none"]
    assert all(gain.mean == 25.0 for gain in found.values())
    rows += [{"commit": "five forwards", "edit": "mask again below 0.1, 2 more", "correct": "1110"}]
    rows += [{"commit": name, "edit": "none", "correct": "1111"} for name in study.CONTROLS]
    assert study.quoted(rows)["threshold 0.9 replace above 0.9"] == 25.0
    assert study.quoted(rows)["control 2 more for masking again, against 7 plain"] == -25.0


def test_a_control_has_the_forwards_of_what_it_is_compared_with():
    for name, (rule, control) in study.PAIRS.items():
        spent = study.COMMITS["five forwards"].commit.steps + study.RULES[rule].extra
        assert study.CONTROLS[control].commit.steps == spent or "left to right" in name
    assert {(key["commit"], key["edit"]) for key in study.settings()} >= {(c, "none") for c in study.CONTROLS}


def test_the_company_of_a_block_is_counted_and_its_control_keeps_the_load():
    layers, B, L, E = 2, 3, 20, 8  # two whole blocks of eight, four tokens behind them
    sent = torch.zeros(layers, B, L, E, dtype=torch.bool)
    sent[..., 0] = True  # every token of layer 0 goes to the same expert, in layer 1 each to its own
    sent[1] = torch.eye(E, dtype=torch.bool).repeat(3, 1)[:L]
    where = torch.ones(B, L, dtype=torch.bool)
    where[0, 3] = False  # this block is not whole and does not count
    found = load.company(sent, where, torch.Generator().manual_seed(0))
    assert found["met"] == [1.0, 8.0]
    for control in ("own", "shuffled"):
        assert found[control][0] == 1.0 and 3.0 < found[control][1] < 7.5


def test_every_token_of_every_layer_has_its_experts():
    model, tokenizer = checkpoint.load(load.EXPERTS)
    rows = layout.encode_rows(tokenizer, tasks.load_split("test")[:3], side="right")
    sent = load.chosen(model, torch.where(rows.answer, tokenizer.mask_token_id, rows.x0), rows.x0)
    assert sent.shape[:3] == (5, *rows.x0.shape)
    assert (sent.sum(-1) == model.config.num_experts_per_tok).all()  # the last layer reads the noised half alone


def test_a_compressed_model_is_compared_with_its_own_kind():
    rows = []
    for key in compressed.settings():
        right = {"none": 4, "rtn": 2, "magnitude": 1}.get(key["method"], 3 if key["texts"] == compressed.MANY else 2)
        rows.append(key | {"correct": "1" * right + "0" * (4 - right)})
    assert all(gain.mean == 0.0 for gain in compressed.more(rows).values())  # both gain as much from more texts
    for model in compressed.MODELS:
        found = compressed.effects(rows, model)
        assert found["gptq - rtn"].mean == 25.0 and found["wanda - magnitude"].mean == 50.0
        assert found["sparsegpt - wanda"].mean == 0.0
        assert found[f"gptq, {compressed.MANY} - {compressed.FEW} texts"].mean == 25.0
        assert compressed.losses(rows, model)[f"gptq, {compressed.FEW} texts"].mean == -50.0
