"""What a model may cost: bytes, milliseconds, energy proxy, forwards; and what to say when nothing can.

A budget that no configuration meets is told before the search, with the constraint and the amount: a search that comes
back empty after an hour says neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from dlmlab import limits

UNITS = {"bytes": "bytes", "ms": "ms a problem", "energy": "bit multiplications a token", "forwards": "forwards"}


@dataclass(frozen=True)
class Budget:
    """Upper limits, None for none: `bytes` of the stored model, `ms` of one problem, `energy` (multiplications times
    bits a token), `forwards` of one problem."""

    bytes: float | None = None
    ms: float | None = None
    energy: float | None = None
    forwards: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits().items():
            limits.number(name, limit, 0, open="<")

    def limits(self) -> dict[str, float]:
        """Give the constraints that were set."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

    def excess(self, cost: Mapping[str, float]) -> dict[str, float]:
        """Give what a cost exceeds, {constraint: by how much}; empty when it is allowed."""
        return {name: cost[name] - limit for name, limit in self.limits().items() if cost[name] > limit}

    def allows(self, cost: Mapping[str, float]) -> bool:
        """Say whether a cost meets every constraint."""
        return not self.excess(cost)

    def check(self, costs: Sequence[Mapping[str, float]]) -> None:
        """Raise `ValueError` when none of the costs is allowed: which constraint is impossible and by how much, or,
        when each is possible alone, how far the nearest is from meeting all of them."""
        if not costs:
            raise ValueError("no configuration: nothing to choose from")
        for name, limit in self.limits().items():
            least = min(cost[name] for cost in costs)
            if least > limit:
                raise ValueError(
                    f"at most {_say(name, limit)} is impossible: the least that any configuration takes is "
                    f"{_say(name, least)}, {_say(name, least - limit)} more"
                )
        if any(self.allows(cost) for cost in costs):
            return
        nearest = min(costs, key=lambda cost: max(v / self.limits()[k] for k, v in self.excess(cost).items()))
        over = " and ".join(f"{_say(name, by)} too many" for name, by in self.excess(nearest).items())
        wanted = " and ".join(f"at most {_say(name, limit)}" for name, limit in self.limits().items())
        raise ValueError(
            f"{wanted}: each is possible alone, together they are not among {len(costs)} configurations: the nearest "
            f"has {over}"
        )


def _say(name: str, value: float) -> str:
    return f"{value:,.4g} {UNITS[name]}" if value < 1000 else f"{value:,.0f} {UNITS[name]}"
