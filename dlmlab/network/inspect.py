"""What a checkpoint is, before it is loaded: `python -m dlmlab inspect NAME` reads its config and its headers.

Decisions
* No weight is read, so 32 GB are looked at in seconds. Of a model of the hub only the config and the headers come over
  the network, and only because `hub:` asks for it.
* What a config describes is what `load` would build, on the meta device: there is no second table of names that could
  be wrong.
* Memory is that of the weights in each format, as `load` and `quantize` would hold them: in few bits only the matrices
  of the blocks, with one scale (and zero point) a row; the rest in bfloat16. Activations come on top.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from dlmlab.network import checkpoint, packed, parts, placement, shards
from dlmlab.network.checkpoint import CheckpointError
from dlmlab.network.codes import QSpec
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.moe import merged
from dlmlab.network.packed import QuantLinear
from dlmlab.network.shards import Entry

DENSE = {"float32": 4, "bfloat16": 2}
FEW = {"int8": QSpec(8), "int4": QSpec(4)}


@dataclass(frozen=True)
class Report:
    """What was found. `memory`: bytes of the weights by format; `free`: bytes by device; `problems`: one line each, of
    what keeps the folder from being loaded; `files`: None where only a config was at hand."""

    name: str
    family: str
    config: LLaDAConfig
    tensors: int
    parameters: int
    active: int
    memory: dict[str, int]
    free: dict[str, int]
    files: int | None = None
    stored: int = 0
    problems: tuple[str, ...] = ()

    def fits(self, kind: str) -> list[str]:
        """Name the devices of this machine that hold the weights in a format."""
        return [device for device, free in self.free.items() if self.memory[kind] <= free]

    def __str__(self) -> str:
        of = self.config
        lines = [f"{self.name}: {self.family}, {of.attention} attention"]
        lines.append(
            f"  {of.n_layers} layers of width {of.d_model}, vocabulary {of.vocab_size:,}, mask {of.mask_token_id}"
        )
        lines.append(f"  {self.tensors:,} tensors, {self.parameters:,} parameters, {self.active:,} read for each token")
        if self.files is not None:
            lines.append(f"  {self.files} files with {self.stored:,} bytes of weights")
        free = ", ".join(f"{device} {placement.size(n)}" for device, n in self.free.items())
        lines.append(f"  memory of the weights alone, and where it is free here ({free})")
        for kind, n in self.memory.items():
            lines.append(f"    {kind:8} {placement.size(n):>9}  {', '.join(self.fits(kind)) or 'nowhere'}")
        if self.files is None:
            return "\n".join([*lines, "  no files looked at"])
        lines.append(f"  {len(self.problems)} mismatches{':' * bool(self.problems)}")
        return "\n".join(lines + [f"    {problem}" for problem in self.problems])


def look(name: str | Path) -> Report:
    """Inspect a shipped model, a folder or `hub:owner/name`.

    Raises `ValueError` for an unknown name and `CheckpointError` for a config or a file that cannot be read; tensors
    that do not fit are listed in the report.
    """
    name = str(name)
    if name.startswith("hub:"):
        return _look_at_hub(name)
    folder = checkpoint.find(name)
    config = checkpoint.read_config(folder)
    found = shards.entries(folder, checkpoint.split_of(config))
    return describe(name, config, found, shards.index_problems(folder, found))


def describe(
    name: str, config: LLaDAConfig, found: Mapping[str, Entry] | None = None, problems: list[str] | None = None
) -> Report:
    """Report on a config alone, or on it and the tensors that headers describe. Raises `CheckpointError` for sizes that
    the files are far from: the account would be as long as the model."""
    if found is not None:
        checkpoint.check_count(name, config, len(found))
    model = checkpoint.empty_model(config)
    state = model.state_dict()
    matrices = matrix_shapes(model)
    total = sum(p.numel() for p in model.parameters())  # and what packed matrices stand for:
    total += sum(layer.in_features * layer.out_features for layer in model.modules() if isinstance(layer, QuantLinear))
    memory = {kind: nbytes(total, matrices, size) for kind, size in DENSE.items()}
    memory |= {kind: nbytes(total, matrices, 2, spec) for kind, spec in FEW.items()}
    counts = {"tensors": len(state), "parameters": total, "active": active(model, total), "memory": memory}
    report = Report(name, config.architecture, config, **counts, free=machine())
    if found is None:
        return report
    shapes = {key: tensor.shape for key, tensor in state.items()}
    problems = [*(problems or []), *checkpoint.account(shapes, found, stored=packed.stored(model))]
    files = {entry.file for entry in found.values()}
    stored = sum(entry.shape.numel() * getattr(entry.dtype, "itemsize", 1) for entry in found.values())
    return Report(
        name,
        report.family,
        config,
        **counts,
        free=report.free,
        files=len(files),
        stored=stored,
        problems=tuple(problems),
    )


def matrix_shapes(model) -> Counter[tuple[int, int]]:
    """Count the matrices of the blocks by shape, packed ones too."""
    every = (matrix for block in parts.blocks(model) for matrix in parts.matrices(block).values())
    return Counter((matrix.out_features, matrix.in_features) for matrix in every)


def active(model, total: int) -> int:
    """Count the parameters of all `total` that one token meets: of the experts only those that it is routed to, of the
    embedding one row."""
    config = model.config
    idle = model.pieces.embedding.weight.numel() - config.d_model
    for block in parts.blocks(model):
        experts = getattr(getattr(block, "mlp", None), "experts", None)
        if experts is not None:
            expert = sum(m.in_features * m.out_features for m in experts[0].children())
            idle += (len(experts) - config.num_experts_per_tok) * expert
    return total - idle


def nbytes(total: int, shapes: Counter[tuple[int, int]], size: int, spec: QSpec | None = None) -> int:
    """Count the bytes of `total` numbers of `size` bytes, the matrices of the blocks in few bits if there is a spec."""
    found = size * total
    for shape, count in shapes.items() if spec else ():
        found += count * (packed.matrix_bytes(shape, spec) - size * shape[0] * shape[1])
    return found


def machine() -> dict[str, int]:
    """List the free bytes of every device of this machine."""
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return {device: placement.free_memory(device) for device in devices}


def _look_at_hub(name: str) -> Report:
    """Fetch a config and the headers of the files of a model of the hub, kilobytes of each."""
    from huggingface_hub import get_safetensors_metadata, hf_hub_download

    short = checkpoint.hub_name(name)
    try:
        config = checkpoint.read_config(Path(hf_hub_download(short, "config.json")).parent)
        files = get_safetensors_metadata(short).files_metadata
    except CheckpointError:
        raise
    except Exception as error:  # offline, private or missing: the hub library has a dozen classes for it
        raise checkpoint.not_given(short, error) from error
    found: dict[str, Entry] = {}
    for file, header in files.items():
        for key, tensor in header.tensors.items():
            dtype = shards.TYPES.get(tensor.dtype, tensor.dtype)
            names = (merged(key, tuple(tensor.shape)) if config.model_type == "llada2_moe" else None) or [key]
            shape = torch.Size(tensor.shape[1:] if names != [key] else tensor.shape)
            found |= {one: Entry(Path(file), key, shape, dtype) for one in names}
    return describe(name, config, found)
