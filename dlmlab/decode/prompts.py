"""Prompts in the forms people have them, read into lists of ids; what cannot be meant is refused by its value.

Decisions
* A batch is a list of prompts, a tensor or array (B, P), or what a tokenizer returns (its `attention_mask` is used).
* Padding is told by an attention mask alone, on either side of a row. A mask with a hole is refused.
* Without a mask, nothing tells a padded rectangle from prompts that hold end marks. So a tensor, or several lists of
  one length, is refused when a row begins or ends with the end mark or the padding id; a mask of ones says that it is
  meant. Lists of different lengths cannot be padded.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from reprlib import repr as short

import numpy as np
from torch import Tensor


def read_prompts(
    prompts,
    attention_mask=None,
    *,
    vocab_size: int | None = None,
    padding: Iterable[int] = (),
    least: int = 0,
) -> list[list[int]]:
    """Read a batch of prompts into lists of ids without padding.

    `attention_mask`: of the shape of `prompts`, 1 or True where a token is real. `vocab_size`: ids lie below it, if it
    is known. `padding`: ids that may be padding. `least`: the shortest length of a prompt. Raises `ValueError` with
    the value for anything else.
    """
    if isinstance(prompts, Mapping):
        prompts, attention_mask = _unpack(prompts, attention_mask)
    rows = [_numbers(row, f"prompts[{i}]", "ids") for i, row in enumerate(_rows(prompts, "prompts"))]
    if not rows:
        raise ValueError(f"need at least one prompt, got prompts={short(prompts)}")
    if attention_mask is not None:
        rows = _real(rows, attention_mask)
    elif isinstance(prompts, Tensor | np.ndarray) or (len(rows) > 1 and len(set(map(len, rows))) == 1):
        _expect_no_padding(rows, set(padding))
    for i, row in enumerate(rows):
        if len(row) < least:
            raise ValueError(f"prompts[{i}]={row} holds {len(row)} ids, at least {least} is needed")
        for id in row:
            if not 0 <= id < (id + 1 if vocab_size is None else vocab_size):
                most = "" if vocab_size is None else f"..{vocab_size - 1}"
                raise ValueError(f"prompts[{i}] holds the id {id}, outside the vocabulary 0{most}")
    return rows


def _unpack(batch: Mapping, attention_mask):
    """Take ids and mask out of what a tokenizer returned."""
    if "input_ids" not in batch:
        raise ValueError(f"prompts with the keys {sorted(batch)} hold no input_ids")
    if attention_mask is not None and "attention_mask" in batch:
        raise ValueError("attention_mask is given twice: as an argument and in prompts")
    return batch["input_ids"], batch.get("attention_mask", attention_mask)


def _rows(batch, name: str) -> Sequence:
    """Return the rows of a batch; a single row, a text or a number is refused."""
    if isinstance(batch, Tensor | np.ndarray):
        if batch.ndim != 2:
            raise ValueError(f"{name}={short(batch)} has the shape {tuple(batch.shape)}, it must be (B, P)")
        return list(batch)
    if isinstance(batch, str | bytes) or not isinstance(batch, Sequence):
        raise ValueError(f"{name}={short(batch)} is no batch of ids: a list of lists of ids, or a tensor (B, P)")
    if batch and all(isinstance(row, int) for row in batch):
        raise ValueError(f"{name}={short(batch)} is one flat list: a batch is a list of lists, [[...]]")
    return batch


def _numbers(row, name: str, what: str) -> list[int]:
    """Return one row as a list of whole numbers; bools are numbers in a mask only."""
    a_row = isinstance(row, Sequence | Tensor | np.ndarray) and not isinstance(row, str | bytes)
    if not a_row or getattr(row, "ndim", 1) != 1:
        raise ValueError(f"{name}={short(row)} is no list of {what}")
    numbers = []
    for i, value in enumerate(row.tolist() if isinstance(row, Tensor | np.ndarray) else row):
        try:
            numbers.append(operator.index(value))
        except TypeError as error:
            raise ValueError(f"{name}[{i}]={short(value)} is no whole number: {what} are") from error
        if what == "ids" and (isinstance(value, bool | np.bool_) or str(getattr(value, "dtype", "")) == "torch.bool"):
            raise ValueError(f"{name}[{i}]={short(value)} is no id: is this a mask?")
    return numbers


def _real(rows: list[list[int]], attention_mask) -> list[list[int]]:
    """Take the real tokens of every row."""
    marks = enumerate(_rows(attention_mask, "attention_mask"))
    masks = [_numbers(row, f"attention_mask[{i}]", "marks") for i, row in marks]
    if (lengths := list(map(len, masks))) != list(map(len, rows)):
        raise ValueError(f"attention_mask has rows of {lengths}, prompts of {list(map(len, rows))} tokens")
    return [_cut(row, mask, i) for i, (row, mask) in enumerate(zip(rows, masks, strict=True))]


def _cut(row: list[int], mask: list[int], i: int) -> list[int]:
    """Cut the padding off one row."""
    if wrong := set(mask) - {0, 1}:
        raise ValueError(f"attention_mask[{i}] holds {min(wrong)}, a mark is 0 or 1")
    if 1 not in mask:
        raise ValueError(f"attention_mask[{i}]={short(mask)} leaves no token of prompts[{i}]")
    first, n = mask.index(1), sum(mask)
    if 0 in mask[first : first + n]:
        hole = mask.index(0, first)
        raise ValueError(f"attention_mask[{i}] has a hole at {hole}: padding stands before or after a prompt")
    return row[first : first + n]


def _expect_no_padding(rows: list[list[int]], padding: set[int]) -> None:
    for i, row in enumerate(rows):
        for id in {*row[:1], *row[-1:]} & padding:
            raise ValueError(
                f"prompts[{i}]={short(row)} begins or ends with {id}: is this padding? Pass the attention_mask of the "
                "tokenizer, or a mask of ones if it is meant"
            )
