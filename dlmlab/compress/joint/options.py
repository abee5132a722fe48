"""What may happen to a block or to one matrix: units taken away, weights removed, bits; with or without repair.

Decisions
* An option says all that happens to a place, so a model is a table {place: option}; places are blocks ("blocks.2") or
  matrices, by the names that `parts.weights` gives them.
* An option is plain values, so it can be written into a JSON file and read again.
* The list that a search chooses from holds what notebooks 04 and 05 found to be good, and two that they found to be
  bad (two bits, a whole layer): a search has to find out by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from dlmlab import limits
from dlmlab.compress.joint.orders import ORDERS, Plan
from dlmlab.compress.selection import check_request
from dlmlab.network import parts
from dlmlab.network.codes import QSpec

FLOAT = 32  # bits of a weight that is not quantized
UNITS = ("heads", "neurons", "layer")


@dataclass(frozen=True)
class Option:
    """What happens to a place.

    `bits` 1..16 in groups of `group` (None: rows), or 32 for float; `sparsity` of the weights by `pattern` (row or
    n:m); `units` (heads, neurons: the `share` of them; layer: the whole block) that leave first; `repair`: SparseGPT,
    GPTQ and refit, or Wanda, rounding and nothing; `order` of pruning and quantization (`orders`).
    """

    bits: int = FLOAT
    group: int | None = None
    sparsity: float = 0.0
    pattern: str = "row"
    units: str = ""
    share: float = 0.0
    repair: bool = True
    order: str = "P->Q"

    def __post_init__(self) -> None:
        if self.bits != FLOAT:
            QSpec(self.bits, group=self.group)
        elif self.group is not None:
            raise ValueError(f"group={self.group} shares scales, and {FLOAT} bits have none")
        check_request(self.sparsity, self.pattern)
        limits.switch("repair", self.repair)
        if self.units not in ("", *UNITS):
            raise ValueError(f"units={self.units!r} is unknown; known: {', '.join(UNITS)}, or none")
        if self.order not in ORDERS:
            raise ValueError(f"order={self.order!r} is unknown; known: {', '.join(ORDERS)}")
        limits.number("share", self.share, 0, 1, open=">")
        if (self.units in ("heads", "neurons")) != (self.share > 0):
            raise ValueError(f"units={self.units!r} with share={self.share}: only heads and neurons have one")
        if self.units == "layer" and (self.bits != FLOAT or self.sparsity):
            raise ValueError("units='layer' takes the whole block away: no bits and no sparsity are left to choose")
        if self.order == "one pass" and (self.bits == FLOAT or not self.sparsity or not self.repair):
            raise ValueError("order='one pass' removes weights while it quantizes: it needs bits, sparsity and repair")

    @property
    def plan(self) -> Plan:
        """What happens to each matrix, after the units are gone."""
        spec = None if self.bits == FLOAT else QSpec(self.bits, group=self.group)
        methods = ("sparsegpt", "gptq") if self.repair else ("wanda", "rtn")
        return Plan(spec, self.sparsity, self.pattern, self.order, *methods)

    def plain(self) -> dict:
        """Give the values that differ from the defaults, as a JSON file holds them."""
        return {f.name: value for f in fields(self) if (value := asdict(self)[f.name]) != f.default}

    def __str__(self) -> str:
        """Name the option as figures do.

        >>> str(Option(4, 64, units="neurons", share=0.5)), str(Option(4, 64, 0.5, "2:4")), str(Option())
        ('4 bits, neurons 50%', '4 bits, 2:4', 'float')
        """
        if self.units == "layer":
            return "no layer"
        said = ["float" if self.bits == FLOAT else f"{self.bits} bits"]
        said += [f"{self.units} {self.share:.0%}"] if self.units else []
        said += [self.pattern if ":" in self.pattern else f"zeros {self.sparsity:.0%}"] if self.sparsity else []
        said += [self.order] if self.order != "P->Q" else []
        said += [] if self.repair else ["no repair"]
        return ", ".join(said)


Choice = Mapping[str, Option]  # {place: option}

GROUP = 64  # divides every width that occurs in LLaDA-mini, also after neurons or heads have left
SPARSE, SPARSER = Option(4, GROUP, 0.5), Option(3, GROUP, 0.5)
BLOCK_OPTIONS = (
    Option(),
    Option(8),
    Option(4, GROUP),
    Option(3, GROUP),
    Option(2, GROUP),
    SPARSE,
    SPARSER,
    Option(4, GROUP, 0.5, "2:4"),
    Option(4, GROUP, units="neurons", share=0.25),
    Option(4, GROUP, units="neurons", share=0.5),
    Option(4, GROUP, units="heads", share=1 / 3),
    Option(units="layer"),
)


def named(name: str, options: Iterable[Option] = BLOCK_OPTIONS) -> Option:
    """Find an option by its name. Raises `ValueError` with all names for an unknown one."""
    found = {str(option): option for option in options}
    if name not in found:
        raise ValueError(f"option {name!r} is unknown; known: {'; '.join(found)}")
    return found[name]


def layers(count: int) -> list[str]:
    """Name the blocks of a model as places."""
    return [f"blocks.{layer}" for layer in range(count)]


def matrices(count: int) -> list[str]:
    """Name the matrices of a model as places."""
    names = [name for reader in parts.READERS for name in reader]
    return [f"{layer}.{name}" for layer in layers(count) for name in names]


def split(place: str) -> tuple[int, str]:
    """Read a place as a layer and the path of a matrix in it, "" for the whole block. Raises `ValueError`.

    >>> split(f"blocks.2.{parts.DOWN}") == (2, parts.DOWN), split("blocks.0")
    (True, (0, ''))
    """
    room, layer, path = (*place.split(".", 2), "", "")[:3]
    if room != "blocks" or not layer.isdigit():
        raise ValueError(f"place {place!r} is no block ('blocks.2'), nor a matrix of one ('blocks.2.{parts.DOWN}')")
    return int(layer), path


def choice_of(places: Sequence[str], options: Sequence[Option], index: Sequence[int]) -> dict[str, Option]:
    """Turn the numbers that a search works with into a choice: option index[i] for places[i]."""
    return {place: options[i] for place, i in zip(places, index, strict=True)}
