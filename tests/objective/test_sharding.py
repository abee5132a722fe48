"""A run whose weights are cut among processes takes the steps of one process, and shares its states with it."""

import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from dlmlab import cli
from dlmlab.objective import sharding, training
from dlmlab.objective.batches import Batches
from dlmlab.objective.training import Run, build_model
from tests.objective.test_training import EXPERTS, TINY, launched, stored_log, write_toml
from tests.tiny import one_thread  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
# One row a process, and so many experts that some read nothing of it.
SPARSE = replace(EXPERTS, experts=16, rows=2, tokens=1_500, log_every=2, save_every=0.0, optimizer="adamw")


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest relative distance of two tensors of a name."""
    assert a.keys() == b.keys()
    return max(float((a[k] - b[k]).norm() / a[k].norm().clamp(min=1e-6)) for k in a)


def test_a_model_cut_in_two_gives_the_weights_of_one(tmp_path):
    # Muon moves the matrices of the blocks, AdamW the rest; the clip lies amid the norms of these steps.
    config = write_toml(tmp_path / "tiny.toml", replace(TINY, rows=8, log_every=10, clip=2.5, optimizer="muon"))
    arguments = ["train", "--config", str(config), "--stop-after", "20", "--out"]
    assert cli.main([*arguments, str(tmp_path / "one")]) == 0
    said = launched(*arguments, str(tmp_path / "two"), "--fsdp")
    here, all = (
        int(n.replace(",", "")) for n in re.search(r"2 processes cut its weights: (\S+) of (\S+)", said).groups()
    )
    assert all == sum(p.numel() for p in build_model(TINY).parameters()) and here / all == pytest.approx(0.5, abs=0.01)
    assert apart(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-4
    assert apart(build_model(TINY).state_dict(), weights(tmp_path / "two")) > 1e-2  # and it has learned something
    logs = [stored_log(tmp_path / name) for name in ("one", "two")]
    assert [e["loss"] for e in logs[0]] == pytest.approx([e["loss"] for e in logs[1]], rel=1e-4)


def test_states_pass_between_one_process_and_two_and_experts_may_stand_idle(tmp_path):
    config = write_toml(tmp_path / "tiny.toml", SPARSE)
    arguments = ["train", "--config", str(config), "--out"]
    assert cli.main([*arguments, str(tmp_path / "one")]) == 0
    launched(*arguments, str(tmp_path / "two"), "--fsdp", "--stop-after", "2")
    assert cli.main([*arguments, str(tmp_path / "two"), "--stop-after", "4"]) == 0
    said = launched(*arguments, str(tmp_path / "two"), "--fsdp")
    assert "going on from step 4" in said
    assert apart(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-3
    logs = [stored_log(tmp_path / name) for name in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) > 2
    for a, b in zip(*logs, strict=True):
        assert a.keys() == b.keys() and a["loss"] == pytest.approx(b["loss"], rel=1e-3)
    assert "exact_match" in logs[1][-1]  # judged on the whole model


def test_an_expert_that_reads_nothing_has_a_gradient_of_zeros_until_it_is_forgotten():
    for call_idle in (False, True):
        model, batch = build_model(EXPERTS), Batches(EXPERTS)(0)
        layer = model.pieces.blocks[1].mlp
        layer.call_idle = call_idle
        layer.gate.expert_bias[3] = -10.0  # never chosen, nor its group: experts 2 and 3
        training.learn(model, [], batch, clip=1e9, paired=True)
        gradients = [p.grad for p in layer.experts[3].parameters()]
        assert [g is None for g in gradients] == [not call_idle] * 3
        assert not call_idle or not any(g.any() for g in gradients)
        sharding.forget_idle(model, model.loads())
        assert model.loads()[0].gt(0).tolist() == [True, True, False, False]
        forgotten = [{p.grad is None for p in expert.parameters()} for expert in layer.experts]
        assert forgotten == [{False}, {False}, {True}, {True}]


def test_one_process_cannot_cut_a_model(tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ValueError, match="this is the only one: start several with torchrun"):
        Run(TINY, tmp_path, fsdp=True)


def test_a_plain_tensor_passes_through():
    x = torch.ones(2)
    state = {"a": [x, 1], "b": {"c": None}}
    assert sharding.whole(x) is x and sharding.part_of(x, x) is x and not sharding.is_part(x)
    assert sharding.gather(state, keep=False) == state  # nothing to gather
