"""The chosen model as a small JSON file that rebuilds it to the bit.

A compressed model is a dense model, the texts that were looked at, and an option for every place. All chance comes from
seeds, so these few lines are the model; a digest of all weights says whether the rebuilt one is the same. (Another
processor may round a calibration sum otherwise, and a weight on the edge then falls to the other side: the digest
tells; the checkpoint beside the file holds the very weights.)
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from dlmlab.compress.joint.assembly import Assembly, Calibration
from dlmlab.compress.joint.options import Option
from dlmlab.compress.joint.steps import Decoding
from dlmlab.network.model import LLaDAModelLM


@dataclass(frozen=True)
class Winner:
    """What was chosen: a dense `model` by name, `calibration` texts, options by `places`, `decoding`; the `digest` of
    the weights; `cost`, what it was found to cost, and `notes` (split, trials, machine)."""

    model: str
    calibration: Calibration
    places: Mapping[str, Option]
    decoding: Decoding
    digest: str
    cost: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping = field(default_factory=dict)

    def plain(self) -> dict:
        """Give the content of the JSON file."""
        return {
            "model": self.model,
            "calibration": self.calibration.plain(),
            "places": {place: option.plain() for place, option in self.places.items()},
            "decoding": self.decoding.plain(),
            "digest": self.digest,
            "cost": dict(self.cost),
            "notes": dict(self.notes),
        }


def digest(model: nn.Module) -> str:
    """Hash all weights of a model, SHA-256, names and shapes included."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def write(winner: Winner, path: Path) -> None:
    """Write the JSON file."""
    path.write_text(json.dumps(winner.plain(), indent=1) + "\n", encoding="utf-8", newline="\n")


def read(file: Path | str | Mapping) -> Winner:
    """Read the JSON file, or what stands in one. Raises `ValueError` naming what is missing or cannot be."""
    try:
        found = file if isinstance(file, Mapping) else json.loads(Path(file).read_text(encoding="utf-8"))
        return Winner(
            str(found["model"]),
            Calibration(**found["calibration"]),
            {place: Option(**values) for place, values in found["places"].items()},
            Decoding(**found["decoding"]),
            str(found["digest"]),
            found.get("cost", {}),
            found.get("notes", {}),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{str(file)[:200]} is no winner of a search: {type(error).__name__} {error}") from error


@torch.no_grad()
def rebuild(winner: Winner | Path | str | Mapping, assembly: Assembly | None = None) -> LLaDAModelLM:
    """Make the model of a winner, or of its file, again. `assembly`: when its parts are at hand. Raises `ValueError`
    when a weight differs, and as `read`."""
    winner = winner if isinstance(winner, Winner) else read(winner)
    assembly = assembly or Assembly.of(winner.model, winner.calibration)
    model = assembly.model(winner.places)
    if (found := digest(model)) != winner.digest:
        raise ValueError(
            f"the rebuilt model has other weights (digest {found[:12]}, not {winner.digest[:12]}): another version of "
            "a library, or another processor; the checkpoint beside the file has the very ones"
        )
    return model
