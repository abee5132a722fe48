"""Notebook 06: what its tables share: parts by seed, the validation set of the searches, and how a finalist is tested.

A seed draws the calibration texts, the masks of the validation problems, and what the search draws. Finalists are
tested once: exact match on all test problems, the likelihood of the first `TESTED` of them under common masks.
"""

from collections.abc import Sequence
from functools import cache

from dlmlab.compress.joint import front, winner
from dlmlab.compress.joint.assembly import Assembly, Calibration
from dlmlab.compress.joint.options import BLOCK_OPTIONS, Choice, Option, named
from dlmlab.compress.joint.steps import USUAL, Decoding
from dlmlab.compress.joint.validation import Validation
from dlmlab.measure import evaluate
from dlmlab.network.checkpoint import load
from dlmlab.study.judging import answer_bound
from dlmlab.study.stand_in import called
from dlmlab.task import tasks

SEEDS = (0, 1, 2)
SEARCHED = tuple(o for o in BLOCK_OPTIONS if o.bits < 8 or o.units == "layer")  # the others fit no budget
NAMES = tuple(map(str, SEARCHED))
ASKED = 64  # validation problems, of the table of options and of every other question of a search
TESTED, DRAWS = 128, 2  # test problems of the likelihood, masks of each
BUDGETS = (1_250_000, 1_440_000, 1_625_000)  # what all blocks alike take: `nb06_search.UNIFORM`
REFERENCE, IDEAL = (0.5, 2_000_000), (0.0, 512_256)  # wrong answers and bytes; no option changes the last
TOLERANCE = {"nats": (0.01, 0.02), "nfe": (1.0, 0.5), "losses": (0.02, 0.02), "bytes": (0.0, 1e-4)}


@cache
def assembly(seed: int, model: str = "llada-mini") -> Assembly:
    """Parts from the calibration texts of a seed."""
    return Assembly.of(called(model), Calibration(seed=seed))


@cache
def validation(seed: int) -> Validation:
    """The validation problems under the masks of a seed."""
    return Validation(ASKED, 1, seed)


def chosen(seed: int, names: Sequence[str], model: str = "llada-mini") -> dict[str, Option]:
    """Turn names of options, one a block, into a choice."""
    return dict(zip(assembly(seed, model).places, map(named, names), strict=True))


def tested(model, decoding: Decoding = USUAL, *, size: int | None = None, nats: bool = True) -> dict:
    """Test a finalist: `correct` one digit a problem, `nfe` forwards a problem, `nats` a list; with a `size` on the
    first so many problems. `nats=False`: where only the decoding differs, the likelihood does not."""
    causal = model.config.attention == "causal"
    problems = tasks.load_split("test")[:size]
    sampler = None if causal else decoding.sampler
    result = evaluate.accuracy(model, load("llada-mini").tokenizer, problems, sampler=sampler)
    found = {"correct": result.correct, "nfe": round(result.mean_nfe, 3)}
    return found | ({"nats": answer_bound(model, problems=TESTED, draws=DRAWS, size=size)} if nats else {})


def weighed(seed: int, choice: Choice, model: str = "llada-mini") -> dict:
    """Give bytes, multiplications and energy proxy a token, and the shapes of the blocks."""
    parts = assembly(seed, model)
    weight = parts.weigh(choice)
    shapes = [list(shape) for shape in parts.shapes(choice)]
    return {"bytes": weight.bytes, "macs": weight.macs, "energy": weight.energy, "shapes": shapes}


def about(row: dict, size: int | None) -> dict:
    """In a repeat (`size`) take bytes as about right: on another processor a few codes round to 0 or just not, and what
    is 0 is not stored."""
    return row | {"bytes": float(row["bytes"])} if size else row


def recipe(seed: int, choice: Choice, decoding: Decoding = USUAL) -> dict:
    """Give the lines that rebuild a model of llada-mini, as a winner's file holds them."""
    parts = assembly(seed)
    digest = winner.digest(parts.model(choice))
    return winner.Winner("llada-mini", Calibration(seed=seed), choice, decoding, digest).plain()


def point(row: dict) -> tuple[float, int]:
    """Give a tested row as a point: share of wrong answers, bytes."""
    return 1 - row["correct"].count("1") / len(row["correct"]), row["bytes"]


def volume(rows: Sequence[dict]) -> float:
    """Hypervolume of tested rows by wrong answers and bytes, as a share of the box from `IDEAL` to `REFERENCE`."""
    return front.normalized([point(row) for row in rows], REFERENCE, IDEAL)
