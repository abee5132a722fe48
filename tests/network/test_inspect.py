"""What a checkpoint is, told from its config and headers: full-size files without a byte of weights are enough."""

import json
import time
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch

from dlmlab.network import checkpoint, inspect, placement
from dlmlab.network.checkpoint import CheckpointError, save_model
from dlmlab.network.codes import QSpec
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.shards import INDEX
from tests.network.test_model import LLADA_8B
from tests.network.test_moe import PUBLISHED
from tests.tiny import tiny_model, tiny_moe

FULL = {
    "LLaDA-8B": (
        LLADA_8B | {"model_type": "llada", "architectures": ["LLaDAModelLM"], "auto_map": {"AutoConfig": "x"}}
    ),
    "LLaDA2-mini": PUBLISHED,
}
TOTALS = {"LLaDA-8B": (291, 8_015_581_184), "LLaDA2-mini": (14_813, 16_255_638_528)}  # reference 4.1 and 4.3


def without_weights(folder, values: dict, files: int) -> dict[str, tuple]:
    """Write a folder whose headers promise every tensor and whose files are holes of the right size."""
    config = checkpoint.FAMILIES[values["model_type"]][0].from_file(values)
    shapes = {k: tuple(v.shape) for k, v in checkpoint.empty_model(config).state_dict().items()}
    names, where = sorted(shapes), {}
    for f in range(files):
        header, end, file = {}, 0, f"model-{f + 1:05}-of-{files:05}.safetensors"
        for name in names[f::files]:
            n = 2 * torch.Size(shapes[name]).numel()
            header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [end, end + n]}
            end, where[name] = end + n, file
        text = json.dumps(header).encode()
        with (folder / file).open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            out.truncate(8 + len(text) + end)  # a sparse file: no block of it is on the disk
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / INDEX).write_text(json.dumps({"weight_map": where}), encoding="utf-8")
    return shapes


@pytest.mark.parametrize("name, files", [("LLaDA-8B", 6), ("LLaDA2-mini", 7)])
def test_a_published_model_is_accounted_for_from_its_headers(name, files, tmp_path):
    shapes = without_weights(tmp_path, FULL[name], files)
    start = time.process_time()
    report = inspect.look(tmp_path)
    assert time.process_time() - start < 10
    assert (report.tensors, report.parameters) == TOTALS[name] and report.problems == ()
    assert report.files == files and report.stored == 2 * sum(torch.Size(s).numel() for s in shapes.values())
    assert f"{report.tensors:,} tensors, {report.parameters:,} parameters" in str(report)
    assert report.memory["bfloat16"] == 2 * report.parameters
    if name == "LLaDA-8B":
        (tmp_path / f"model-00002-of-{files:05}.safetensors").unlink()
        lost = inspect.look(tmp_path)
        assert lost.problems[0] == f"missing shard: model-00002-of-{files:05}.safetensors"
        assert len(lost.problems) == 1 + len(sorted(shapes)[1::files])
        return
    c = PUBLISHED
    expert, D = 3 * c["hidden_size"] * c["moe_intermediate_size"], c["hidden_size"]
    attention = D * 3072 + D * D + 2 * 128 + 2 * D
    layers = 20 * attention + 3 * D * 5120 + 19 * (256 * D + 9 * expert)
    assert (
        report.active == layers + D + 157_184 * D + D
    )  # about a billion: with the head, the last norm, one row of the embedding


@pytest.mark.parametrize("name, wanted", [("llada-8b", "LLaDA-8B"), ("llada2.1-mini", "LLaDA2-mini")])
def test_the_configs_that_the_course_carries_describe_the_published_models(name, wanted):
    report = inspect.describe(name, checkpoint.read_config(checkpoint.find(f"published/{name}")))
    assert (report.tensors, report.parameters) == TOTALS[wanted]


def test_memory_is_that_of_the_model_as_it_would_be_held():
    """Against real packed models, not against the formula again."""
    from dlmlab.compress.registry import compress

    for model in (tiny_model(), tiny_moe()):
        report = inspect.describe("x", model.config)
        exact = sum(p.numel() * 4 for p in model.parameters())
        assert report.memory["float32"] == exact and report.memory["bfloat16"] == exact // 2
        for kind, bits in (("int8", 8), ("int4", 4)):
            small = compress(model, "rtn", QSpec(bits), packed=True)
            dense = sum(p.numel() * 2 for p in small.parameters())
            codes = [b for n, b in small.named_buffers() if not n.endswith("expert_bias")]
            assert report.memory[kind] == dense + sum(b.numel() * b.element_size() for b in codes)
            assert inspect.describe("x", small.config).parameters == report.parameters


def test_whether_a_machine_can_hold_it_depends_on_what_is_free(monkeypatch):
    monkeypatch.setattr(placement, "free_memory", lambda device="cpu": 20_000_000_000)
    report = inspect.describe("8B", LLaDAConfig(**LLADA_8B))
    assert [bool(report.fits(kind)) for kind in ("float32", "bfloat16", "int8", "int4")] == [False, True, True, True]
    assert "float32    32.1 GB  nowhere" in str(report) and "bfloat16   16.0 GB  cpu" in str(report)


def test_every_mismatch_is_listed_and_weights_are_not_read(tmp_path, monkeypatch):
    save_model(tiny_moe(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"moe_intermediate_size": 10}), encoding="utf-8")
    monkeypatch.setattr("dlmlab.network.shards.tensors", None)
    report = inspect.look(tmp_path)
    assert len(report.problems) == 2 * (8 + 1) * 3 and all(p.startswith("misshapen: ") for p in report.problems)
    assert f"{len(report.problems)} mismatches:" in str(report)


def test_a_shipped_model_has_no_mismatch():
    for name in checkpoint.shipped():
        report = inspect.look(name)
        biases = sum(b.numel() for b in checkpoint.empty_model(report.config).buffers())  # of experts: no parameters
        size = 2 if name.endswith("-b") else 4  # bytes a weight: the second pair is stored in bfloat16
        assert report.problems == () and report.files == 1 and report.parameters + biases == report.stored // size


def test_sizes_that_files_are_far_from_are_no_list_of_thousands(tmp_path):
    save_model(tiny_moe(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1000}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="num_hidden_layers = 1000 with its experts, but .* tensors in all"):
        inspect.look(tmp_path)


def test_a_model_of_the_hub_costs_its_config_and_its_headers(tmp_path, monkeypatch):
    model = tiny_moe()
    save_model(model, tmp_path)
    tensors = {
        k: SimpleNamespace(dtype="F32", shape=list(v.shape))
        for k, v in model.state_dict().items()
        if "layers.2" not in k
    }
    metadata = SimpleNamespace(files_metadata={"model.safetensors": SimpleNamespace(tensors=tensors)})
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file: str(tmp_path / file))
    monkeypatch.setattr(huggingface_hub, "get_safetensors_metadata", lambda name: metadata)
    report = inspect.look("hub:owner/name")
    assert report.files == 1 and all("layers.2" in p and p.startswith("missing") for p in report.problems)
    assert len(report.problems) == len(model.state_dict()) - len(tensors)

    def offline(name, file):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(ValueError, match="no network; where there is a network: hf download owner/name"):
        inspect.look("hub:owner/name")
