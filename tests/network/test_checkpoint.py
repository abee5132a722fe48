"""Loading: every tensor is accounted for, no code of the checkpoint is run, the network is asked only for a hub id."""

import json
import os
import random
import shutil
import socket
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from dlmlab.network import checkpoint, shards
from dlmlab.network.checkpoint import CheckpointError, account, load, save, shipped
from dlmlab.network.config import CONSTANTS, REQUIRED, TOKEN_IDS
from dlmlab.task.layout import EXAMPLES, encode_prompt
from dlmlab.task.tokenizer import MASK, build_tokenizer
from tests import damage
from tests.tiny import one_thread, tiny_ids, tiny_model, tiny_moe  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
TOKENIZER = build_tokenizer()
V, MASK_ID = len(TOKENIZER), TOKENIZER.mask_token_id
IDS = {key: getattr(TOKENIZER, key) for key in TOKEN_IDS}
HEAD, DOWN = "model.transformer.ff_out.weight", "model.transformer.blocks.1.ff_out.weight"

# `reference/sampling-methods.md` 4.1: every key of the config.json of LLaDA-8B, with tiny sizes and our token ids.
LLADA_8B_STYLE = {
    "architectures": ["LLaDAModelLM"], "model_type": "llada",
    "auto_map": {"AutoConfig": "configuration_llada.LLaDAConfig", "AutoModel": "modeling_llada.LLaDAModelLM"},
    "activation_type": "silu", "block_type": "llama", "block_group_size": 1, "d_model": 32, "n_heads": 4,
    "n_kv_heads": 4, "n_layers": 2, "mlp_hidden_size": 48, "mlp_ratio": 4, "vocab_size": V, "embedding_size": V + 3,
    "max_sequence_length": 64, "rope": True, "rope_theta": 500000.0, "rope_full_precision": True, "alibi": False,
    "rms_norm_eps": 1e-5, "layer_norm_type": "rms", "layer_norm_with_affine": True, "attention_layer_norm": False,
    "attention_layer_norm_with_affine": True, "include_bias": False, "include_qkv_bias": False,
    "bias_for_layer_norm": False, "multi_query_attention": None, "weight_tying": False, "scale_logits": False,
    "input_emb_norm": False, "attention_dropout": 0.0, "embedding_dropout": 0.0, "residual_dropout": 0.0,
    "init_fn": "mitchell", "init_std": 0.02, "init_cutoff_factor": None, "flash_attention": False,
    "precision": "amp_bf16", "eos_token_id": 0, "pad_token_id": 0, "mask_token_id": MASK_ID, "use_cache": False,
    "transformers_version": "4.46.3",
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Write a sound tiny checkpoint with the course's tokenizer, once."""
    folder = tmp_path_factory.mktemp("sound")
    save(tiny_model(vocab_size=V, **IDS), TOKENIZER, folder)
    return folder


@pytest.fixture
def folder(sound, tmp_path) -> Path:
    """Give a copy of the sound checkpoint, to be damaged."""
    return shutil.copytree(sound, tmp_path / "checkpoint")


@pytest.fixture
def knocks(monkeypatch) -> list:
    """Close the network and note every knock at it."""
    asked = []

    def closed(*address, **_):
        asked.append(address)
        raise OSError("the network is closed in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, closed)
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, closed)
    return asked


def spoil(folder, change):
    """Rewrite the tensors of a folder after `change(tensors)`."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def set_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def complaint(folder) -> str:
    with pytest.raises(CheckpointError) as error:
        load(folder)
    return str(error.value)


# ------------------------------------------------------------------------------------------------ sound checkpoints


def test_a_sound_folder_loads_bit_for_bit(folder, knocks):
    model, tokenizer = load(folder)
    saved = load_file(folder / "model.safetensors")
    assert saved.keys() == model.state_dict().keys()
    assert all(torch.equal(saved[k], v) for k, v in model.state_dict().items())
    assert not model.training and all(p.requires_grad for p in model.parameters())
    assert tokenizer.mask_token_id == model.config.mask_token_id
    assert load(str(folder)).model.config.d_model == 32
    assert not knocks


def test_dtype_sets_the_weights_not_the_logits(folder):
    half = load(folder, dtype=torch.bfloat16).model
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    spoil(folder, lambda tensors: tensors.update({k: v.bfloat16() for k, v in tensors.items()}))
    full = load(folder).model  # a file in bfloat16 is computed in float32 unless asked otherwise
    assert {p.dtype for p in full.parameters()} == {torch.float32}
    with torch.no_grad():
        assert torch.allclose(full(tiny_ids(vocab=V)).logits, half(tiny_ids(vocab=V)).logits, atol=1.0, rtol=0.1)


def test_an_8b_style_folder_loads_and_its_code_is_not_run(folder, knocks):
    model = tiny_model(vocab_size=V, embedding_size=V + 3, n_kv_heads=4, max_sequence_length=64, rope_theta=500000.0)
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(LLADA_8B_STYLE), encoding="utf-8")
    for name in ("configuration_llada.py", "modeling_llada.py"):
        (folder / name).write_text("raise SystemExit('code of the checkpoint was run')", encoding="utf-8")
    loaded = load(folder).model
    assert type(loaded).__module__ == "dlmlab.network.model" and loaded.config.attention == "full"
    with torch.no_grad():
        torch.testing.assert_close(loaded(tiny_ids(vocab=V)).logits, model(tiny_ids(vocab=V)).logits)
    assert not knocks


def test_a_tokenizer_that_does_not_name_its_mask_token_is_told(folder):
    PreTrainedTokenizerFast(  # LLaDA-8B: the token is in the vocabulary, `tokenizer.mask_token` is None (reference 4.1)
        tokenizer_object=TOKENIZER.backend_tokenizer,
        eos_token=TOKENIZER.eos_token,
        unk_token=TOKENIZER.unk_token,
        additional_special_tokens=[MASK],
    ).save_pretrained(folder)
    tokenizer = load(folder).tokenizer
    assert tokenizer.mask_token_id == MASK_ID
    assert tokenizer(MASK, add_special_tokens=False)["input_ids"] == [MASK_ID]


@pytest.mark.parametrize("family", ["llada", "llada2_moe"])
def test_a_tokenizer_without_a_mask_token_is_one_clear_sentence(family, folder):
    """It names none, and its vocabulary has no token of the name that the family's published tokenizer uses."""
    if family == "llada2_moe":
        save(
            tiny_moe(vocab_size=V, **IDS), TOKENIZER, folder
        )  # named <|mdm_mask|> here, <|mask|> where it is published
    else:
        set_tokenizer(folder, lambda text: text.replace(MASK, "<|other|>"))
    file = folder / "tokenizer_config.json"
    named = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({k: v for k, v in named.items() if k != "mask_token"}), encoding="utf-8")
    message, name = complaint(folder), "<|mask|>" if family == "llada2_moe" else MASK
    assert f"names no mask token and has no {name}" in message and "\n" not in message


def set_tokenizer(folder, change):
    path = folder / "tokenizer.json"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def test_shards_with_an_index_load_like_one_file(folder):
    whole = load(folder).model.state_dict()
    (folder / "model.safetensors").unlink()
    tiny_model(vocab_size=V, mask_token_id=MASK_ID).save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 1 and (folder / "model.safetensors.index.json").exists()
    assert all(torch.equal(whole[k], v) for k, v in load(folder).model.state_dict().items())


def test_a_lost_shard_is_missed_tensor_by_tensor(folder):
    (folder / "model.safetensors").unlink()
    tiny_model(vocab_size=V, mask_token_id=MASK_ID).save_pretrained(folder, max_shard_size="40KB")
    lost = max(folder.glob("*.safetensors"))
    names = load_file(lost).keys()
    lost.unlink()
    message = complaint(folder)
    assert names and all(f"missing: {name}" in message for name in names)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_model_loads_by_its_name(name, knocks):
    model, tokenizer = load(name)
    assert len(tokenizer) == model.config.vocab_size and not knocks


# ------------------------------------------------------------------------------------------------ damaged checkpoints


def rename(tensors):
    tensors["model.transformer.head.weight"] = tensors.pop(HEAD)


def poison(tensors):
    tensors[DOWN][3, 5] = float("nan")


def blow_up(tensors):
    tensors[DOWN][0, 0] = float("-inf")


@pytest.mark.parametrize(
    "change, lines",
    [
        (lambda t: t.pop(DOWN), [f"missing: {DOWN} (32, 48)"]),
        (lambda t: t.update(extra=torch.zeros(3)), ["unexpected: extra (3,)"]),
        (lambda t: t.update({DOWN: t[DOWN].T.contiguous()}), [f"misshapen: {DOWN} is (48, 32), needs (32, 48)"]),
        (rename, [f"missing: {HEAD} ({V}, 32)", f"unexpected: model.transformer.head.weight ({V}, 32)"]),
        (poison, [f"non-finite: {DOWN}"]),
        (blow_up, [f"non-finite: {DOWN}"]),
    ],
    ids=["missing", "unexpected", "misshapen", "renamed", "nan", "infinite"],
)
def test_a_wrong_tensor_is_named(folder, change, lines):
    spoil(folder, change)
    message = complaint(folder)
    assert all(line in message for line in lines) and f"{len(lines)} tensors do not fit" in message


def test_a_checkpoint_of_another_size_lists_its_problems_and_counts_the_rest(folder):
    set_config(folder, n_layers=6)  # four blocks of nine tensors are missing
    message = complaint(folder)
    assert "36 tensors do not fit" in message and message.count("missing: ") == 20 and "and 16 more" in message


def test_the_account_of_a_sound_checkpoint_is_empty():
    tensors = {"a": torch.zeros(2), "b": torch.ones(3, 4)}
    assert account({k: v.shape for k, v in tensors.items()}, tensors) == []


def test_a_truncated_file_is_named(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "model.safetensors" in complaint(folder)
    file.write_bytes(b"\x01")
    assert "unreadable" in complaint(folder)


def test_a_damaged_tokenizer_is_named_with_its_folder(folder):
    (folder / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"{folder.name}: no readable tokenizer: "):
        load(folder)


def test_a_pickle_is_never_read(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")  # a pickle that would run a command
    assert "no *.safetensors" in complaint(folder)


@pytest.mark.parametrize(
    "values, word",
    [
        ({"architectures": ["ILLaDAForCausalLM"]}, "ILLaDAForCausalLM"),  # another family that says llada
        (
            {"num_experts": 64, "architectures": ["LLaDAMoEModelLM"]},
            "LLaDAMoEModelLM",
        ),  # LLaDA-MoE says model_type llada too
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "LlamaForCausalLM"),
        ({"model_type": "bert", "architectures": None}, "bert"),
    ],
)
def test_another_architecture_is_named(folder, values, word):
    set_config(folder, **values)
    assert f"{word} is another architecture" in complaint(folder).replace("['", "").replace("']", "")


def test_a_known_class_under_an_unknown_type_is_told_both(folder):
    set_config(folder, model_type="llada3", architectures=["LLaDAModelLM"])
    said = complaint(folder)
    assert "model_type 'llada3' is another architecture, though it says ['LLaDAModelLM'] too" in said


@pytest.mark.parametrize(
    "key",
    ["include_bias", "include_qkv_bias", "alibi", "scale_logits", "weight_tying", "attention_layer_norm"]
    + ["attention_bias", "mlp_bias", "use_qk_norm"],
)
def test_a_flag_the_model_does_not_implement_is_named(folder, key):
    set_config(folder, **{key: True})
    assert f"{key} = True" in complaint(folder)


def test_a_tokenizer_with_another_mask_is_refused(folder):
    set_config(folder, mask_token_id=MASK_ID + 1)
    assert f"mask id {MASK_ID} in the tokenizer, {MASK_ID + 1} in the model" in complaint(folder)


# ------------------------------------------------------------------------------------------------ names


def test_an_unknown_name_lists_the_known_ones_without_the_network(knocks, monkeypatch, tmp_path):
    (tmp_path / "some-mini").mkdir()
    (tmp_path / "some-mini" / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(checkpoint, "DATA", tmp_path)
    with pytest.raises(ValueError, match="'llada-mimi'.*shipped: some-mini;.*hub:GSAI-ML/LLaDA-8B-Base"):
        load("llada-mimi")
    assert not knocks


@pytest.mark.parametrize(
    "name",
    ["", "no such model", "a/b/c", "../owner/name", "/nowhere/at/all", "https://owner/name"]
    + ["owner/name", "runs/half", "hub:", "hub:name", "hub:a/b/c", "x" * 5000, "a/\0"],
)
def test_a_name_that_is_no_hub_id_never_reaches_the_network(name, knocks):
    with pytest.raises(ValueError, match="no checkpoint|names no model of the hub"):
        load(name)
    assert not knocks


def test_a_folder_that_is_not_there_is_named_with_the_working_directory(knocks, monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:
        load("runs/half")
    assert str(tmp_path / "runs" / "half") in str(error.value) and f"directory is {tmp_path})" in str(error.value)
    with pytest.raises(ValueError, match="no checkpoint ''"):
        load("")  # not the folder one happens to be in
    assert not knocks


def test_a_relative_folder_comes_before_a_hub_id_of_the_same_spelling(folder, knocks, monkeypatch):
    monkeypatch.chdir(folder.parent.parent)
    assert load(f"{folder.parent.name}/{folder.name}").model.config.d_model == 32 and not knocks


def test_an_existing_folder_without_a_config_is_not_looked_up_in_the_hub(knocks, monkeypatch, tmp_path):
    (tmp_path / "runs" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no checkpoint 'runs/first'"):
        load("runs/first")
    assert not knocks


def test_a_hub_id_offline_fails_at_once_and_says_so(knocks, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    start = time.process_time()
    with pytest.raises(ValueError, match="the hub did not give 'nobody/no-such-model'.*hf download nobody/no-such-mod"):
        load("hub:nobody/no-such-model")
    assert time.process_time() - start < 5 and not knocks


def test_a_hub_download_takes_no_pickle_and_no_code(folder, monkeypatch):
    asked = {}

    def download(repo_id, *, allow_patterns):
        asked.update(repo_id=repo_id, patterns=allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert load("hub:nobody/no-such-model").model.config.d_model == 32
    assert asked["repo_id"] == "nobody/no-such-model"
    for file in ("pytorch_model.bin", "modeling_llada.py", "model.pt", "weights.pkl", "model.ckpt"):
        assert not any(Path(file).match(pattern) for pattern in asked["patterns"])
    for file in ("config.json", "model-00001-of-00006.safetensors", "model.safetensors.index.json", "tokenizer.json"):
        assert any(Path(file).match(pattern) for pattern in asked["patterns"])


@pytest.mark.parametrize(
    "key, value",
    [("rope", False), ("activation_type", "gelu"), ("block_type", "sequential"), ("rope_scaling", {"factor": 2})]
    + [("input_emb_norm", True), ("layer_norm_with_affine", False), ("tie_word_embeddings", True)]
    + [("clip_qkv", 8.0), ("quantization_config", {"bits": 4}), ("residual_dropout", 0.1), ("rope", None)],
)
def test_a_config_that_asks_for_what_the_model_does_not_do_is_refused(folder, key, value):
    set_config(folder, **{key: value})
    assert f"{key} = " in complaint(folder)


def test_a_broken_config_names_its_folder(tmp_path):
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="config.json: unreadable"):
        checkpoint.read_config(tmp_path)


def test_a_tensor_in_two_files_is_refused(tmp_path):
    for name in ("a", "b"):
        save_file({"x": torch.ones(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match="stale shard.*x"):
        shards.entries(tmp_path)


# ------------------------------------------------------------------------------------------------ all kinds of damage


def outcome(folder, ids):
    """Load and use a checkpoint: its logits and the ids of a prompt, or the complaint."""
    try:
        model, tokenizer = load(folder)
    except CheckpointError as error:
        return str(error)
    tokenizer.chat_template = tokenizer.chat_template or TOKENIZER.chat_template  # a lost one is missed on its own
    with torch.no_grad():
        logits = model(ids).logits
    special = (*(getattr(tokenizer, key) for key in (*TOKEN_IDS, "unk_token_id", "padding_side")),)
    return logits, (encode_prompt(tokenizer, EXAMPLES[0]), special, [getattr(model.config, key) for key in TOKEN_IDS])


@pytest.mark.filterwarnings("ignore")  # of the tokenizer library, about classes it does not know
def test_a_damaged_checkpoint_is_refused_in_one_line_or_gives_the_same_logits(folder):
    ids = tiny_ids(vocab=V)
    logits, prompt = outcome(folder, ids)
    drawn = random.Random(0).sample(sorted(damage.mutants(folder, seed=0), key=lambda m: m[:2]), 150)
    refused, start = 0, time.process_time()
    for what, name, content in drawn:
        if name == "config.json" and content is None:
            continue  # no checkpoint at all: a name that is not found
        file = folder / name
        sound = file.read_bytes()
        file.unlink() if content is None else file.write_bytes(content)
        result = outcome(folder, ids)
        if isinstance(result, str):
            refused += 1
            assert str(folder) in result and ("do not fit" in result or "\n" not in result), what
        else:
            assert torch.equal(result[0], logits) and result[1] == prompt, what
        file.write_bytes(sound)
    assert refused > len(drawn) / 2 and time.process_time() - start < 60  # none hangs


@pytest.mark.parametrize(
    "values",
    [{"n_layers": 10**9}, {"n_layers": 1000}, {"n_heads": 0}, {"d_model": -32}, {"n_layers": True}, {"n_layers": 2.0}]
    + [{"rope_theta": v} for v in (0, -1.0, float("nan"), float("inf"), "10000", True, 10**400)]
    + [{"rms_norm_eps": v} for v in (-1e-5, 0, float("nan"))]
    + [{"max_sequence_length": v} for v in (0, -1, "96")]
    + [{"vocab_size": V + 1}, {"embedding_size": 0}, {"eos_token_id": V}, {"pad_token_id": -1}, {"bos_token_id": [1]}]
    + [{"attention": "block:" + "9" * 5000}, {"attention": 1}, {"layer_mlp": 5}, {"layer_heads": [2.0, 4]}]
    + [{"num_attention_heads": 2}, {key: None for key in REQUIRED}],
    ids=lambda values: f"{next(iter(values))}={str(next(iter(values.values())))[:12]}",
)
def test_a_config_value_that_cannot_be_is_named_before_anything_is_made(folder, values, monkeypatch):
    monkeypatch.setattr(checkpoint, "empty_model", None)
    set_config(folder, **values)
    message = complaint(folder)
    assert all(key in message for key in values) and "\n" not in message and len(message) < 600


@pytest.mark.parametrize("key", [*REQUIRED, "attention"])
def test_a_missing_key_that_changes_results_is_not_guessed(folder, key):
    file = folder / "config.json"
    file.write_text(
        json.dumps({k: v for k, v in json.loads(file.read_text(encoding="utf-8")).items() if k != key}),
        encoding="utf-8",
    )
    assert f"not guessed: {key}" in complaint(folder)


def test_a_weight_that_the_cast_makes_infinite_is_named(folder):
    spoil(folder, lambda tensors: tensors[DOWN].__setitem__((3, 5), 70_000.0))
    load(folder)
    with pytest.raises(CheckpointError, match=f"too large for torch.float16: {DOWN}"):
        load(folder, dtype=torch.float16)
    spoil(folder, lambda tensors: tensors.update({DOWN: tensors[DOWN].double() * 1e39}))
    assert f"too large for torch.float32: {DOWN}" in complaint(folder)


def test_a_type_that_holds_no_weights_cannot_be_asked_for(folder):
    with pytest.raises(ValueError, match="int8"):
        load(folder, dtype=torch.int8)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_flipped_bit_in_a_shipped_model_is_found(folder, name, monkeypatch):
    sums = {f"{folder.name}/{f.name}": {"sha256": checkpoint.sha256(f)} for f in folder.iterdir()}
    (folder.parent / "MANIFEST.json").write_text(json.dumps(sums), encoding="utf-8")
    monkeypatch.setattr(checkpoint, "DATA", folder.parent)
    load(folder.name)
    content = bytearray((folder / name).read_bytes())
    at = content.rindex(b"1") if name != "model.safetensors" else -1
    content[at] ^= 2 if name != "model.safetensors" else 1
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} is not the file that was shipped"):
        load(folder.name)


# ------------------------------------------------------------------------------------------------ other people's tools

# The defaults of the published `configuration_llada.py`: what a missing key means there.
PUBLISHED = {
    "activation_type": "swiglu", "block_type": "sequential", "alibi": False, "rope": False, "rope_full_precision": True,
    "attention_dropout": 0.1, "residual_dropout": 0.1, "embedding_dropout": 0.1, "multi_query_attention": None,
    "attention_layer_norm": False, "input_emb_norm": False, "layer_norm_type": "default", "use_cache": False,
    "layer_norm_with_affine": True, "include_qkv_bias": False, "include_bias": False, "bias_for_layer_norm": None,
    "scale_logits": False, "weight_tying": True, "embedding_size": 50304, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
}  # fmt: skip
EIGHT_B = {k: LLADA_8B_STYLE[k] for k in CONSTANTS}


DENSE = [name for name in shipped() if name != "llada2-mini-toy"]  # the others have the keys of LLaDA-8B


@pytest.mark.parametrize("name", [*DENSE, "exported"])
def test_published_code_reads_the_architecture_of_the_8b_from_our_config(name, sound):
    folder = sound if name == "exported" else checkpoint.DATA / name
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert {k: (PUBLISHED | values)[k] for k in EIGHT_B} == EIGHT_B
    assert {
        "d_model",
        "n_heads",
        "n_kv_heads",
        "n_layers",
        "mlp_hidden_size",
        "vocab_size",
        "embedding_size",
    } <= values.keys()


@pytest.mark.parametrize("name", [*shipped(), "exported"])
def test_transformers_4_and_5_find_the_tokenizer_and_the_length_of_the_model(name, sound):
    folder = sound if name == "exported" else checkpoint.DATA / name
    values = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert values["tokenizer_class"] == "PreTrainedTokenizerFast" and "extra_special_tokens" not in values
    assert values["additional_special_tokens"] == ["<|answer|>"]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    length = config["max_position_embeddings" if name == "llada2-mini-toy" else "max_sequence_length"]
    assert values["model_max_length"] == length == load(folder).tokenizer.model_max_length


def test_the_usual_names_of_the_sizes_read_ours(sound):
    config = load(sound).model.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (32, 2, 4)
    assert (config.num_key_value_heads, config.intermediate_size, config.max_position_embeddings) == (2, 48, 32)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes (2026-11)")
@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_every_exported_file_can_be_read_by_the_same_people(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        save(tiny_model(vocab_size=V, **IDS), TOKENIZER, tmp_path)
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {mode}
