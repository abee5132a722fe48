"""The files of a checkpoint: headers before weights, an index that keeps its promise, and one tensor at a time."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from dlmlab.network import checkpoint, shards
from dlmlab.network.checkpoint import load_model
from dlmlab.network.moe import merged
from dlmlab.network.shards import INDEX, CheckpointError
from tests.network.live import Live
from tests.tiny import one_thread, tiny_model, tiny_moe

__all__ = ["one_thread"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["dense", "experts"])
def folder(request, tmp_path):
    """Write a model in several files with an index."""
    model = tiny_model() if request.param == "dense" else tiny_moe(num_hidden_layers=2)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    return tmp_path


def index_of(folder) -> dict:
    return json.loads((folder / INDEX).read_text(encoding="utf-8"))


def complaint(folder) -> str:
    with pytest.raises(CheckpointError) as error:
        load_model(folder)
    return str(error.value)


def test_headers_name_every_tensor_with_its_shape_and_type(folder):
    model, found = load_model(folder), shards.entries(folder)
    assert found.keys() == model.state_dict().keys()
    assert all(found[k].shape == v.shape and found[k].dtype == v.dtype for k, v in model.state_dict().items())
    assert shards.index_problems(folder, found) == []
    for name, tensor in shards.tensors(found):
        assert torch.equal(tensor, model.state_dict()[name])


def test_a_missing_shard_is_named_with_what_it_held(folder):
    lost = sorted(folder.glob("*.safetensors"))[1]
    names = load_file(lost).keys()
    lost.unlink()
    message = complaint(folder)
    assert f"missing shard: {lost.name}" in message and all(f"missing: {name} " in message for name in list(names)[:3])


def test_a_stale_file_beside_the_shards_is_named(folder):
    save_file({"model.old.weight": torch.zeros(2)}, folder / "model-00009-of-00009.safetensors")
    assert "stale file, not in the index: model-00009-of-00009.safetensors" in complaint(folder)
    (folder / "model-00009-of-00009.safetensors").unlink()
    whole = {name: tensor.clone() for name, tensor in shards.tensors(shards.entries(folder))}
    save_file(whole, folder / "model.safetensors")  # everything twice
    assert "already in another file (a stale shard?)" in complaint(folder)


def test_an_index_that_names_absent_tensors_is_refused(folder):
    index = index_of(folder)
    shard = next(iter(index["weight_map"].values()))
    index["weight_map"]["model.nowhere.weight"] = shard
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    assert f"named by the index, but not in {shard}: model.nowhere.weight" in complaint(folder)


def test_a_tensor_that_the_index_forgets_is_named(folder):
    index = index_of(folder)
    shards_of = list(index["weight_map"].values())
    name = next(n for n, shard in index["weight_map"].items() if shards_of.count(shard) > 1)
    del index["weight_map"][name]
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    assert f"not named by the index: {name}" in complaint(folder)


@pytest.mark.parametrize("content", ["{}", "[]", '{"weight_map": 5}', '{"weight_map": {"a": 1}}', "{", ""])
def test_an_index_that_is_none_is_refused_in_one_line(folder, content):
    (folder / INDEX).write_text(content, encoding="utf-8")
    message = complaint(folder)
    assert INDEX in message and "\n" not in message


def test_a_shard_that_was_cut_short_is_named(folder):
    last = sorted(folder.glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-7])
    message = complaint(folder)
    assert last.name in message and "fetch it again" in message and "\n" not in message


def test_a_nan_is_found_in_whatever_file_it_stands(folder):
    for file in sorted(folder.glob("*.safetensors")):
        sound = load_file(file)
        name = sorted(sound)[-1]
        spoilt = sound[name].clone()
        spoilt.view(-1)[-1] = float("nan")
        save_file(sound | {name: spoilt}, file, metadata={"format": "pt"})
        assert f"non-finite: {name}" in complaint(folder)
        save_file(sound, file, metadata={"format": "pt"})


def test_a_tensor_of_all_experts_is_read_matrix_by_matrix(tmp_path):
    whole = torch.arange(24.0).view(2, 3, 4)
    save_file({"a.mlp.experts.up_proj": whole}, tmp_path / "model.safetensors")
    found = shards.entries(tmp_path, merged)
    assert [entry.shape for entry in found.values()] == [(3, 4), (3, 4)]
    for e, (name, tensor) in enumerate(shards.tensors(found)):
        assert name == f"a.mlp.experts.{e}.up_proj.weight" and torch.equal(tensor, whole[e])


def test_a_type_that_torch_does_not_have_is_no_crash(tmp_path):
    header = json.dumps({"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    try:
        assert shards.entries(tmp_path)["a"].dtype == "F4"
    except CheckpointError as error:  # a library that does not know it either
        assert "unreadable" in str(error)


# ------------------------------------------------------------------------------------------------ memory


def test_loading_holds_the_model_and_one_tensor_more(folder):
    """Cast from float32 to bfloat16, so that no tensor is the mapped file itself."""
    load_model(folder)
    with Live() as live:
        model = load_model(folder, dtype=torch.bfloat16)
    state = model.state_dict().values()
    whole, largest = (f(t.numel() * t.element_size() for t in state) for f in (sum, max))
    assert whole <= live.most <= whole + 4 * largest, (whole, live.most, largest)
    with Live() as greedy:  # the control: all tensors first, the model afterwards
        found = {name: tensor.bfloat16() for name, tensor in shards.tensors(shards.entries(folder))}
        copies = [tensor.clone() for tensor in found.values()]
    assert greedy.most >= 2 * sum(t.numel() * 2 for t in copies) > whole + 4 * largest


def test_weights_of_the_same_type_are_the_file_itself(folder):
    with Live() as live:
        model = load_model(folder)
    largest = max(t.numel() for t in model.state_dict().values())
    assert live.most <= 8 * largest  # bookkeeping of one tensor (is it finite?), and no copy


def test_only_one_file_is_open_at_a_time(folder, monkeypatch):
    opened, most = set(), 0
    real = shards.safe_open

    class Counted:
        def __init__(self, file, **options):
            self.file, self.inner = file, real(file, **options)

        def __enter__(self):
            nonlocal most
            opened.add(self.file)
            most = max(most, len(opened))
            return self.inner.__enter__()

        def __exit__(self, *error):
            opened.discard(self.file)
            return self.inner.__exit__(*error)

    monkeypatch.setattr(shards, "safe_open", Counted)
    load_model(folder)
    assert most == 1 and checkpoint.load_model is load_model
