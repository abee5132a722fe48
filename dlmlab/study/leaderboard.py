"""Beat this front: a leaderboard of compressed models, each of which is rebuilt and measured before it stands there.

    python -m dlmlab leaderboard                 rules and entries
    python -m dlmlab leaderboard verify FILE     rebuild the model of an entry and measure it
    python -m dlmlab leaderboard enter FILE      the same, and add it to data/leaderboard.json when it wins

An entry is the `winner.json` that `optimize` writes, with two more keys: "name" and "by".

Decisions
* What counts does not depend on the machine: stored bytes, exact match on all test problems, forwards a problem.
* The opponent of an entry is the most accurate row of notebook 06 that takes no more bytes *and* no more forwards. So
  nobody wins by spending more, and dense models with fewer steps are opponents like any other.
* Won is what `Difference.word` calls higher. An entry below every row of the front in bytes or in forwards has no
  opponent: it opens new ground, and the next entry meets it there.
* Another processor may round a weight otherwise. The numbers are judged, the digest is only reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlmlab.compress.joint import winner
from dlmlab.compress.joint.assembly import Assembly
from dlmlab.compress.joint.footprint import weigh_model
from dlmlab.measure import difference, evaluate, store
from dlmlab.network.checkpoint import load
from dlmlab.paths import DATA
from dlmlab.study import nb06_front
from dlmlab.task import tasks

BOARD, MODEL = DATA / "leaderboard.json", "llada-mini"
RULES = (
    f"The model is made from {MODEL} by what stands in the file: calibration texts, options by place, decoding.",
    "Search and calibration read the calibration and the validation split; the test split is read by `verify` alone.",
    "Bytes are those of the stored arrays of the whole model, embedding and head included.",
    "Exact match is that of all test problems, forwards the mean over them.",
    "An entry wins when it is higher, paired problem by problem, than the best row with no more bytes and forwards.",
)


@dataclass(frozen=True)
class Verified:
    """An entry as measured here: stored `bytes`, `correct` one digit a test problem, `forwards` a problem; whether the
    weights are the `same` as those of the file; the rows `against` which it stands (the opponent, or none)."""

    name: str
    by: str
    bytes: int
    correct: str
    forwards: float
    same: bool
    against: dict | None

    @property
    def gain(self) -> difference.Difference | None:
        """Exact match above that of the opponent, in points; None without one."""
        if self.against is None:
            return None
        return difference.between(self.correct, self.against["correct"][: len(self.correct)]).times(100)

    @property
    def won(self) -> bool:
        return self.gain is None or self.gain.word == "higher"

    @property
    def verdict(self) -> str:
        """Say whether the front is beaten, and why."""
        if self.gain is None:
            return "opens new ground: no row of the front has so few bytes and forwards"
        name = f"{self.against['name']} ({self.against['bytes']:,} bytes, {self.against['nfe']:.1f} forwards)"
        won = "beats the front" if self.won else "does not beat the front"
        return f"{won}: {self.gain:+.1f} points against {name}, {self.gain.word}"

    def row(self) -> dict:
        """Give the row of the board."""
        return {
            "name": self.name, "by": self.by, "bytes": self.bytes, "nfe": self.forwards, "correct": self.correct
        }  # fmt: skip

    def __str__(self) -> str:
        weights = "those of the file" if self.same else "others than in the file: another processor or library"
        share = evaluate.Proportion.of(self.correct)
        return "\n".join((
            f"{self.name}, by {self.by}",
            f"weights      {weights}",
            f"bytes        {self.bytes:,}",
            f"exact match  {share}, {share.n} test problems",
            f"forwards     {self.forwards:.2f} a problem",
            self.verdict,
        ))  # fmt: skip


def opponent(rows: Sequence[dict], size: int, forwards: float) -> dict | None:
    """Find the most accurate row that takes no more bytes and no more forwards; of equals the smaller. None: no row.

    Rows hold `bytes`, `nfe` and `correct`.
    """
    fair = [row for row in rows if row["bytes"] <= size and row["nfe"] <= forwards]
    return min(fair, key=lambda row: (-row["correct"].count("1"), row["bytes"], row["nfe"]), default=None)


def front(path: Path = BOARD) -> list[dict]:
    """List the rows that an entry has to beat: all tested rows of notebook 06, and the entries that are there."""
    rows = [row for row in nb06_front.everything() if row["model"] == MODEL]
    return [row | {"name": name_of(row)} for row in rows] + read(path)


def read(path: Path = BOARD) -> list[dict]:
    """Read the entries of the board."""
    return store.load(path, {"entries": []})["entries"]


def name_of(row: dict) -> str:
    """Name a row of notebook 06."""
    return f"{row['method']}, {row['decoding']}, seed {row['seed']}"


def verify(path: Path, *, rows: Sequence[dict] | None = None, problems: int | None = None) -> Verified:
    """Rebuild the model of an entry and measure it. `rows`: of the front, else those that are stored; `problems`: the
    first so many, else all.

    Raises `ValueError` for a file that is no entry, and for a model that the rules exclude.
    """
    found, said = winner.read(path), store.load(path, {})
    if found.model != MODEL:
        raise ValueError(f"{path}: model {found.model!r}, the rules ask for {MODEL}")
    if missing := [key for key in ("name", "by") if not str(said.get(key, "")).strip()]:
        raise ValueError(f"{path}: an entry says its {' and '.join(missing)}")
    assembly = Assembly.of(found.model, found.calibration)
    plain, stored = assembly.model(found.places), assembly.model(found.places, packed=True)
    tests = tasks.load_split("test")[:problems]
    result = evaluate.accuracy(plain, load(MODEL).tokenizer, tests, sampler=found.decoding.sampler)
    size, forwards = weigh_model(stored).bytes, round(result.mean_nfe, 3)
    against = opponent(front() if rows is None else rows, size, forwards)
    same = winner.digest(plain) == found.digest
    return Verified(said["name"], said["by"], size, result.correct, forwards, same, against)


def enter(verified: Verified, path: Path = BOARD) -> list[dict]:
    """Put an entry on the board, by bytes; one of the same name and author replaces its old row.

    Raises `ValueError` for an entry that does not win.
    """
    if not verified.won:
        raise ValueError(f"not entered: {verified.verdict}")
    rows = [r for r in read(path) if (r["name"], r["by"]) != (verified.name, verified.by)] + [verified.row()]
    rows.sort(key=lambda row: (row["bytes"], row["nfe"]))
    store.save(path, {"rules": RULES, "entries": rows}, indent=1)
    return rows


def table(rows: Sequence[dict]) -> str:
    """Lay out rules and entries."""
    lines = ["Beat this front", *(f"{i}. {rule}" for i, rule in enumerate(RULES, 1)), ""]
    for row in rows:
        share = evaluate.Proportion.of(row["correct"])
        lines.append(f"{row['name']:28} {row['by']:16} {row['bytes']:>10,} bytes {row['nfe']:>6.2f} forwards  {share}")
    return "\n".join(lines if rows else [*lines, "no entry yet: `python -m dlmlab optimize` writes the file of one"])
