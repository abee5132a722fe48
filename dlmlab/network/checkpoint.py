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
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.initialization import no_init_weights

from dlmlab.network import packed, placement, shards
from dlmlab.network.config import TOKEN_IDS, LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.network.moe import LLaDA2Config, LLaDA2MoeModelLM, merged
from dlmlab.network.shards import CheckpointError, Entry, line, read_json
from dlmlab.paths import DATA
from dlmlab.task.tokenizer import ANSWER, build_tokenizer, save_tokenizer

HUB_IDS = ("GSAI-ML/LLaDA-8B-Base", "GSAI-ML/LLaDA-8B-Instruct", "GSAI-ML/LLaDA-1.5")
HUB_IDS += ("inclusionAI/LLaDA2.0-mini", "inclusionAI/LLaDA2.1-mini")
FAMILIES = {config.model_type: (config, model) for config, model in
            ((LLaDAConfig, LLaDAModelLM), (LLaDA2Config, LLaDA2MoeModelLM))}  # fmt: skip
ALIASES = {"llada2_moe_veomni": "llada2_moe"}  # dFactory's name for the model that it trains, experts in one tensor
KEPT = ".expert_bias"  # decides between close scores: float32 whatever the weights are
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
READ = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "*.safetensors")


class Checkpoint(NamedTuple):
    """A model in evaluation mode and its tokenizer."""

    model: LLaDAModelLM
    tokenizer: PreTrainedTokenizerBase


def shipped() -> list[str]:
    """List the names of the models in `data/`."""
    return sorted(p.parent.name for p in DATA.glob("*/config.json"))


def load(
    name: str | Path,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    device_map: str | Mapping[str, int | str] | None = None,
) -> Checkpoint:
    """Load a model and its tokenizer.

    `name`: a shipped model, a folder, or `hub:owner/name`. `device_map`, of accelerate: "auto", or a device for parts
    of the model by name ("disk": stays in its file and is read when it is needed); then `device` is not looked at.
    Raises `CheckpointError` for a damaged checkpoint and `ValueError` for an unknown name, with the known ones, and
    for more weights than memory.
    """
    folder = find(name)
    check_shipped(folder)
    model = load_model(folder, device=device, dtype=dtype, device_map=device_map)
    return Checkpoint(model, load_tokenizer(folder, model.config))


def save(model: LLaDAModelLM, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Write a model and its tokenizer where `load` finds them: config, one safetensors file, tokenizer files.

    Packed matrices stay packed.
    """
    save_model(model, folder)
    save_tokenizer(Path(folder), tokenizer, max_length=model.config.max_sequence_length)


def save_model(model: LLaDAModelLM, folder: str | Path) -> None:
    """Write a model alone, as `save` does."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures, model.config.dtype = [model.config.architecture], model.dtype
    model.config.quantization = packed.describe(model)
    model.config.save_pretrained(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copymode(folder / "config.json", folder / "model.safetensors")  # safetensors writes for its owner alone


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


def hub_name(name: str) -> str:
    """Return owner/name of `hub:owner/name`. Raises `ValueError` for another form."""
    name = name.removeprefix("hub:")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"hub:{name[:300]} names no model of the hub; the form is hub:owner/name")
    return name


def not_given(name: str, error: Exception) -> ValueError:
    """Make the error that says how to get a model of the hub where there is a network."""
    return ValueError(
        f"the hub did not give {name!r}: {line(error)}; where there is a network: hf download {name} --local-dir "
        f"{name.split('/')[1]}, then load that folder"
    )


def _download(name: str) -> Path:
    name = hub_name(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]))
    except Exception as error:  # offline, private or missing: the hub library has a dozen classes for it
        raise not_given(name, error) from error


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


def read_config(folder: Path) -> LLaDAConfig:
    """Read `config.json`. Raises `CheckpointError` when it describes another architecture or what cannot be."""
    values = read_json(folder / "config.json")
    kind, named = values.get("model_type"), values.get("architectures")
    known = FAMILIES.get(ALIASES.get(kind, kind)) if isinstance(kind, str) else None
    what = f"{folder}: {named or kind} is another architecture than"
    if known is None:
        if isinstance(named, list) and any(config.architecture in named for config, _ in FAMILIES.values()):
            what = f"{folder}: model_type {kind!r} is another architecture, though it says {named} too, than"
        names = " and ".join(config.architecture for config, _ in FAMILIES.values())
        raise CheckpointError(f"{what} {names}, the families that are read here")
    if kind == "llada" and values.get("num_experts"):
        raise CheckpointError(
            f"{what} the dense LLaDAModelLM, under the same model_type: LLaDA-MoE-7B-A1B is not read: it routes "
            "otherwise (no groups, no shared expert, weights that are not normalised), which is not implemented"
        )
    if isinstance(named, list) and named and known[0].architecture not in named:
        raise CheckpointError(f"{what} {known[0].architecture}, though it says model_type {kind!r} too")
    try:
        return known[0].from_file(values)
    except ValueError as error:
        raise CheckpointError(f"{folder}/config.json: {error}") from error


def load_tokenizer(folder: Path, config: LLaDAConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder. Raises `CheckpointError` when its ids are not those of the model."""
    try:  # by name, from the folder: an `auto_map` would ask on the terminal whether to run code
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        vocabulary = tokenizer.get_vocab()
        if tokenizer.mask_token_id is None:
            if config.mask_token not in vocabulary:
                raise ValueError(f"it names no mask token and has no {config.mask_token}")
            tokenizer.mask_token = config.mask_token
        _agree(tokenizer, config)
        ids = {key: getattr(tokenizer, key) for key in TOKEN_IDS}
    except Exception as error:  # each tokenizer library raises its own classes
        raise CheckpointError(f"{folder}: no readable tokenizer: {line(error)}") from error
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


def account(
    expected: Mapping[str, torch.Size],
    found: Mapping[str, Entry | torch.Tensor],
    *,
    stored: Mapping[str, torch.dtype] = MappingProxyType({}),
) -> list[str]:
    """Compare the tensors that a model needs with those that files hold, by name, shape and type; returns one line a
    problem, nothing when all is well. `stored`: names of what is no weight but a part of a packed one, with its type.
    """
    shared = sorted(expected.keys() & found.keys())
    problems = [f"missing: {k} {tuple(expected[k])}" for k in sorted(expected.keys() - found.keys())]
    problems += [f"unexpected: {k} {tuple(found[k].shape)}" for k in sorted(found.keys() - expected.keys())]
    problems += [
        f"misshapen: {k} is {tuple(found[k].shape)}, needs {tuple(expected[k])}"
        for k in shared
        if tuple(found[k].shape) != tuple(expected[k])
    ]
    problems += [
        f"not packed: {k} is {found[k].dtype}, needs {stored[k]}"
        for k in shared
        if k in stored and found[k].dtype != stored[k]
    ]
    return problems + [
        f"not a weight: {k} is {found[k].dtype}, needs one of {', '.join(map(str, FLOATS))}"
        for k in shared
        if k not in stored and found[k].dtype not in FLOATS
    ]


def _unfit(name: str, tensor: torch.Tensor, cast: torch.Tensor) -> str | None:
    if torch.isfinite(cast).all():  # after the cast: 70,000 is infinite in float16
        return None
    return f"{'too large for ' + str(cast.dtype) if torch.isfinite(tensor).all() else 'non-finite'}: {name}"


def split_of(config: LLaDAConfig) -> shards.Split:
    """Return the function that says which tensors of a family hold several matrices."""
    return merged if isinstance(config, LLaDA2Config) else lambda name, shape: None


def check_count(folder: str | Path, config: LLaDAConfig, count: int) -> None:
    """Raise `CheckpointError` for a config that asks for far more than `count` tensors, before all are named."""
    if config.least_tensors() > count:
        dense = not isinstance(config, LLaDA2Config)
        asked = f"n_layers = {config.n_layers}" if dense else f"num_hidden_layers = {config.n_layers} with its experts"
        raise CheckpointError(f"{folder}/config.json: {asked}, but {count} tensors in all")


def empty_model(config: LLaDAConfig) -> LLaDAModelLM:
    """Make the model of a config without weights, on the meta device. Raises `ValueError` as its parts do."""
    with no_init_weights(), torch.device("meta"):
        return FAMILIES[config.model_type][1](config)


def load_model(
    folder: Path,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    device_map: str | Mapping[str, int | str] | None = None,
) -> LLaDAModelLM:
    """Load the model of a folder in evaluation mode; arguments as in `load`.

    Raises `CheckpointError` with the full account when any tensor is wrong, `ValueError` for a type that holds no
    weights and for too little memory.
    """
    if dtype not in FLOATS:
        raise ValueError(f"dtype={dtype} holds no weights; known: {', '.join(map(str, FLOATS))}")
    config = read_config(folder)
    found = shards.entries(folder, split_of(config))
    check_count(folder, config, len(found))
    try:
        model = empty_model(config)
    except ValueError as error:
        raise CheckpointError(f"{folder}/config.json: {error}") from error
    stored = packed.stored(model)
    shapes = {k: v.shape for k, v in model.state_dict().items()}
    _refuse(folder, shards.index_problems(folder, found) + account(shapes, found, stored=stored))
    types = dict.fromkeys(found, dtype) | stored | {k: torch.float32 for k in found if k.endswith(KEPT)}
    places = placement.Places(model, device, device_map, dtype)
    places.check_room({k: v.numel() * types[k].itemsize for k, v in shapes.items()}, folder, dtype)
    problems = []
    for name, tensor in shards.tensors(found):
        cast = tensor.to(types[name])
        if name not in stored and (problem := _unfit(name, tensor, cast)):
            problems.append(problem)
        elif not problems:
            places.put(name, cast, found[name])
    _refuse(folder, problems)
    _refuse(folder, packed.damage(model, config.quantization))
    model.config.dtype = dtype
    return places.dispatch(model.eval())


def _refuse(folder: Path, problems: list[str]) -> None:
    if problems:
        more = f"\n  ... and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise CheckpointError(f"{folder}: {len(problems)} tensors do not fit\n  " + "\n  ".join(problems[:20]) + more)
