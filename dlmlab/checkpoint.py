"""Load checkpoints, with an account of every tensor.

`load("llada-mini")` finds a shipped model, `load("some/folder")` a folder, `load("GSAI-ML/LLaDA-8B-Instruct")` a model
of the hub (only then is the network asked). Safetensors only: no pickle and no code of the checkpoint is ever run.
Nothing is silently re-initialised: a missing, unexpected, misshapen or non-finite tensor is a `CheckpointError`.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from dlmlab.config import LLaDAConfig
from dlmlab.model import LLaDAModelLM
from dlmlab.paths import DATA

HUB_IDS = ("GSAI-ML/LLaDA-8B-Base", "GSAI-ML/LLaDA-8B-Instruct", "GSAI-ML/LLaDA-1.5")
LLADA_MASK = "<|mdm_mask|>"  # the 8B tokenizer knows the token but does not call it its mask token


# What `model.py` does; a config that asks for anything else would load and give wrong logits.
IMPLEMENTED = {
    "rope": True,
    "activation_type": "silu",
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "block_type": "llama",
    "rope_scaling": None,
    "tie_word_embeddings": False,
} | dict.fromkeys(
    ("include_bias", "include_qkv_bias", "bias_for_layer_norm", "alibi", "scale_logits", "weight_tying")
    + ("attention_layer_norm", "input_emb_norm", "multi_query_attention"),
    False,
)


class CheckpointError(ValueError):
    """The checkpoint and the model disagree; the message lists the tensors."""


class Checkpoint(NamedTuple):
    """A model in evaluation mode and its tokenizer."""

    model: LLaDAModelLM
    tokenizer: PreTrainedTokenizerBase


def shipped() -> list[str]:
    """List the names of the models in `data/`."""
    return sorted(p.parent.name for p in DATA.glob("*/config.json"))


def load(name: str | Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Checkpoint:
    """Load a model and its tokenizer.

    `name`: a shipped model, a folder, or a hub id `owner/name`. Raises `CheckpointError` for a damaged checkpoint and
    `ValueError` for an unknown name, with the known ones.
    """
    folder = find(name)
    model = load_model(folder, device=device, dtype=dtype)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # each tokenizer library raises its own classes
        raise CheckpointError(f"{folder}: no readable tokenizer: {error}") from error
    if tokenizer.mask_token_id is None:
        tokenizer.mask_token = LLADA_MASK
    if tokenizer.mask_token_id != model.config.mask_token_id:
        raise CheckpointError(
            f"{folder}: mask id {tokenizer.mask_token_id} in the tokenizer, {model.config.mask_token_id} in the model"
        )
    return Checkpoint(model, tokenizer)


def save(model: LLaDAModelLM, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Write a model and its tokenizer where `load` finds them: config, one safetensors file, tokenizer files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)


def find(name: str | Path) -> Path:
    """Return the folder of a checkpoint; a hub id is downloaded into the Hugging Face cache."""
    name = str(name)
    for folder in (DATA / name, Path(name)):
        if (folder / "config.json").is_file():
            return folder
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not Path(name).exists():
        from huggingface_hub import snapshot_download

        try:
            return Path(
                snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"])
            )
        except Exception as error:  # offline, private or missing: the hub library has a dozen classes for it
            raise ValueError(
                f"{name!r} is no folder with a config.json, and the hub did not give it: {error}"
            ) from error
    raise ValueError(
        f"no checkpoint {name!r}; shipped: {', '.join(shipped()) or 'none'}; a folder; "
        f"or a hub id such as {', '.join(HUB_IDS)}"
    )


def read_config(folder: Path) -> LLaDAConfig:
    """Read `config.json`. Raises `CheckpointError` when it describes another architecture."""
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{folder}/config.json: unreadable: {error}") from error
    if values.get("model_type") != "llada" or values.get("num_experts"):
        what = values.get("architectures") or values.get("model_type")
        raise CheckpointError(f"{folder}: {what} is another architecture than LLaDAModelLM (dense LLaDA)")
    for key, only in IMPLEMENTED.items():
        if values.get(key, only) not in (only, None):
            raise CheckpointError(f"{folder}: config has {key} = {values[key]!r}; this model implements {only!r}")
    names = ("architectures", "auto_map", "model_type", "transformers_version")
    try:
        return LLaDAConfig(**{k: v for k, v in values.items() if k not in names})
    except ValueError as error:
        raise CheckpointError(f"{folder}/config.json: {error}") from error


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Read every tensor of the safetensors files of a folder. Raises `CheckpointError` when there is none or one is
    unreadable."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder}: no *.safetensors file (other formats can run code and are not read)")
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as part:
                found = {key: part.get_tensor(key) for key in part.keys()}  # noqa: SIM118 (safe_open is not a mapping)
        except Exception as error:  # safetensors raises its own class, OSError or ValueError, by kind of damage
            raise CheckpointError(f"{file}: unreadable: {error}") from error
        if twice := sorted(found.keys() & tensors.keys()):
            raise CheckpointError(f"{file}: already in another file (a stale shard?): {', '.join(twice[:5])}")
        tensors |= found
    return tensors


def account(expected: dict[str, torch.Size], tensors: dict[str, torch.Tensor]) -> list[str]:
    """Compare what a model needs with what a file holds; returns one line a problem, nothing when all is well."""
    shared = sorted(expected.keys() & tensors.keys())
    problems = [f"missing: {k} {tuple(expected[k])}" for k in sorted(expected.keys() - tensors.keys())]
    problems += [f"unexpected: {k} {tuple(tensors[k].shape)}" for k in sorted(tensors.keys() - expected.keys())]
    problems += [
        f"misshapen: {k} is {tuple(tensors[k].shape)}, needs {tuple(expected[k])}"
        for k in shared
        if tensors[k].shape != expected[k]
    ]
    problems += [f"non-finite: {k}" for k in shared if not bool(torch.isfinite(tensors[k]).all())]
    return problems


def load_model(folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> LLaDAModelLM:
    """Load the model of a folder in evaluation mode. Raises `CheckpointError` with the full account when any tensor
    is wrong."""
    config = read_config(folder)
    with torch.device("meta"):
        model = LLaDAModelLM(config)
    tensors = read_tensors(folder)
    problems = account({k: v.shape for k, v in model.state_dict().items()}, tensors)
    if problems:
        more = f"\n  ... and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise CheckpointError(f"{folder}: {len(problems)} tensors do not fit\n  " + "\n  ".join(problems[:20]) + more)
    model.load_state_dict({k: v.to(device=device, dtype=dtype) for k, v in tensors.items()}, assign=True)
    return model.eval()
