"""The history of a decoding run: what was committed when, how sure the model was, and what each step cost.

Widgets, tables and tests read a `Trace`; no view needs the model. `Trace.states` replays a row exactly.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


def cut_at_end(ids: list[int], eos_id: int) -> list[int]:
    """Keep what stands before the first end mark; without one, everything.

    >>> cut_at_end([7, 8, 0, 9, 0], eos_id=0)
    [7, 8]
    """
    return ids[: ids.index(eos_id)] if eos_id in ids else list(ids)


@dataclass(frozen=True)
class Step:
    """One forward of the loop (two with guidance).

    `rows` (R,) indices of the rows in the batch. Commits, in order of row and position: `at` (N, 2) row and column,
    `tokens` (N,), `confidence` (N,). `nfe` forwards for each row of `rows`; `tokens_through`, `flops` summed over
    them; `seconds` of wall time. `filled` (F, 2) row and column of masks after a finished text that became end marks
    without being predicted. `evicted` of the tokens that left the network half-way (`dlmlab.focus`). `edited` (E, 2)
    row and column of committed tokens that an edit rule changed, `edited_to` (E,) what stands there now, maybe a mask.
    With speculation (`dlmlab.speculation`) the commits of a row are in the order of the base rule, `rows_through` (R,)
    counts the states of each row that were read, and `refused` (F, 3) holds row, column and token of guesses that were
    not confirmed, the first of each row.
    """

    rows: Tensor
    at: Tensor
    tokens: Tensor
    confidence: Tensor
    nfe: int
    tokens_through: int
    flops: int
    seconds: float
    filled: Tensor = field(default_factory=lambda: torch.empty(0, 2, dtype=torch.long))
    evicted: int = 0
    edited: Tensor = field(default_factory=lambda: torch.empty(0, 2, dtype=torch.long))
    edited_to: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    rows_through: Tensor | None = None
    refused: Tensor = field(default_factory=lambda: torch.empty(0, 3, dtype=torch.long))


@dataclass
class Trace:
    """The history of a run; `start` (B, L) is the input of the first step, `eos_id` fills finished rows."""

    start: Tensor
    eos_id: int | None = None
    steps: list[Step] = field(default_factory=list)

    @property
    def nfe(self) -> list[int]:
        """Forwards each row took part in, (B,)."""
        counts = torch.zeros(len(self.start), dtype=torch.long)
        for step in self.steps:
            counts[step.rows] += step.nfe
        return counts.tolist()

    @property
    def rows_through(self) -> list[int]:
        """Texts that went through the network for each row, (B,): its forwards, and with speculation its guesses
        too."""
        counts = torch.zeros(len(self.start), dtype=torch.long)
        for step in self.steps:
            counts[step.rows] += step.nfe if step.rows_through is None else step.rows_through
        return counts.tolist()

    @property
    def tokens_through(self) -> int:
        return sum(s.tokens_through for s in self.steps)

    @property
    def flops(self) -> int:
        return sum(s.flops for s in self.steps)

    @property
    def seconds(self) -> float:
        return sum(s.seconds for s in self.steps)

    def states(self, row: int = 0) -> list[Tensor]:
        """Replay a row: its ids (L,) before the first step and after every step it took part in.

        Raises `ValueError` for a row that is not in the batch.
        """
        self._check_row(row)
        x, states = self.start[row].clone(), [self.start[row].clone()]
        for step in self.steps:
            if row in step.rows:
                mine = step.at[:, 0] == row
                x[step.at[mine, 1]] = step.tokens[mine]
                if len(filled := step.filled[step.filled[:, 0] == row, 1]):
                    x[filled] = self.eos_id
                changed = step.edited[:, 0] == row
                x[step.edited[changed, 1]] = step.edited_to[changed]
                states.append(x.clone())
        return states

    def order(self, row: int = 0) -> list[list[int]]:
        """List the columns committed at each step of a row. Raises `ValueError` for a row not in the batch."""
        self._check_row(row)
        return [s.at[s.at[:, 0] == row, 1].tolist() for s in self.steps if row in s.rows]

    def _check_row(self, row: int) -> None:
        if not 0 <= row < len(self.start):  # -1 would start as the last row and never change
            raise ValueError(f"row={row} is not in the batch: 0..{len(self.start) - 1}")

    def table(self) -> list[dict]:
        """One plain dictionary a step, ready for JSON or a data frame."""
        keys = ("nfe", "tokens_through", "flops", "seconds")
        return [
            {k: getattr(s, k) for k in keys}
            | {
                "rows": s.rows.tolist(),
                "at": s.at.tolist(),
                "tokens": s.tokens.tolist(),
                "confidence": [round(c, 6) for c in s.confidence.tolist()],
                "edited": s.edited.tolist(),
                "edited_to": s.edited_to.tolist(),
            }
            for s in self.steps
        ]


@dataclass
class Sample:
    """What `sample` returns: `ids` (B, P + G), left-padded; `answers` the generated ids of each row, cut before the
    first end mark; the trace."""

    ids: Tensor
    prompt_length: int
    answers: list[list[int]]
    trace: Trace
