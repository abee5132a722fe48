"""Where the weights of a model go while it is loaded, and whether there is room for them.

Decisions
* The room is checked before the first weight is read: a machine that begins to swap tells nobody why.
* `device_map` is accelerate's: it moves what a block needs to where the block is. A part on "disk" stays in the file of
  the checkpoint and is read from there in every forward, so nothing is written.
* Buffers of a part on disk, the bytes of packed weights among them, stay in memory: accelerate offloads parameters.
"""

from collections.abc import Mapping
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

from dlmlab.network.shards import Entry

DISK = "disk"


def free_memory(device: str | int = "cpu") -> int:
    """Count the bytes that can still be used on a device: what the system calls available, or what a GPU has left."""
    kind = torch.device(device)
    if kind.type == "cuda":
        return torch.cuda.mem_get_info(kind)[0]
    free = psutil.virtual_memory().available
    return min(free, _left_in_group(Path("/sys/fs/cgroup")) or free)


def _left_in_group(group: Path) -> int | None:
    """Read what a container may still use, file pages that can be dropped not counted; None without a limit."""
    try:
        limit, used = (
            (group / "memory.max").read_text(encoding="utf-8").strip(),
            int((group / "memory.current").read_text(encoding="utf-8")),
        )
        pages = dict(line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
        return int(limit) - used + int(pages.get("inactive_file", 0))
    except (OSError, ValueError):  # no such file, or "max"
        return None


def size(n: float) -> str:
    """Write a number of bytes for people.

    >>> size(16_031_162_368)
    '16.0 GB'
    """
    return f"{n / 1e9:.1f} GB" if n >= 1e8 else f"{n / 1e6:.1f} MB"


class Places:
    """Where every tensor of a model without weights goes: one device, or what a `device_map` says."""

    def __init__(
        self, model: nn.Module, device: str, device_map: str | Mapping[str, int | str] | None, dtype: torch.dtype
    ):
        self.model, self.device, self.map = model, device, None
        self.offloaded: dict[str, dict] = {}
        if device_map is not None:
            self.map = _map_of(model, device_map, dtype)

    def of(self, name: str) -> str | int:
        """Return the device of a tensor: that of the longest part of its name which the map has."""
        if self.map is None:
            return self.device
        parts = name.split(".")
        known = (".".join(parts[:n]) for n in range(len(parts), -1, -1))
        return next(self.map[part] for part in known if part in self.map)

    def check_room(self, nbytes: Mapping[str, int], folder: Path, dtype: torch.dtype) -> None:
        """Raise `ValueError` when the tensors of any device need more bytes than it has left."""
        needs: dict[str | int, int] = {}
        for name, n in nbytes.items():
            needs[self.of(name)] = needs.get(self.of(name), 0) + n
        for device, n in needs.items():
            if device != DISK and n > (free := free_memory(device)):
                half = "" if dtype.itemsize <= 2 else f"dtype=torch.bfloat16 ({size(n * 2 / dtype.itemsize)}), "
                raise ValueError(
                    f"{folder}: its weights need {size(n)} in {dtype} on {device}, where {size(free)} are free: take "
                    f"{half}a model of fewer bits (python -m dlmlab quantize), or device_map= with parts on disk"
                )

    def put(self, name: str, tensor: Tensor, entry: Entry) -> None:
        """Give the model one tensor. A parameter on disk stays in its file, if it is a tensor of its own there."""
        path, _, leaf = name.rpartition(".")
        module, device = self.model.get_submodule(path), self.of(name)
        if device == DISK and leaf in module._parameters:
            if entry.row is not None:
                raise ValueError(f"{name} is a part of {entry.source}: such a model cannot stay on disk")
            kind = str(tensor.dtype).removeprefix("torch.")
            self.offloaded[name] = {"safetensors_file": str(entry.file), "weight_name": entry.source, "dtype": kind}
            module._parameters[leaf] = nn.Parameter(torch.empty_like(tensor, device="meta"))  # its type is kept
        elif leaf in module._parameters:
            module._parameters[leaf] = nn.Parameter(tensor.to(device))
        else:
            module._buffers[leaf] = tensor.to("cpu" if device == DISK else device)

    def dispatch(self, model: nn.Module) -> nn.Module:
        """Let accelerate move inputs between the devices of a map, and read what is on disk."""
        if self.map is None or len(set(self.map.values())) == 1:
            return model
        from accelerate import dispatch_model

        return dispatch_model(model, self.map, offload_index=self.offloaded or None, offload_buffers=False)


def _map_of(model: nn.Module, device_map: str | Mapping[str, int | str], dtype: torch.dtype) -> dict[str, int | str]:
    """Work out the map that was asked for. Raises `ValueError` for one that leaves a tensor without a place, names
    nothing, or puts the embedding on disk: there the model begins."""
    from accelerate import infer_auto_device_map

    if device_map == "auto":
        device_map = infer_auto_device_map(model, no_split_module_classes=model._no_split_modules, dtype=dtype)
    if not isinstance(device_map, Mapping) or not device_map:
        raise ValueError(f'device_map={device_map!r} must be "auto" or say for parts of the model, by name, where')
    device_map = dict(device_map)
    for part, device in device_map.items():
        if device != DISK:
            try:
                torch.device(device)
            except (RuntimeError, TypeError) as error:
                raise ValueError(f"device_map: {part!r} on {device!r}: no device, and not {DISK!r}") from error
    places = Places.__new__(Places)
    places.map = device_map
    for name in model.state_dict():
        try:
            places.of(name)
        except StopIteration:
            raise ValueError(f"device_map={device_map} leaves {name} without a place") from None
    table = next(name for name, p in model.named_parameters() if p is model.get_input_embeddings().weight)
    if places.of(table) == DISK:
        raise ValueError(f"device_map puts {table} on disk: a model begins there and must hold it")
    return _disjoint(model, places)


def _disjoint(module: nn.Module, places: Places, path: str = "") -> dict[str, int | str]:
    """Say the same as a map in parts none of which holds another, as accelerate needs it."""
    inside = f"{path}." if path else ""
    if not any(part.startswith(inside) and part != path for part in places.map):
        return {path: places.of(path)}
    tensors = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    found = {inside + leaf: places.of(inside + leaf) for leaf, _ in tensors}
    for name, child in module.named_children():
        found |= _disjoint(child, places, inside + name)
    return found
