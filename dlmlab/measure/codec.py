"""A language model as a lossless codec: what it expects becomes tables, and texts become bits that restore them.

Decisions
* The writer *is* the reader that knows the text. One loop asks the model and makes the tables; a `Coder` gives the
  tokens: `Writer` those of the text, `Reader` those that the bits say, `Meter` those of the text, with what each costs.
  So both sides call the model with the same inputs, in the same batches, in the same order.
* That is all that holds them together. Nothing in the bits says that a table is another one; so a file carries a
  checksum of its tokens, and a reader raises where it does not fit.
* Rows are read in lockstep, position by position, through one key-value cache. Rows of one batch share one stream
  (`own=False`): its end costs 2 bits, not 2 bits a row.
* With a masked model any order will do. A rule sees what both sides see (`Order.choose`), so the order costs no bits.

Sources: Deletang et al., arXiv 2309.10668 (and the issues of its repository: files written from another forward than
they are read with); ARDM, arXiv 2110.02037 (any order, several places a forward). Own implementation.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from dlmlab.measure import coding
from dlmlab.network.kv import KV

HEAD = 8  # bytes before the stream of a file: 1 for the bits of its tables, 1 spare, 2 for the rows, 4 to check

Coder = Callable[[Sequence[int], Sequence[int], Tensor], list[int]]  # rows, places, tables (N, V) -> tokens


class Writer:
    """Give the tokens of known texts and write them; `own`: each row has a stream of its own."""

    def __init__(self, texts: Sequence[Sequence[int]], *, own: bool = False):
        self.texts, self.own = texts, own
        self.encoders = [coding.Encoder() for _ in (texts if own else "1")]

    def __call__(self, rows: Sequence[int], places: Sequence[int], tables: Tensor) -> list[int]:
        tokens = [int(self.texts[r][i]) for r, i in zip(rows, places, strict=True)]
        for r, token, table in zip(rows, tokens, tables.tolist(), strict=True):
            self.encoders[r if self.own else 0].push(table, token)
        return tokens

    def finish(self) -> list[list[int]]:
        """Give the bits of every stream."""
        return [encoder.finish() for encoder in self.encoders]


class Reader:
    """Give the tokens that streams of bits say; as many streams as rows, or one for all."""

    def __init__(self, streams: Iterable[Iterable[int]]):
        self.decoders = [coding.Decoder(bits) for bits in streams]

    def __call__(self, rows: Sequence[int], places: Sequence[int], tables: Tensor) -> list[int]:
        own = len(self.decoders) > 1
        return [self.decoders[r if own else 0].pop(table) for r, table in zip(rows, tables.tolist(), strict=True)]


@dataclass
class Meter:
    """Give the tokens of known texts and note what each costs: `bits[row][place]`; nothing is written."""

    texts: Sequence[Sequence[int]]
    bits: dict[int, dict[int, float]] = field(default_factory=dict)
    tables: list[Tensor] | None = None  # an empty list keeps the tables, too

    def __call__(self, rows: Sequence[int], places: Sequence[int], tables: Tensor) -> list[int]:
        tokens = [int(self.texts[r][i]) for r, i in zip(rows, places, strict=True)]
        for r, i, value in zip(rows, places, coding.cost(tables, torch.tensor(tokens)).tolist(), strict=True):
            self.bits.setdefault(r, {})[i] = value
        if self.tables is not None:
            self.tables.append(tables)
        return tokens


def tables(logits: Tensor, bits: int, mask_id: int) -> Tensor:
    """Make tables of whole numbers of logits; the mask is never written. Shapes: logits (..., V) -> (..., V) int64."""
    allowed = torch.arange(logits.shape[-1]) != mask_id
    p = logits.double().masked_fill(~allowed, -torch.inf).softmax(-1)
    return coding.frequencies(p, bits, allowed)


@torch.inference_mode()
def in_turn(
    model, count: int, coder: Coder, *, start: int, bits: int = 16, batch: int | None = None, most: int | None = None
) -> list[list[int]]:
    """Read or write texts left to right with a causal model and its key-value cache; each begins with `start`, which
    is not coded, and ends with the model's end mark, which is.

    `batch` rows at a time, all by default. Raises `ValueError` when a text does not end within `most` tokens (what the
    model reads), which is how a reader that has lost its writer ends.
    """
    mask_id, end = model.config.mask_token_id, model.config.eos_token_id
    most = most or model.config.max_sequence_length
    texts = [[start] for _ in range(count)]
    for at in torch.arange(count).split(batch or count):
        rows, kv = at, KV()
        for place in range(1, most + 1):
            if place == most:
                raise ValueError(f"no end mark within {most} tokens")
            last = torch.tensor([texts[r][-1] for r in rows.tolist()])[:, None]  # (R, 1)
            logits = model(last, kv=kv).logits[:, -1]  # (R, V)
            tokens = coder(rows.tolist(), [place] * len(rows), tables(logits, bits, mask_id))
            for r, token in zip(rows.tolist(), tokens, strict=True):
                texts[r].append(token)
            going = torch.tensor(tokens) != end
            if not bool(going.any()):
                break
            rows, kv = rows[going], kv if bool(going.all()) else kv.select(going)
    return texts


@torch.inference_mode()
def at_once(model, texts: Sequence[Sequence[int]], coder: Coder, *, bits: int = 16, batch: int | None = None) -> None:
    """Write texts with a causal model from one forward over the whole of each: fast, the same numbers on paper, and no
    reader can follow, since it has no whole text to read."""
    mask_id, end = model.config.mask_token_id, model.config.eos_token_id
    for at in torch.arange(len(texts)).split(batch or len(texts)):
        part = [torch.tensor(texts[r]) for r in at.tolist()]
        x = torch.nn.utils.rnn.pad_sequence(part, batch_first=True, padding_value=end)
        logits = model(x).logits
        for r, text, row in zip(at.tolist(), part, logits, strict=True):
            places = [*range(1, len(text))]
            coder([r] * len(places), places, tables(row[: len(places)], bits, mask_id))


@dataclass(frozen=True)
class Order:
    """Which masked places of each row are coded next, from what writer and reader both know.

    `by`: "left", "right", "confidence" (the largest probability), "entropy" (the lowest first) or "chance" (from the
    shared `seed`). `count` places a forward; or, with `sure`, all whose confidence is at least that much, and the most
    confident in any case. `digits`: the confidence is rounded before it is compared.
    """

    by: str = "left"
    count: int = 1
    sure: float | None = None
    seed: int = 0
    digits: int | None = None

    def choose(self, p: Tensor, masked: Tensor, keys: Tensor) -> Tensor:
        """Choose places, (R, L) bool. Shapes: p (R, L, V) float64, masked (R, L) bool, keys (R, L) of the seed."""
        place, confidence = torch.arange(p.shape[1]).expand(masked.shape), p.amax(-1)
        if self.digits is not None:
            confidence = confidence.mul(10**self.digits).round()
        if self.by not in (known := ("left", "right", "confidence", "entropy", "chance")):
            raise ValueError(f"by={self.by!r} is none of {', '.join(known)}")
        score = {"left": -place, "right": place, "confidence": confidence, "chance": keys}.get(self.by)
        score = -torch.special.entr(p).sum(-1) if score is None else score
        score = score.double().masked_fill(~masked, -torch.inf)
        rank = score.argsort(dim=1, descending=True, stable=True).argsort(1)  # the first of equals first
        if self.sure is None:
            return masked & (rank < self.count)
        return masked & ((confidence >= self.sure) | (rank == 0))


@torch.inference_mode()
def any_order(
    model, x: Tensor, valid: Tensor, coder: Coder, order: Order, *, bits: int = 16, batch: int | None = None
) -> tuple[Tensor, list[int]]:
    """Read or write the masked places of rows with a masked model, in an order that both sides work out.

    Places that are chosen in one forward are coded from that forward, as if they were independent. Shapes: x (B, L) ids
    with masks, valid (B, L) bool (False: padding) -> the full rows (B, L), and the forwards of each row.
    """
    mask_id, keys = model.config.mask_token_id, torch.rand(x.shape, generator=_seeded(order.seed))
    x, forwards = x.clone(), [0] * len(x)
    allowed = torch.arange(model.config.vocab_size) != mask_id
    for rows in valid.sum(1).argsort(stable=True).split(batch or len(x)):  # rows of about one length together
        used = slice(int(valid[rows].nonzero()[:, 1].max()) + 1)
        while len(rows := rows[(x[rows] == mask_id).any(1)]):
            logits = model(x[rows, used], valid[rows, used]).logits.double()  # (R, L, V)
            p = logits.masked_fill(~allowed, -torch.inf).softmax(-1)
            chosen = order.choose(p, x[rows, used] == mask_id, keys[rows, used])  # (R, L)
            at = chosen.nonzero()  # (N, 2), row by row, left to right
            found = coding.frequencies(p[chosen], bits, allowed)
            r, i = rows[at[:, 0]], at[:, 1]
            x[r, i] = torch.tensor(coder(r.tolist(), i.tolist(), found))
            for row in rows.tolist():
                forwards[row] += 1
    return x, forwards


def price_by_sets(price: Callable[[frozenset[int], int], float], places: Sequence[int]) -> float:
    """Give the mean price of all orders of places, in bits, from the sets S of places that are still masked.

        mean over l = 1..n, then over the sets S of l places:  n / l  times the sum over i in S of price(known, i)

    `price(known, i)`: bits of place i when a frozenset of places, those outside S, is known. This is the sum of the
    bound (notebook 02), and the orders' mean: when l places are left, they are any l, and the next is any of them.

    >>> price_by_sets(lambda known, i: 1.0 if known else 3.0, [0, 1])  # the first costs 3, the second 1
    4.0
    """
    n, every, total = len(places), frozenset(places), 0.0
    for left in range(1, n + 1):
        bits = sum(price(every - {*s}, i) for s in combinations(places, left) for i in s)
        total += bits / left / math.comb(n, left)
    return total


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------------ files


def check(texts: Iterable[Iterable[int]]) -> int:
    """Make a number of 32 bits of texts of ids: other texts have, nearly always, another one."""
    return zlib.crc32("\n".join(" ".join(map(str, text)) for text in texts).encode())


def pack(model, texts: Sequence[Sequence[int]], *, bits: int = 16) -> bytes:
    """Write texts of ids, which begin with one start mark and end with the end mark, as a file of one stream.

    Raises `ValueError` when they do not.
    """
    start, end = texts[0][0], model.config.eos_token_id
    if not all(text[0] == start and [i for i, t in enumerate(text) if t == end] == [len(text) - 1] for text in texts):
        raise ValueError("every text begins with the same mark and holds one end mark, its last token")
    in_turn(model, len(texts), writer := Writer(texts), start=start, bits=bits)
    head = bytes([bits, 0]) + len(texts).to_bytes(2, "big") + check(texts).to_bytes(4, "big")
    return head + coding.to_bytes(writer.finish()[0])


def unpack(model, data: bytes, *, start: int) -> list[list[int]]:
    """Read the texts of a file of `pack`. Raises `ValueError` when they are not those that were written."""
    count, wanted = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:HEAD], "big")
    texts = in_turn(model, count, Reader([coding.to_bits(data[HEAD:])]), start=start, bits=data[0])
    if check(texts) != wanted:
        raise ValueError("these are not the texts that were written: the reader's tables are others than the writer's")
    return texts
