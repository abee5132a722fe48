"""Lossless speculation: one forward reads the next states as the model guesses them, and what the rule confirms stays.

    sample(model, prompts, sampler=Sampler(speculate=8))

Decisions
* The base rule commits one token per forward: the best masked position, its most likely token. A *draft* is that
  ranking itself: the second best is the guess for the next commit, the third for the one after it, and so on.
* A forward reads up to `speculate` states of a row as rows of one batch: the text as it is, then with one drafted
  commit more each. The first is certain; so a forward commits one token at least and never falls behind the rule.
* A later state counts only if the rule, asked at the state before it, commits the same token at the same position
  (`confirmed`). Then its logits are what the rule would have been given: tokens and order are those of the base rule.
* Forwards become fewer, rows more: each refused guess is a row read for nothing. Both are in the trace.
* Refused: rules that commit several tokens (there is no single next state), caches (every state needs its own copy of
  the changed keys), guidance, editing, chance (its noise would have to be drawn before the draft).
* "The same as a row alone" holds as far as the machine's arithmetic does not depend on the size of the batch. The tests
  say where it was looked at; it is a property of kernels, not of this algorithm.

Sources: FreeDave, arXiv 2510.00294 (a chain of drafted states); Spiffy, arXiv 2509.18085 (a graph of them). Own
implementation.
"""

import time

import torch
from torch import Tensor

from dlmlab.decode.commit import Candidates, order_of
from dlmlab.decode.trace import Step

NONE, UNREAD = -1, -2  # no guess; no answer of the rule: neither is a position, and they are not equal


def confirmed(drafted: Tensor, ruled: Tensor) -> Tensor:
    """Count how many of `ruled` are commits of the base rule, (R,): 1 to n.

    A forward read n states of each row. State j + 1 is state j with the commit `drafted[:, j]` (position, token), and
    the rule commits `ruled[:, j]` at state j. The first state is the true one. Shapes: drafted (R, n - 1, 2), ruled
    (R, n, 2), whole numbers.

    >>> confirmed(torch.tensor([[[5, 70], [6, 80]]]), torch.tensor([[[5, 70], [9, 80], [6, 80]]]))
    tensor([2])
    """
    same = (drafted == ruled[:, :-1]).all(-1)  # (R, n - 1): position and token
    return 1 + same.int().cumprod(1).sum(1)  # a refusal ends the chain


def fill(loop, ends: list[Tensor]) -> None:
    """Fill every mask of a decode loop (`dlmlab.sampling`), block by block up to the columns `ends`, (B,) each."""
    column = torch.arange(loop.x.shape[1], device=loop.x.device)
    block = sum((column >= end[:, None]).long() for end in ends)  # (B, L), the number of each column's block
    n = loop.sampler.speculate
    drafted = torch.full((len(loop.x), n - 1, 2), NONE, device=loop.x.device)
    masked = (loop.x == loop.mask_id) & loop.real
    for _ in range(int(masked.sum(1).max())):  # a forward commits one token of every row at least
        rows = (masked.any(1) & ~loop.stopped).nonzero()[:, 0]
        if len(rows) == 0:
            break
        drafted[rows] = _step(loop, rows, drafted[rows], block[rows])
        masked = (loop.x == loop.mask_id) & loop.real


def _states(loop, rows: Tensor, drafted: Tensor) -> tuple[Tensor, Tensor]:
    """Write the states that a draft leads to, (R, n, L), and say which of them are worth reading, (R, n) bool.

    Not worth it: a state behind a missing guess, one without masks, and one whose text has ended.
    """
    n = drafted.shape[1] + 1
    states = loop.x[rows, None].repeat(1, n, 1)
    read = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    for j in range(1, n):
        place, token = drafted[:, j - 1].unbind(-1)  # (R,) each
        r = (place != NONE).nonzero()[:, 0]
        states[r, j:, place[r]] = token[r, None]
        masked = (states[:, j] == loop.mask_id) & loop.real[rows]
        over = loop.complete(states[:, j], rows) if loop.sampler.stop_at_eos else False
        read[:, j] = read[:, j - 1] & (place != NONE) & masked.any(1) & ~over
    return states, read


def _step(loop, rows: Tensor, drafted: Tensor, block: Tensor) -> Tensor:
    """Read the states of one draft, commit what is confirmed, return the next draft, (R, n - 1, 2).

    Shapes: rows (R,), drafted (R, n - 1, 2), block (R, L).
    """
    start, sampler, (R, n) = time.perf_counter(), loop.sampler, (len(rows), drafted.shape[1] + 1)
    states, read = _states(loop, rows, drafted)
    drafted = drafted.masked_fill(~read[:, 1:, None], NONE)
    r, j = read.nonzero(as_tuple=True)  # (N,) each: whose state, and how far ahead
    ids, owner = states[r, j], rows[r]  # (N, L), (N,)
    masked = (ids == loop.mask_id) & loop.real[owner]
    first = block[r].masked_fill(~masked, len(block[0]) + 1).amin(1, keepdim=True)
    columns = masked.any(0).nonzero()[:, 0]  # (C,)
    masked, ahead = masked[:, columns], (block[r] - first)[:, columns]  # (N, C), blocks ahead of the current one
    eligible = masked & (ahead == 0)
    forward = loop.forward(owner, columns, ids)
    x0, p, confidence, score = loop.propose(forward.logits, eligible, owner, columns)  # (N, C)
    due = torch.ones_like(owner)
    best = sampler.commit(Candidates(score, eligible, confidence, p, due)).int().argmax(1)  # (N,)
    ruled = torch.full((R, n, 2), UNREAD, device=ids.device)
    ruled[r, j] = torch.stack([columns[best], _at(x0, best)], 1)
    count = confirmed(drafted, ruled)  # (R,)

    kept = (j < count[r]).nonzero()[:, 0]  # of the N states, by row and in the rule's order
    at = torch.stack([owner[kept], columns[best[kept]]], 1)
    tokens = x0[kept, best[kept]]
    loop.x[at[:, 0], at[:, 1]] = tokens
    filled = loop.stop() if sampler.stop_at_eos else torch.empty(0, 2, dtype=torch.long)
    refused = (read.sum(1) > count).nonzero()[:, 0]
    wrong = drafted[refused, count[refused] - 1]  # (F, 2): the first guess of a row that was not confirmed
    loop.trace.steps.append(
        Step(
            rows.cpu(),
            at.cpu(),
            tokens.cpu(),
            confidence[kept, best[kept]].cpu(),
            nfe=1,
            tokens_through=forward.tokens,
            flops=forward.flops,
            seconds=time.perf_counter() - start,
            filled=filled.cpu(),
            rows_through=read.sum(1).cpu(),
            refused=torch.cat([rows[refused, None], wrong], 1).cpu(),
        )
    )
    last = kept[j[kept] == count[r[kept]] - 1]  # (R,): the state of each row from which the next draft is made
    free = masked[last].scatter(1, best[last, None], False)
    return _draft(score[last], x0[last], free, ahead[last], columns, n - 1)


def _draft(score: Tensor, x0: Tensor, free: Tensor, ahead: Tensor, columns: Tensor, n: int) -> Tensor:
    """Take the `n` best of the `free` (R, C) columns in the rule's order, block by block, (R, n, 2)."""
    order = order_of(score, free)[0]
    nearest = torch.where(free, ahead, len(columns) + ahead.max()).gather(1, order).argsort(dim=1, stable=True)
    order = order.gather(1, nearest)[:, :n]
    guess = torch.stack([columns[order], x0.gather(1, order)], 2)
    guess = guess.masked_fill(~free.gather(1, order)[..., None], NONE)
    missing = guess.new_full((len(guess), n - guess.shape[1], 2), NONE)
    return torch.cat([guess, missing], 1)


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[:, None])[:, 0]
