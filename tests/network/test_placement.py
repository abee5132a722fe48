"""Room for the weights is asked for before they are read, and a device map puts them where it says."""

import pytest
import torch

from dlmlab.compress.registry import compress
from dlmlab.decode.cache import DualCache
from dlmlab.decode.commit import Threshold
from dlmlab.decode.run import decode, sampler_for
from dlmlab.decode.sampling import Sampler
from dlmlab.network import placement
from dlmlab.network.checkpoint import load_model, save_model
from dlmlab.network.codes import QSpec
from tests.tiny import one_thread, tiny_ids, tiny_model, tiny_moe

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")
MAKERS = {"dense": tiny_model, "experts": tiny_moe}


@pytest.fixture(params=MAKERS)
def saved(request, tmp_path):
    model = MAKERS[request.param]()
    save_model(model, tmp_path)
    return model, tmp_path


@torch.no_grad()
def logits(model):
    return model(tiny_ids()).logits


def test_too_little_memory_is_told_before_a_weight_is_read(saved, monkeypatch):
    model, folder = saved
    need = sum(t.numel() * 4 for t in model.state_dict().values())
    monkeypatch.setattr(placement, "free_memory", lambda device="cpu": need)
    load_model(folder)
    monkeypatch.setattr(placement, "free_memory", lambda device="cpu": need - 1)
    monkeypatch.setattr("dlmlab.network.shards.tensors", None)  # nobody may ask for weights now
    with pytest.raises(
        ValueError, match=r"its weights need .* MB in torch.float32 on cpu, where .* are free: take"
    ) as e:
        load_model(folder)
    assert "bfloat16" in str(e.value) and "device_map" in str(e.value) and "\n" not in str(e.value)


def test_free_memory_is_what_is_there():
    assert 2**20 < placement.free_memory() < 2**50
    assert placement._left_in_group(placement.Path("/no/such/group")) is None


def test_a_limit_of_the_container_counts(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n", encoding="utf-8")
    (tmp_path / "memory.current").write_text("700\n", encoding="utf-8")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n", encoding="utf-8")
    assert placement._left_in_group(tmp_path) == 450
    (tmp_path / "memory.max").write_text("max\n", encoding="utf-8")
    assert placement._left_in_group(tmp_path) is None


def layers_of(model) -> str:
    return next(n for n, m in model.named_modules() if m is model.pieces.blocks)


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}], ids=str)
def test_a_map_of_one_device_changes_nothing(saved, device_map):
    model, folder = saved
    assert torch.equal(logits(load_model(folder, device_map=device_map)), logits(model))


def test_blocks_on_disk_are_read_when_they_are_needed(saved):
    model, folder = saved
    blocks = layers_of(model)
    device_map = {"": "cpu", f"{blocks}.1": "disk"}
    found = load_model(folder, device_map=device_map)
    last = [p.device.type for n, p in found.named_parameters() if n.startswith(f"{blocks}.1.")]
    first = [p.device.type for n, p in found.named_parameters() if not n.startswith(f"{blocks}.1.")]
    assert set(last) == {"meta"} and set(first) == {"cpu"}
    assert torch.equal(logits(found), logits(model))
    half = load_model(folder, device_map=device_map, dtype=torch.bfloat16)
    assert torch.equal(logits(half), logits(load_model(folder, dtype=torch.bfloat16)))


def test_auto_puts_on_disk_what_no_device_holds(saved, monkeypatch):
    model, folder = saved
    need = sum(t.numel() * 4 for t in model.state_dict().values())
    monkeypatch.setattr("accelerate.utils.modeling.get_max_memory", lambda limits=None: {"cpu": need // 2})
    found = load_model(folder, device_map="auto")
    there = sum(p.numel() * 4 for p in found.parameters() if not p.is_meta)
    assert 0 < there <= need // 2  # accelerate keeps room for the largest block that is read from the disk
    assert torch.equal(logits(found), logits(model))


def test_a_model_over_memory_and_disk_answers_as_in_one_place(saved):
    """Caches, positions and attention maps cross from one block to the next."""
    model, folder = saved
    found = load_model(folder, device_map={"": "cpu", f"{layers_of(model)}.1": "disk"})
    assert set(map(str, found.hf_device_map.values())) == {"cpu", "disk"}
    samplers = [sampler_for(model.config), sampler_for(model.config, commit=Threshold(0.1), block_length=4)]
    samplers += [Sampler(block_length=4, cache=DualCache())] if model.config.attention == "full" else []
    for sampler in samplers:
        one, two = (decode(m, [[5, 6, 7], [8, 9]], gen_length=8, sampler=sampler) for m in (model, found))
        assert torch.equal(one.ids, two.ids) and one.trace.nfe == two.trace.nfe
    with torch.no_grad():
        one, two = (m(tiny_ids(), output_column_sums=True, output_hidden_states=True) for m in (model, found))
    for a, b in zip((*one.column_sums, *one.hidden_states), (*two.column_sums, *two.hidden_states), strict=True):
        assert torch.equal(a, b)


def test_a_model_with_parts_on_disk_is_not_compressed(saved):
    model, folder = saved
    found = load_model(folder, device_map={"": "cpu", f"{layers_of(model)}.1": "disk"})
    with pytest.raises(ValueError, match="parts of this model are on disk: load it whole"):
        compress(found, "rtn", QSpec(4))


def test_room_is_counted_device_by_device(saved, monkeypatch):
    model, folder = saved
    need = sum(t.numel() * 4 for t in model.state_dict().values())
    monkeypatch.setattr(placement, "free_memory", lambda device="cpu": need - 1)
    load_model(folder, device_map={"": "cpu", f"{layers_of(model)}.1": "disk"})  # less than all is enough now
    with pytest.raises(ValueError, match="on cpu"):
        load_model(folder, device_map={"": "cpu"})


@pytest.mark.parametrize(
    "device_map, word",
    [("all", "must be"), ({}, "must be"), ({"": "disk"}, "begins there"), ({"": "nowhere"}, "no device")]
    + [({"model": "cpu", "x": "cpu"}, None), ({"nothing": "cpu"}, "without a place")],
    ids=str,
)
def test_a_map_that_cannot_be_is_refused(saved, device_map, word):
    model, folder = saved
    if word is None:  # the head of one family stands outside `model`
        word = "lm_head.weight without a place" if layers_of(model) == "model.layers" else None
        if word is None:
            return
    with pytest.raises(ValueError, match=word):
        load_model(folder, device_map=device_map)


def test_a_size_is_written_for_people():
    assert placement.size(5_600_000) == "5.6 MB" and placement.size(32.1e9) == "32.1 GB"
