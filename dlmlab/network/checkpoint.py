"""Load checkpoints, with an account of every tensor.

`load("llada-mini")` finds a shipped model, `load("some/folder")` a folder, `load("hub:GSAI-ML/LLaDA-8B-Instruct")` a
model of the hub: `hub:` is how a reader asks for the network, and nothing else asks it. Safetensors only: no pickle and
no code of the checkpoint is ever run. Nothing is guessed, re-initialised or let through: an odd config value, a
missing, unexpected, misshapen or non-finite tensor (also after the cast to another type), a tokenizer with other ids
than the model's and a shipped file that is not the one of `data/MANIFEST.json` are each a `CheckpointError`.
`from_pretrained(output_loading_info=True)` cannot stand in for this account: tried on damaged copies, it reports
missing and unexpected names, and nothing of a NaN, of integers for weights, or of a shard that was left over.
"""

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from dlmlab.network import packed
from dlmlab.network.config import TOKEN_IDS, LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.paths import DATA
from dlmlab.task.tokenizer import ANSWER, build_tokenizer, save_tokenizer

HUB_IDS = ("GSAI-ML/LLaDA-8B-Base", "GSAI-ML/LLaDA-8B-Instruct", "GSAI-ML/LLaDA-1.5")
LLADA_MASK = "<|mdm_mask|>"  # the 8B tokenizer knows the token but does not call it its mask token
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
READ = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "*.safetensors")


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

    `name`: a shipped model, a folder, or `hub:owner/name`. Raises `CheckpointError` for a damaged checkpoint and
    `ValueError` for an unknown name, with the known ones.
    """
    folder = find(name)
    check_shipped(folder)
    model = load_model(folder, device=device, dtype=dtype)
    return Checkpoint(model, load_tokenizer(folder, model.config))


def save(model: LLaDAModelLM, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Write a model and its tokenizer where `load` finds them: config, one safetensors file, tokenizer files.

    Packed matrices stay packed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures, model.config.dtype = [type(model).__name__], model.dtype
    model.config.quantization = packed.describe(model)
    model.config.save_pretrained(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copymode(folder / "config.json", folder / "model.safetensors")  # safetensors writes for its owner alone
    save_tokenizer(folder, tokenizer, max_length=model.config.max_sequence_length)


def find(name: str | Path) -> Path:
    """Return the folder of a checkpoint; a model of the hub is downloaded into the Hugging Face cache."""
    name = str(name)
    if name.startswith("hub:"):
        return _download(name.removeprefix("hub:"))
    try:
        found = [folder for folder in (DATA / name, Path(name)) if name and (folder / "config.json").is_file()]
    except OSError:  # a name too long for a file, a folder that may not be entered
        found = []
    if found:
        return found[0]
    raise ValueError(
        f"no checkpoint {name[:300]!r}: no readable config.json in {Path(name[:300]).absolute()} "
        f"(the working directory is {Path.cwd()}); shipped: {', '.join(shipped()) or 'none'}; "
        "a model of the hub is asked for with hub:, "
        f"such as {', '.join(f'hub:{known}' for known in HUB_IDS)}"
    )


def _download(name: str) -> Path:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"hub:{name[:300]} names no model of the hub; the form is hub:owner/name")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]))
    except Exception as error:  # offline, private or missing: the hub library has a dozen classes for it
        raise ValueError(f"the hub did not give {name!r}: {_line(error)}") from error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_shipped(folder: Path) -> None:
    """Compare what is loaded of a shipped model with the checksums of `data/MANIFEST.json`; other folders have none."""
    manifest = DATA / "MANIFEST.json"
    if folder.resolve().parent != DATA.resolve() or not manifest.is_file():
        return
    for name, entry in read_json(manifest).items():
        file = DATA / name
        if file.parent.name != folder.resolve().name or not any(file.match(pattern) for pattern in READ):
            continue
        found = sha256(file) if file.is_file() else "no such file"
        if found != entry["sha256"]:
            raise CheckpointError(
                f"{file} is not the file that was shipped: sha256 {found[:12]}, data/MANIFEST.json has "
                f"{entry['sha256'][:12]}; restore it, or after training anew run: python -m dlmlab manifest"
            )


def read_json(file: Path) -> dict:
    """Read a JSON object. Raises `CheckpointError` for anything else: no text, no JSON, too large, a key twice."""

    def once(pairs: list[tuple]) -> dict:
        if twice := [key for key, n in Counter(key for key, _ in pairs).items() if n > 1]:
            raise ValueError(f"{', '.join(twice[:5])} given twice")
        return dict(pairs)

    try:
        if file.stat().st_size > 2**20:
            raise ValueError(f"{file.stat().st_size:,} bytes are more than a config has")
        values = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: unreadable: {_line(error)}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file}: unreadable: a JSON object is needed, this is a {type(values).__name__}")
    return values


def read_config(folder: Path) -> LLaDAConfig:
    """Read `config.json`. Raises `CheckpointError` when it describes another architecture or what cannot be."""
    values = read_json(folder / "config.json")
    if values.get("model_type") != "llada" or values.get("num_experts"):
        what = values.get("architectures") or values.get("model_type")
        raise CheckpointError(f"{folder}: {what} is another architecture than LLaDAModelLM (dense LLaDA)")
    try:
        return LLaDAConfig.from_file(values)
    except ValueError as error:
        raise CheckpointError(f"{folder}/config.json: {error}") from error


def load_tokenizer(folder: Path, config: LLaDAConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder. Raises `CheckpointError` when its ids are not those of the model."""
    try:  # by name, from the folder: an `auto_map` would ask on the terminal whether to run code
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        vocabulary = tokenizer.get_vocab()
        if tokenizer.mask_token_id is None:
            tokenizer.mask_token = LLADA_MASK
        _agree(tokenizer, config)
        ids = {key: getattr(tokenizer, key) for key in TOKEN_IDS}
    except Exception as error:  # each tokenizer library raises its own classes
        raise CheckpointError(f"{folder}: no readable tokenizer: {_line(error)}") from error
    problems = [
        f"{key.removesuffix('_token_id')} id {ids[key]} in the tokenizer, {getattr(config, key)} in the model"
        for key in TOKEN_IDS
        if ids[key] != getattr(config, key)
    ]
    problems += vocabulary_problems(tokenizer, vocabulary, config.vocab_size)
    if problems:
        raise CheckpointError(f"{folder}: {'; '.join(problems)}")
    return tokenizer


def _agree(tokenizer: PreTrainedTokenizerBase, config: LLaDAConfig) -> None:
    """Let each of the two tell the other which special tokens it has not named; the rest is the model's to say."""
    for key in TOKEN_IDS:
        if getattr(tokenizer, key) is None and getattr(config, key, None) is not None:
            setattr(tokenizer, key.removesuffix("_id"), tokenizer.convert_ids_to_tokens(getattr(config, key)))
        elif getattr(config, key, None) is None:
            setattr(config, key, getattr(tokenizer, key))
    tokenizer.model_max_length, tokenizer.padding_side = config.max_sequence_length, "left"


def vocabulary_problems(tokenizer: PreTrainedTokenizerBase, vocabulary: dict[str, int], size: int) -> list[str]:
    """List what is wrong with the ids of a vocabulary: beyond the model's `size`, twice, or, where it is the course's
    own (it has the answer mark), other than the course builds."""
    beyond = [f"{token!r} = {i}" for token, i in vocabulary.items() if not 0 <= i < size]
    twice = [i for i, n in Counter(vocabulary.values()).items() if n > 1]
    problems = [f"ids beyond 0..{size - 1}: {', '.join(beyond[:5])}"] if beyond else []
    problems += [f"ids of two tokens: {', '.join(map(str, twice[:5]))}"] if twice else []
    if not problems and ANSWER in vocabulary:
        own = build_tokenizer()
        expected = own.get_vocab()
        other = [t for t in sorted(expected | vocabulary) if expected.get(t) != vocabulary.get(t)]
        if other:
            problems = [f"tokens with other ids than the course builds: {', '.join(map(repr, other[:5]))}"]
        elif tokenizer.unk_token != own.unk_token:
            problems = [f"unk_token is {tokenizer.unk_token!r}: unknown words would pass for known ones"]
        elif tokenizer.backend_tokenizer.to_str() != own.backend_tokenizer.to_str():
            problems = ["tokenizer.json splits texts in another way than the course's"]
        elif tokenizer.chat_template not in (None, own.chat_template):
            problems = ["chat_template is another than the course's: prompts would be others than in training"]
    return problems


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
            raise CheckpointError(f"{file}: unreadable: {_line(error)}") from error
        if twice := sorted(found.keys() & tensors.keys()):
            raise CheckpointError(f"{file}: already in another file (a stale shard?): {', '.join(twice[:5])}")
        tensors |= found
    return tensors


def account(
    expected: dict[str, torch.Size],
    tensors: dict[str, torch.Tensor],
    dtype: torch.dtype = torch.float32,
    *,
    stored: Mapping[str, torch.dtype] = MappingProxyType({}),
) -> list[str]:
    """Compare what a model of a `dtype` needs with what a file holds; returns one line a problem, nothing when all is
    well. `stored`: names of what is no weight but a part of a packed one, with the type that it must have."""
    shared = sorted(expected.keys() & tensors.keys())
    problems = [f"missing: {k} {tuple(expected[k])}" for k in sorted(expected.keys() - tensors.keys())]
    problems += [f"unexpected: {k} {tuple(tensors[k].shape)}" for k in sorted(tensors.keys() - expected.keys())]
    problems += [
        f"misshapen: {k} is {tuple(tensors[k].shape)}, needs {tuple(expected[k])}"
        for k in shared
        if tensors[k].shape != expected[k]
    ]
    problems += [
        f"not packed: {k} is {tensors[k].dtype}, needs {stored[k]}"
        for k in shared
        if k in stored and tensors[k].dtype != stored[k]
    ]
    return problems + [problem for k in shared if k not in stored and (problem := _unfit(k, tensors[k], dtype))]


def _unfit(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> str | None:
    if tensor.dtype not in FLOATS:
        return f"not a weight: {name} is {tensor.dtype}, needs one of {', '.join(map(str, FLOATS))}"
    if torch.isfinite(tensor.to(dtype)).all():  # after the cast: 70,000 is infinite in float16
        return None
    return f"{'too large for ' + str(dtype) if torch.isfinite(tensor).all() else 'non-finite'}: {name}"


def load_model(folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> LLaDAModelLM:
    """Load the model of a folder in evaluation mode. Raises `CheckpointError` with the full account when any tensor
    is wrong, `ValueError` for a type that holds no weights."""
    if dtype not in FLOATS:
        raise ValueError(f"dtype={dtype} holds no weights; known: {', '.join(map(str, FLOATS))}")
    config = read_config(folder)
    tensors = read_tensors(folder)
    if config.n_layers > len(tensors):
        raise CheckpointError(f"{folder}/config.json: n_layers = {config.n_layers}, but {len(tensors)} tensors in all")
    try:
        with torch.device("meta"):
            model = LLaDAModelLM(config)
    except ValueError as error:
        raise CheckpointError(f"{folder}/config.json: {error}") from error
    stored = {name: tensor.dtype for name, tensor in model.named_buffers()}  # nothing else is a buffer here
    problems = account({k: v.shape for k, v in model.state_dict().items()}, tensors, dtype, stored=stored)
    _refuse(folder, problems)
    types = dict.fromkeys(tensors, dtype) | stored
    model.load_state_dict({k: v.to(device=device, dtype=types[k]) for k, v in tensors.items()}, assign=True)
    _refuse(folder, packed.damage(model, config.quantization))
    model.config.dtype = dtype
    return model.eval()


def _refuse(folder: Path, problems: list[str]) -> None:
    if problems:
        more = f"\n  ... and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise CheckpointError(f"{folder}: {len(problems)} tensors do not fit\n  " + "\n  ".join(problems[:20]) + more)
