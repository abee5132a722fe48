"""What both tables of lab 20 do: written answers as rows of ids, masks in them, and writing them again.

A row is a prompt and the window after it: the words of an answer, each one token, then end marks.
"""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from dlmlab.decode.commit import Candidates, Commit
from dlmlab.decode.sampling import Sampler, sample
from dlmlab.limits import ANSWER_LENGTH
from dlmlab.network.checkpoint import load
from dlmlab.task import layout

BATCH = 64
mini = cache(lambda: load("llada-mini"))  # one model for all rows: reading the file takes longer than a row


def row(question: str, answer: str, hidden: Sequence[int] = ()) -> list[int]:
    """Lay out a question and an answer, of which the words with these indices are masked; a mask in the question stays.

    Index `len(words)` and above are the end marks after the answer.
    """
    _, tokenizer = mini()
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    window = ids + [tokenizer.eos_token_id] * (ANSWER_LENGTH - len(ids))
    for i in hidden:
        window[i] = tokenizer.mask_token_id
    return layout.encode_prompt(tokenizer, question) + window


def _batched(rows: Sequence[list[int]], ask: Callable[[list[list[int]]], Sequence]) -> list:
    """Ask about rows in batches of about one length; the results are in the order of the rows."""
    order, found = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i)), [None] * len(rows)
    for start in range(0, len(order), BATCH):
        some = order[start : start + BATCH]
        for i, result in zip(some, ask([rows[i] for i in some]), strict=True):
            found[i] = result
    return found


def write(rows: Sequence[list[int]], sampler: Sampler) -> list[tuple[list[int], int]]:
    """Fill the masks of rows; gives for each its ids and the forwards that it took."""
    model, _ = mini()

    def ask(some):
        ones = [[1] * len(ids) for ids in some]  # end marks in a row are meant
        out = sample(model, some, attention_mask=ones, gen_length=0, sampler=sampler)
        ids = [line[len(line) - len(given) :] for line, given in zip(out.ids.tolist(), some, strict=True)]
        return list(zip(ids, out.trace.nfe, strict=True))

    return _batched(rows, ask)


@torch.inference_mode()
def read(rows: Sequence[list[int]]) -> list[Tensor]:
    """Give the probabilities of every place of every row, (its length, V), in one forward each."""
    model, _ = mini()

    def ask(some):
        L = max(map(len, some))
        x, valid = torch.zeros(len(some), L, dtype=torch.long), torch.zeros(len(some), L, dtype=torch.bool)
        for i, ids in enumerate(some):  # padded on the left, as in decoding
            x[i, L - len(ids) :], valid[i, L - len(ids) :] = torch.tensor(ids), True
        p = model(x, valid).logits.softmax(-1)
        return [line[L - len(ids) :] for line, ids in zip(p, some, strict=True)]

    return _batched(rows, ask)


def text_of(ids: list[int]) -> str:
    """Read the answer in a row."""
    return layout.decode_answer(mini().tokenizer, ids[-ANSWER_LENGTH:])


class HoleLast(Commit):
    """Another rule, but the first masked place of every row waits until it is the only one: a hole of the question
    comes last."""

    def __init__(self, rule: Commit):
        self.rule = rule

    def __call__(self, c: Candidates) -> Tensor:
        """Choose what is committed now, (B, L) bool."""
        first = c.eligible & (c.eligible.int().cumsum(1) == 1)
        waits = first & (c.eligible.sum(1, keepdim=True) > 1)
        score = c.score.masked_fill(waits, float("-inf"))
        return self.rule(Candidates(score, c.eligible & ~waits, c.confidence, c.p, c.quota))
