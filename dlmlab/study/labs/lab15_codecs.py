"""Lab 15: the test split as a file: compressors without a model, counts that learn as they go, and the twin.

Raw text: question, newline, solution, newline of every problem. Tokens: the same without the start mark, which both
sides know; with the answer mark and the end mark, so that the text can be restored.

A *primed* codec has seen other problems before (`others`), as the twin has; its bytes are those of the two together
less those of the others alone. `groups`: the problems in ten files of fifty, each written from the beginning, which is
what an interval is drawn over.

A codec "after 16,384 texts" has read so many of the very texts that the twin was trained on, from the first; the last
of `READ` is all of them. They are made anew from the recipe (no test skeleton is among them, as for the twin). Counts
keep only the contexts that stand in the split, since they are never asked for another one: the bytes are the same.
bz2 looks back 900 kB, so it is measured as far as that. xz is slow, so the longest readings are left out, and
only the whole split is measured. `reading`: what the texts
that counts have read take by themselves, by bz2, since their reader has to be given them.
"""

import bz2
import lzma
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch

from dlmlab.measure import codec, coding
from dlmlab.measure.difference import Difference, between
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.objective.batches import POOL, Batches, TrainConfig
from dlmlab.paths import DATA, PACKAGE
from dlmlab.task import layout, tasks

GROUP, GROUPS, ROWS = 50, 10, 50  # problems of a group; groups; rows of a forward
XZ = {"format": lzma.FORMAT_XZ, "preset": 9 | lzma.PRESET_EXTREME}
TWIN = tuple(f"llama-mini, tables of {T} bits" for T in (12, 16, 20, 24))
BEST, PAID = "llama-mini, tables of 24 bits", "llama-mini, tables of 16 bits"
CONTROLS = ("llama-mini, tokens shuffled", "untrained twin", "every token alike")
READ = (1_024, 4_096, 16_384, 65_536, 147_904)  # texts of the twin's training; the last: all of them
ORDERS, LONGEST = (2, 4, 6), 6  # of counts that have read so many
SOURCE = ("task/tasks.py", "task/frames.py", "task/tokenizer.py")  # the program that wrote the texts


def raw(problems: Sequence[tasks.Problem]) -> bytes:
    """Join the texts of problems: a line for the question, a line for the solution."""
    return "".join(f"{p.question}\n{p.solution}\n" for p in problems).encode()


@cache
def others() -> tuple[tasks.Problem, ...]:
    """Give the problems that a primed codec has seen: those of the two other splits on disk."""
    return (*tasks.load_split("calibration"), *tasks.load_split("validation"))


@cache
def texts_of(split: str) -> list[list[int]]:
    """Give the ids of the texts of a split, or of `others`."""
    problems = others() if split == "others" else tasks.load_split(split)
    return layout.encode_texts(load("llama-mini").tokenizer, problems)


def primed(pack: Callable[[bytes], bytes]) -> Callable[[bytes], int]:
    """Count what a text adds to the others."""
    before = raw(others())
    return lambda data: len(pack(before + data)) - len(pack(before))


def with_dictionary(data: bytes) -> int:
    """Count what zlib writes when it may refer to 32 KB of other problems."""
    squeeze = zlib.compressobj(9, zdict=raw(others())[-32768:])
    return len(squeeze.compress(data) + squeeze.flush())


PLAIN: dict[str, Callable[[bytes], int]] = {
    "zlib": lambda data: len(zlib.compress(data, 9)),
    "zlib, dictionary of others": with_dictionary,
    "xz": lambda data: len(lzma.compress(data, **XZ)),
    "xz, primed": lambda data: primed(lambda text: lzma.compress(text, **XZ))(data),
    "bz2": lambda data: len(bz2.compress(data, 9)),
    "bz2, primed": lambda data: primed(lambda text: bz2.compress(text, 9))(data),
}


class Counts:
    """Expect a token from what followed the last `order` ones so far, and shorter contexts where that is little.

    Witten and Bell's rule: p = (c + t p') / (n + t), where a context was followed by this token c times of n, by t
    different ones, and p' is that of the context that is one token shorter; at the end all tokens are alike.
    """

    def __init__(self, order: int, size: int):
        self.order, self.size, self.seen = order, size, defaultdict(Counter)
        self.new: list[tuple[tuple[int, ...], int]] = []  # what `bits` has learned

    def read(self, texts: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> None:
        """Learn from many texts at once, and only in the contexts of the texts that are `wanted`.

        A context of k tokens is a whole number, its digits the tokens; one more digit is the token that follows.
        """
        base = self.size + 1  # the mask has an id, too
        ids, ours = (np.concatenate([[*text] for text in some]) for some in (texts, wanted))
        at, mine = (np.concatenate([np.arange(len(text)) for text in some]) for some in (texts, wanted))  # in its text
        keys, asked = np.zeros_like(ids), np.zeros_like(ours)
        for k in range(self.order + 1):
            if k:  # one token further back; those of another text are left out below
                keys, asked = (x + base ** (k - 1) * np.roll(t, k) for x, t in ((keys, ids), (asked, ours)))
            first = max(k, 1)
            kept = (at >= first) & np.isin(keys, asked[mine >= first])
            pairs, counts = np.unique(keys[kept] * base + ids[kept], return_counts=True)
            for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
                key, token = divmod(pair, base)
                context = tuple(key // base**d % base for d in reversed(range(k)))
                self.seen[context][token] += count

    def forget(self) -> None:
        """Unlearn what `bits` has learned: the counts are as they were read."""
        for context, token in self.new:
            found = self.seen[context]
            found[token] -= 1
            if not found[token]:
                del found[token]
            if not found:
                del self.seen[context]
        self.new.clear()

    def bits(self, text: Sequence[int]) -> float:
        """Cost of a text whose first token is known, learning from every token when it is over."""
        total = 0.0
        for i in range(1, len(text)):
            p, token = 1 / self.size, text[i]
            contexts = [tuple(text[i - k : i]) for k in range(min(self.order, i) + 1)]
            for found in (self.seen[context] for context in contexts if context in self.seen):
                n, t = found.total(), len(found)
                p = (found[token] + t * p) / (n + t)
            for context in contexts:
                self.seen[context][token] += 1
                self.new.append((context, token))
            total -= math.log2(p)
        return total


def counted(order: int, texts: Sequence[Sequence[int]], *, warm: bool) -> float:
    """Cost of texts in bytes by counts; `warm`: the others were read before."""
    counts = Counts(order, len(load("llama-mini").tokenizer) - 1)  # the mask never stands in a text
    for text in texts_of("others") if warm else ():
        counts.bits(text)
    return sum(counts.bits(text) for text in texts) / 8


_MADE: list[tasks.Problem] = []


def training(count: int) -> list[tasks.Problem]:
    """Give the first `count` problems that the twin was trained on, made anew."""
    batches = Batches(TrainConfig.read(DATA / "llama-mini" / "training.toml"))
    while len(_MADE) < count:
        pool = batches.problems(len(_MADE) // (POOL * batches.config.rows))
        _MADE.extend(problem for problems in pool for problem in problems)
    return _MADE[:count]


@cache
def counts_after(count: int) -> Counts:
    """Read texts of the twin's training, on from the largest number in `READ` that is smaller."""
    tokenizer, earlier = load("llama-mini").tokenizer, max((n for n in READ if n < count), default=0)
    counts = Counts(LONGEST, len(tokenizer) - 1)
    if earlier:
        counts.seen.update({context: found.copy() for context, found in counts_after(earlier).seen.items()})
    counts.read(layout.encode_texts(tokenizer, training(count)[earlier:]), texts_of("test"))
    return counts


def after(order: int, count: int, texts: Sequence[Sequence[int]]) -> float:
    """Cost of texts in bytes by counts that have read so many texts of the twin's training."""
    before = counts_after(count)
    counts = Counts(order, before.size)
    counts.seen = before.seen
    total = sum(counts.bits(text) for text in texts) / 8
    counts.forget()
    return total


SQUEEZE: dict[str, Callable[[bytes], bytes]] = {
    "xz": lambda data: lzma.compress(data, **XZ),
    "bz2": lambda data: bz2.compress(data, 9),
}


@cache
def reading(name: str, count: int) -> int:
    """Count what the texts that were read take by themselves."""
    return len(SQUEEZE[name](raw(training(count))))


@cache
def untrained() -> LLaDAModelLM:
    """Make a twin with fresh weights, seed 0."""
    config = LLaDAConfig(**load("llama-mini").model.config.to_dict())
    torch.manual_seed(0)
    return LLaDAModelLM(config).eval()


def twin_bits(name: str, texts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Cost of every token of every text under the twin, or one of its controls, in bits."""
    model = untrained() if name.startswith("untrained") else load("llama-mini").model
    bits = int(name.split()[-2]) if name in TWIN else 24
    if name.endswith("shuffled"):
        g = torch.Generator().manual_seed(0)
        texts = [[t[0], *(t[1 + i] for i in torch.randperm(len(t) - 1, generator=g).tolist())] for t in texts]
    codec.at_once(model, texts, meter := codec.Meter(texts), bits=bits, batch=ROWS)
    return [list(meter.bits[r].values()) for r in range(len(texts))]


def texts_read(name: str) -> int:
    """Read off the name of a codec how many texts of the twin's training it has read."""
    return int(name.split()[-2].replace(",", ""))


def measured(name: str, problems: Sequence[tasks.Problem], texts: Sequence[Sequence[int]]) -> float:
    """Give the bytes of one file of these problems under a codec, without its model."""
    if name in PLAIN:
        return float(PLAIN[name](raw(problems)))
    if name == "xz on token ids":
        ids = b"".join(token.to_bytes(2, "little") for text in texts for token in text[1:])
        return float(len(lzma.compress(ids, **XZ)))
    if name == "every token alike":
        allowed = len(load("llama-mini").tokenizer) - 1
        return sum(len(text) - 1 for text in texts) * math.log2(allowed) / 8
    if " after " in name:
        kind, count = name.partition(" after ")[0], texts_read(name)
        if kind in SQUEEZE:
            return float(len(SQUEEZE[kind](raw(training(count)) + raw(problems))) - reading(kind, count))
        return after(int(kind.split()[-1]), count, texts)
    order = int(name.split()[3].strip(","))
    return counted(order, texts, warm="primed" in name)


COUNTS = tuple(f"counts of order {k}{warm}" for k in (2, 4) for warm in ("", ", primed"))


AFTER = {  # by codec and texts read
    **{(f"counts of order {k}", n): f"counts of order {k} after {n:,} texts" for n in READ for k in ORDERS},
    **{("bz2", n): f"bz2 after {n:,} texts" for n in READ[:2]},
    **{("xz", n): f"xz after {n:,} texts" for n in READ[:3]},
}


def run(codec: str, size: int | None = None) -> dict:
    """Measure one codec: bytes of the whole split, and of its groups. `size`: only the first so many groups."""
    problems, texts = tasks.load_split("test"), texts_of("test")
    cut = [slice(GROUP * g, GROUP * (g + 1)) for g in range(size or GROUPS)]
    if codec in (*TWIN, *CONTROLS[:2]):
        costs = twin_bits(codec, texts[: cut[-1].stop])
        row: dict = {"groups": [round(sum(map(sum, costs[part])) / 8, 2) for part in cut]}
        if size is None and codec == BEST:  # the answer begins after its mark
            mark = load("llama-mini").tokenizer.convert_tokens_to_ids("<|answer|>")
            at = [text.index(mark) for text in texts]
            row["question"] = [round(sum(c[: i - 1]), 4) for c, i in zip(costs, at, strict=True)]
            row["mark"] = [round(c[i - 1], 6) for c, i in zip(costs, at, strict=True)]
            row["answer"] = [round(sum(c[i:]), 4) for c, i in zip(costs, at, strict=True)]
        return row if size else row | {"bytes": round(sum(map(sum, costs)) / 8, 2)}
    if codec.startswith("xz after"):  # two compressions of all that was read; for groups it would be twenty more
        return {"bytes": round(measured(codec, problems, texts), 2)}
    row = {"groups": [round(measured(codec, problems[part], texts[part]), 2) for part in cut]}
    if size:
        return row
    if codec.startswith("counts") and " after " in codec:
        row["reading"] = reading("bz2", texts_read(codec))
    return row | {"bytes": round(measured(codec, problems, texts), 2)}


def settings() -> list[dict]:
    """List the codecs."""
    return [{"codec": name} for name in (*PLAIN, "xz on token ids", *COUNTS, *TWIN, *CONTROLS, *AFTER.values())]


# ------------------------------------------------------------------------------------------------ what is read off


def size_of(rows: Sequence[dict], name: str) -> float:
    """Bytes of the whole split."""
    return select(rows, codec=name)[0]["bytes"]


def curve(rows: Sequence[dict], kind: str) -> list[tuple[int, float]]:
    """Give texts read and bytes of the split, for a codec that has read texts of the twin's training."""
    return [(n, size_of(rows, name)) for (which, n), name in AFTER.items() if which == kind]


def best_reader(rows: Sequence[dict]) -> str:
    """Name the codec without a network that is shortest after all that the twin has read: chosen on the split itself,
    which is a favour to it."""
    return min((name for (_, n), name in AFTER.items() if n == READ[-1]), key=lambda name: size_of(rows, name))


def less(rows: Sequence[dict], name: str, other: str) -> Difference:
    """Compare two codecs in bytes a problem, over groups."""
    ours, theirs = (select(rows, codec=which)[0]["groups"] for which in (name, other))
    return between(ours, theirs).times(1 / GROUP)


def model_bytes(bits: float = 32) -> float:
    """Size of the twin when every weight takes so many bits: the float32 file, scaled."""
    return sum(p.numel() for p in load("llama-mini").model.parameters()) * bits / 8


def source_bytes() -> int:
    """Size of the program that wrote the texts, compressed: what a codec would be that simply ran it."""
    return len(zlib.compress(b"".join((PACKAGE / name).read_bytes() for name in SOURCE), 9))


def headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    """Name what pages quote."""
    found: dict[str, float | str] = {f"bytes, {row['codec']}": row["bytes"] for row in rows}
    found["raw"] = float(len(raw(tasks.load_split("test"))))
    parts = select(rows, codec=BEST)[0]
    for part in ("question", "mark", "answer"):
        found[f"bits, {part}"] = sum(parts[part])
    found["bits, answer, dearest"] = max(parts["answer"])
    for other in ("xz", "bz2, primed", "counts of order 4, primed"):
        d = less(rows, PAID, other)
        found |= {f"less, {other}": d.mean, f"less, {other}, low": d.low, f"less, {other}, high": d.high}
        found[f"less, {other}, word"] = d.word
        each = (size_of(rows, PAID) / 500, size_of(rows, other) / 500)
        for bits in (32, 16, 8, 4):
            found[f"pays after, {other}, {bits} bits"] = coding.pays_after(model_bytes(bits), *each)
    best = best_reader(rows)
    all_read = select(rows, codec=AFTER["counts of order 4", READ[-1]])[0]["reading"]
    d = less(rows, PAID, best)
    found |= {
        "reader, best": best,
        "reader, bytes": size_of(rows, best),
        "reader, factor": size_of(rows, best) / size_of(rows, PAID),
    }
    found |= {"reader, less": d.mean, "reader, low": d.low, "reader, high": d.high, "reader, word": d.word}
    found |= {"reader, texts": READ[-1], "reader, reading": all_read}
    found |= {f"texts, {kind}": max(n for which, n in AFTER if which == kind) for kind in SQUEEZE}
    each = (size_of(rows, PAID) / 500, size_of(rows, best) / 500)
    for bits in (32, 4):
        found[f"reader, pays after, {bits} bits"] = coding.pays_after(model_bytes(bits), *each)
        found[f"reader, pays after, reading counted, {bits} bits"] = coding.pays_after(
            model_bytes(bits) - all_read, *each
        )
    return found


TABLE = Table(
    "15_codecs",
    settings,
    run,
    live=tuple({"codec": name} for name in ("bz2, primed", COUNTS[2], PAID, AFTER["counts of order 4", READ[0]])),
    size=1,
    tolerance={"groups": (2.0, 0.03)},  # libraries differ by version, and by the word "faster"
    headlines=headlines,
)
