"""The whole search, as `python -m dlmlab optimize` runs it: a front of models and decodings under a budget.

Decisions
* Objectives: share of wrong answers, bytes, and milliseconds a problem, on validation problems alone. The milliseconds
  are forwards times the table of this machine (`latency`).
* What is known before a model is asked (bytes, energy) refuses a choice at once: it counts as wrong everywhere, so the
  sampler learns where the border is, and costs no evaluation.
* First come the uniform choices, one option for all blocks, the smallest first; then the sampler.
* The dense model under every decoding is measured first: what is compressed has to beat the dense model with fewer
  steps, and a budget is checked against these numbers before the search begins.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dlmlab.compress.joint import front, options, trials
from dlmlab.compress.joint.assembly import Assembly
from dlmlab.compress.joint.budget import Budget
from dlmlab.compress.joint.latency import Latency, Shape
from dlmlab.compress.joint.options import BLOCK_OPTIONS, Choice, Option
from dlmlab.compress.joint.steps import FEWER, Decoding
from dlmlab.compress.joint.validation import Validation

DECODING = "decoding"  # its name in the space of a search
DENSE = "dense"


@dataclass(frozen=True)
class Candidate:
    """A model and a decoding: `choice`, `decoding`, share of answers that are `wrong`, and `cost` by the names of a
    budget."""

    choice: Choice
    decoding: Decoding
    wrong: float
    cost: Mapping[str, float]

    @property
    def objectives(self) -> tuple[float, float, float]:
        return self.wrong, self.cost["bytes"], self.cost["ms"]

    @property
    def dense(self) -> bool:
        """Whether nothing is compressed: fewer steps alone."""
        return all(option == Option() for option in self.choice.values())


@dataclass
class Search:
    """What a search works with: an `assembly`, a `validation` set, the `latency` of this machine, and what may be
    chosen."""

    assembly: Assembly
    validation: Validation
    latency: Latency
    options: Sequence[Option] = BLOCK_OPTIONS
    decodings: Sequence[Decoding] = FEWER
    _answered: dict = field(default_factory=dict)

    @property
    def space(self) -> dict[str, list[str]]:
        """Everything that is chosen, by name."""
        places = {place: [str(option) for option in self.options] for place in self.assembly.places}
        return places | {DECODING: [str(decoding) for decoding in self.decodings]}

    def read(self, values: Mapping[str, str]) -> tuple[dict[str, Option], Decoding]:
        """Turn names into a choice and a decoding."""
        choice = {place: options.named(values[place], self.options) for place in self.assembly.places}
        return choice, next(d for d in self.decodings if str(d) == values[DECODING])

    def weigh(self, choice: Choice, forwards: float) -> dict[str, float]:
        """Give the cost of a choice under a number of forwards a problem."""
        weight, shapes = self.assembly.weigh(choice), self.assembly.shapes(choice)
        ms = self.latency.problem(shapes, forwards)
        return {"bytes": weight.bytes, "ms": ms, "energy": weight.energy, "forwards": forwards}

    def measure(self, choice: Choice, decoding: Decoding) -> Candidate:
        """Answer the validation problems; the same question is asked once."""
        key = (tuple(sorted(choice.items(), key=lambda item: item[0])), decoding)
        if key not in self._answered:
            answers = self.validation.answers(self.assembly.model(choice), decoding.sampler)
            self._answered[key] = answers.wrong, answers.forwards
        wrong, forwards = self._answered[key]
        return Candidate(choice, decoding, wrong, self.weigh(choice, forwards))

    def fewer_steps(self) -> list[Candidate]:
        """Measure the dense model under every decoding: the baseline of everything else."""
        dense = dict.fromkeys(self.assembly.places, Option())
        return [self.measure(dense, decoding) for decoding in self.decodings]

    def check(self, budget: Budget, dense: Sequence[Candidate]) -> None:
        """Refuse a budget that nothing can meet, before the search. Forwards are those of the dense model: what is
        compressed needs about as many. Raises `ValueError` as `Budget.check`."""
        forwards = sorted({candidate.cost["forwards"] for candidate in dense})
        budget.check([self.weigh(choice, f) for choice in self._extremes() for f in forwards])

    def _extremes(self) -> list[dict[str, Option]]:
        """Every uniform choice, and those that make bytes, energy and time as small as one remaining block allows."""
        places = self.assembly.places
        stay = self._by_size()
        found = [dict.fromkeys(places, option) for option in stay]
        if len(stay) < len(self.options):
            gone = dict.fromkeys(places[1:], Option(units="layer"))
            found += [gone | {places[0]: option} for option in stay]
        return found

    def run(
        self,
        budget: Budget,
        *,
        trials_: int,
        seed: int = 0,
        storage: str | None = None,
        name: str = "optimize",
        say: Callable[[str], None] = lambda line: None,
    ) -> list[Candidate]:
        """Search, and return all candidates that meet the budget, the dense ones too. Raises `ValueError` as `check`
        and as `trials.run`, and when the search found none."""
        dense = self.fewer_steps()
        self.check(budget, dense)
        first = [self._uniform(option) for option in self._by_size()]
        evaluate = functools.partial(self._evaluate, budget=budget, say=say)
        found = trials.run(
            self.space, evaluate, trials=trials_, objectives=3, seed=seed, name=name, storage=storage, first=first
        )
        candidates = [*dense, *(self._stored(trial) for trial in found if self._stays(trial.values))]
        allowed = [candidate for candidate in candidates if budget.allows(candidate.cost)]
        if not allowed:
            raise ValueError(
                f"none of {len(candidates)} candidates met the budget, though some could: take more trials"
            )
        return allowed

    def _by_size(self) -> list[Option]:
        """List the options that leave a block, by the bytes of a model in which all blocks have them."""
        stay = [option for option in self.options if option.units != "layer"]
        return sorted(stay, key=lambda o: self.assembly.weigh(dict.fromkeys(self.assembly.places, o)).bytes)

    def _uniform(self, option: Option) -> dict[str, str]:
        """Name the choice of one option for all blocks, under the first decoding."""
        return dict.fromkeys(self.assembly.places, str(option)) | {DECODING: str(self.decodings[0])}

    def _evaluate(self, values: dict[str, str], *, budget: Budget, say: Callable[[str], None]) -> tuple[float, ...]:
        choice, decoding = self.read(values)
        if not self._stays(values):
            return 1.0, float(self.assembly.weigh(choice).bytes), 0.0
        before = self.weigh(choice, 1.0)
        if any(name in budget.excess(before) for name in ("bytes", "energy")):
            return 1.0, before["bytes"], before["ms"]
        candidate = self.measure(choice, decoding)
        say(describe(candidate))
        return candidate.objectives

    def _stays(self, values: Mapping[str, str]) -> bool:
        """Whether a block is left."""
        return any(option.units != "layer" for option in self.read(values)[0].values())

    def _stored(self, trial: trials.Trial) -> Candidate:
        """Read a finished trial, which another worker may have made: the forwards follow from the milliseconds."""
        choice, decoding = self.read(trial.values)
        wrong, _, ms = trial.objectives
        forwards = ms / self.latency.problem(self.assembly.shapes(choice), 1.0)
        return Candidate(choice, decoding, wrong, self.weigh(choice, forwards) | {"ms": ms})


def best(candidates: Sequence[Candidate]) -> Candidate:
    """Choose the candidate with the least wrong answers, of equals the one with the least bytes, then milliseconds."""
    return min(candidates, key=lambda candidate: candidate.objectives)


def front_of(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Keep what no other dominates, by bytes."""
    kept = front.front([candidate.objectives for candidate in candidates])
    return sorted((candidates[i] for i in kept), key=lambda candidate: candidate.cost["bytes"])


def describe(candidate: Candidate) -> str:
    """Write a candidate in one line: numbers, decoding, and what its blocks became."""
    cost, shapes = candidate.cost, list(candidate.choice.values())
    runs: list[list] = []
    for option in shapes:
        if runs and runs[-1][0] == option:
            runs[-1][1] += 1
        else:
            runs.append([option, 1])
    blocks = "; ".join(f"{count} x {option}" for option, count in runs)
    return (
        f"wrong {candidate.wrong:6.1%}  {cost['bytes']:>10,.0f} bytes  {cost['ms']:7.2f} ms  "
        f"{cost['forwards']:5.2f} forwards  {candidate.decoding}  {DENSE if candidate.dense else blocks}"
    )


def shapes_of(assembly: Assembly, choices: Sequence[Option]) -> list[Shape]:
    """List the shapes of blocks that options can lead to: what a latency table has to hold."""
    found = {shape for option in choices for shape in assembly.shapes({assembly.places[0]: option})}
    return sorted(found)
