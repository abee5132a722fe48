"""All equations that a solution may hold, as a table to learn by heart before any word problem is read.

A solution spends six tokens on an equation, and its question some forty on the story: who learns to calculate from
whole texts sees a result every thirty tokens. Alone, equations are the densest text of the course.

Decisions
* Operands are 1 to 99, results 0 to 99; what `tasks` refuses (a fraction, a result above 99 or below 0) is left out.
* The four operations are drawn equally often, whatever the number of their equations: 4,851 sums, 473 quotients.
* No held-out problem is among them: an equation has no question (`dlmlab.task.splits` hashes questions).
"""

from contextlib import suppress
from functools import cache
from itertools import product

import torch
from torch import Tensor

from dlmlab.task.tasks import MAX_NUMBER, QuestionError, calculate
from dlmlab.task.tokenizer import build_tokenizer

LENGTH, RESULT = 6, 4  # a op b = c ; and the place of c
OPERATIONS = "+-*/"


def table(op: str) -> list[tuple[int, int, int]]:
    """List the equations (left, right, result) of an operation."""
    found = []
    for left, right in product(range(1, MAX_NUMBER + 1), repeat=2):
        with suppress(QuestionError):
            found.append((left, right, calculate(left, op, right)))
    return found


@cache
def _ids() -> tuple[Tensor, ...]:
    """Encode the four tables, (n, 6) each."""
    encode, made = build_tokenizer().convert_tokens_to_ids, []
    for op in OPERATIONS:
        texts = [(str(a), op, str(b), "=", str(c), ";") for a, b, c in table(op)]
        made.append(torch.tensor([encode(list(text)) for text in texts]))
    return tuple(made)


def drill(rows: int, each: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw rows of `each` equations: ids (rows, 6 each), and where the results stand, bool of the same shape."""
    tables = _ids()
    sizes = torch.tensor([len(t) for t in tables])
    op = torch.randint(len(tables), (rows, each), generator=generator)
    which = (torch.rand(rows, each, generator=generator, dtype=torch.float64) * sizes[op]).long()
    ids = torch.cat(tables)[(sizes.cumsum(0) - sizes)[op] + which].flatten(1)
    return ids, (torch.arange(LENGTH * each) % LENGTH == RESULT).expand(rows, -1)
