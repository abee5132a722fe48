"""The files of a checkpoint: what they say they hold, and then their tensors, one at a time.

Decisions
* Headers come first: names, shapes and types of every tensor cost a few kilobytes of reading, so a folder that cannot
  be loaded is refused before any weight is read, and `inspect` needs no weight at all.
* Files are memory-mapped, and one is let go before the next is opened. A tensor that keeps its type is not copied; one
  that is cast lives twice for a moment. So the peak is the model and about one file.
* An index is a promise: every tensor that it names stands in the file that it names, and no other file lies there.

A header is 8 bytes of length and that much JSON: https://huggingface.co/docs/safetensors.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

INDEX = "model.safetensors.index.json"
LONGEST = 2**24  # bytes of an index or a config: that of 14,813 tensors has a megabyte and a half
TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
TYPES |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
TYPES |= {"BOOL": torch.bool, "C64": torch.complex64, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
Split = Callable[[str, tuple[int, ...]], list[str] | None]  # names of the matrices that one tensor holds, None: itself


class CheckpointError(ValueError):
    """The checkpoint and the model disagree; the message lists the tensors."""


@dataclass(frozen=True)
class Entry:
    """One tensor as a header describes it. `source`: its name in the file; `row`: which part of that tensor, None for
    all of it; `dtype`: of torch, or the name of a type that torch does not have."""

    file: Path
    source: str
    shape: torch.Size
    dtype: torch.dtype | str
    row: int | None = None


def line(error: Exception) -> str:
    """Say in one line, of 300 characters at most, what an error says."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def read_json(file: Path) -> dict:
    """Read a JSON object. Raises `CheckpointError` for anything else: no text, no JSON, too large, a key twice."""

    def once(pairs: list[tuple]) -> dict:
        if twice := [key for key, n in Counter(key for key, _ in pairs).items() if n > 1]:
            raise ValueError(f"{', '.join(twice[:5])} given twice")
        return dict(pairs)

    most = LONGEST if file.name == INDEX else 2**20
    try:
        if file.stat().st_size > most:
            raise ValueError(f"{file.stat().st_size:,} bytes are more than a config has")
        values = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: unreadable: {line(error)}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file}: unreadable: a JSON object is needed, this is a {type(values).__name__}")
    return values


def entries(folder: Path, split: Split = lambda name, shape: None) -> dict[str, Entry]:
    """Read the headers of a folder: every tensor by its name. Weights are not read.

    `split` says which tensors hold several matrices. Raises `CheckpointError` when there is no file, one is cut or
    unreadable, or a tensor stands in two.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder}: no *.safetensors file (other formats can run code and are not read)")
    found: dict[str, Entry] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as part:
                here = [entry for key in part.keys() for entry in _described(file, key, part.get_slice(key), split)]  # noqa: SIM118
        except Exception as error:  # safetensors raises its own class, OSError or ValueError, by kind of damage
            raise CheckpointError(f"{file}: unreadable: {line(error)}; if it was cut short, fetch it again") from error
        if twice := sorted(name for name, _ in here if name in found):
            raise CheckpointError(f"{file}: already in another file (a stale shard?): {', '.join(twice[:5])}")
        found |= dict(here)
    return found


def _described(file: Path, key: str, part, split: Split) -> list[tuple[str, Entry]]:
    shape, dtype = torch.Size(part.get_shape()), TYPES.get(part.get_dtype(), part.get_dtype())
    names = split(key, tuple(shape))
    if names is None:
        return [(key, Entry(file, key, shape, dtype))]
    return [(name, Entry(file, key, shape[1:], dtype, row)) for row, name in enumerate(names)]


def index_problems(folder: Path, found: Mapping[str, Entry]) -> list[str]:
    """Compare the files of a folder with its index, if it has one; one line a problem.

    Raises `CheckpointError` for an index that is no index.
    """
    file = folder / INDEX
    if not file.is_file():
        return []
    promised = read_json(file).get("weight_map")
    if not isinstance(promised, dict) or not all(isinstance(shard, str) for shard in promised.values()):
        raise CheckpointError(f"{file}: unreadable: weight_map must name a file for every tensor")
    here = {path.name for path in folder.glob("*.safetensors")}
    holds = {(entry.source, entry.file.name) for entry in found.values()}
    problems = [f"missing shard: {shard}" for shard in sorted({*promised.values()} - here)]
    problems += [f"stale file, not in the index: {shard}" for shard in sorted(here - {*promised.values()})]
    absent = sorted(name for name, shard in promised.items() if shard in here and (name, shard) not in holds)
    problems += [f"named by the index, but not in {promised[name]}: {name}" for name in absent]
    strangers = sorted(name for name, shard in holds if name not in promised and shard in {*promised.values()})
    return problems + [f"not named by the index: {name}" for name in strangers]


def tensors(found: Mapping[str, Entry]) -> Iterator[tuple[str, Tensor]]:
    """Read the weights, file by file and tensor by tensor, memory-mapped: keep none that you do not need.

    Raises `CheckpointError` when a file has changed since its header was read.
    """
    for file in dict.fromkeys(entry.file for entry in found.values()):
        try:
            with safe_open(file, framework="pt") as part:
                for name, entry in found.items():
                    if entry.file == file:
                        whole = entry.row is None
                        yield name, part.get_tensor(entry.source) if whole else part.get_slice(entry.source)[entry.row]
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(f"{file}: unreadable: {line(error)}") from error
