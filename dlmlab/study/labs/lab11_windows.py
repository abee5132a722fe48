"""Lab 11: the same list read through windows. A place is filled from the few visible places nearest to it, not from the
whole text; of the places of the list that agree best with this window, the tokens are counted.

* `same place`: compared with the place of every text that stands as far behind its answer mark.
* `any place`: compared with every place of every answer, up to `REACH` places to either side.

Table `11_windows`: hidden tokens as in `11_denoising`, same texts, same masks (`same place` with 96 places is the
control: whole texts, answers aligned); with nothing shown, whole answers to the first 100 test problems, written from
left to right. Why windows may be ahead where the optimum fails: Kamb and Ganguli, arXiv 2412.20292.
"""

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from torch import Tensor

from dlmlab.limits import ANSWER_LENGTH
from dlmlab.measure import evaluate
from dlmlab.measure.difference import Difference, between, headlines, of_rows
from dlmlab.measure.store import select
from dlmlab.measure.table import Table
from dlmlab.network.checkpoint import load
from dlmlab.study.labs import lab11_corpus as lab
from dlmlab.study.labs import lab11_memory as memory
from dlmlab.task import layout, tasks

L, REACH, PROBLEMS = lab.L, 16, 100
RULES, PLACES, SHOWN = ("same place", "any place"), (4, 8, 16), memory.SHOWN
WINDOWED = [(rule, k) for rule in RULES for k in PLACES]
WHOLE = ("same place", L)


class Windows:
    """A list of texts (N, L), ready to be compared by windows; `at` are the places of its answer marks, (N,)."""

    def __init__(self, texts: Tensor, at: Tensor, V: int, end: int) -> None:
        known, start = texts.numpy().astype(np.int16), at.numpy()[:, None]
        wide = np.pad(known, ((0, 0), (L, 0)), constant_values=-1)  # no token stands before a text
        wide = np.pad(wide, ((0, 0), (0, L)), constant_values=end)
        marked = np.take_along_axis(wide, start + np.arange(2 * L), 1)  # (N, 2 L), answer marks at column L
        self.V, self.aligned = V, np.ascontiguousarray(marked.T)
        ended = known == end
        text, place = np.nonzero((np.arange(L) > start) & ~(ended & np.roll(ended, 1, 1)))  # one end mark a text
        self.around = {o: wide[text, L + place + o] for o in range(-REACH, REACH + 1)}

    def fill(self, z: np.ndarray, visible: np.ndarray, place: int, start: int, rule: str, k: int) -> int:
        """Predict one hidden place of a row (L,) whose answer mark is at `start`, from its k nearest visible places."""
        seen = near(visible, place, k, REACH if rule == "any place" else L)
        if rule == "any place":
            target, columns = self.around[0], (self.around[j - place] for j in seen)
        else:
            target, columns = self.aligned[L + place - start], (self.aligned[L + j - start] for j in seen)
        off = np.zeros(len(target), np.uint8)
        for j, column in zip(seen, columns, strict=True):
            off += column != z[j]
        return int(np.bincount(target[off == off.min()], minlength=self.V).argmax())


def near(visible: np.ndarray, place: int, k: int, reach: int) -> list[int]:
    """List the k visible places nearest to one, none further than `reach`; of two alike the left one first.

    >>> near(np.array([1, 1, 0, 0, 1], bool), 2, 2, 9)
    [1, 0]
    """
    found = sorted((j for j in np.flatnonzero(visible).tolist() if j != place), key=lambda j: abs(j - place))
    return [j for j in found[:k] if abs(j - place) <= reach]


@cache
def _list() -> Windows:
    _, tokenizer = load("llada-mini")
    return Windows(lab.texts(), memory.answer_starts(lab.texts()), lab.vocabulary()[0], tokenizer.eos_token_id)


# -------------------------------------------------------------------------------------------------------- the table


def filled(rule: str, k: int, asked: str, shown: float, seed: int, size: int | None = None) -> dict:
    """Give for each text the share of hidden tokens of its solution that are right; `results`: right or wrong, for each
    hidden token behind an equals sign."""
    _, tokenizer = load("llada-mini")
    x0 = lab.some(lab.texts() if asked == "corpus" else lab.outside(), 64).long()
    z, visible, judged, _ = (a[:size].numpy() for a in memory.hide(x0, shown, seed))
    starts, equals, shares, results = memory.answer_starts(x0), tokenizer.convert_tokens_to_ids("="), [], []
    for true, row, seen, hidden, start in zip(x0.tolist(), z, visible, judged, starts.tolist(), strict=False):
        places = np.flatnonzero(hidden).tolist()
        right = [_list().fill(row, seen, i, start, rule, k) == true[i] for i in places]
        shares.append(round(sum(right) / len(right), 3))
        results += [ok for i, ok in zip(places, right, strict=True) if true[i - 1] == equals]
    return {"right": shares, "results": evaluate.digits(results)}


def write(question: str, rule: str, k: int) -> str:
    """Answer a question from left to right, each token from the k places nearest to it."""
    _, tokenizer = load("llada-mini")
    prompt = layout.encode_prompt(tokenizer, question)
    n = len(prompt)
    z, visible = np.array([*prompt, *[tokenizer.eos_token_id] * ANSWER_LENGTH]), np.arange(n + ANSWER_LENGTH) < n
    for place in range(n, n + ANSWER_LENGTH):
        z[place], visible[place] = _list().fill(z, visible, place, n - 1, rule, k), True
        if z[place] == tokenizer.eos_token_id:
            break
    return layout.decode_answer(tokenizer, z[n:].tolist())


def sums(said: str) -> list[bool]:
    """Judge every equation of an answer as arithmetic, whatever was asked.

    >>> sums("2 * 13 = 26 ; 26 - 1 = 20 ; #### 20")
    [True, False]
    """
    does = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    found = re.findall(r"(\d+) ([-+*]) (\d+) = (\d+)", said)
    return [does[sign](int(a), int(b)) == int(c) for a, sign, b, c in found]


def windows(rule: str, k: int, asked: str, shown: float, seed: int, size: int | None = None) -> dict:
    """Measure one row: tokens where a part of the answer is shown, whole answers where nothing is."""
    if shown:
        return filled(rule, k, asked, shown, seed, size)
    chosen = memory.problems("test")[:PROBLEMS][:size]
    said = [write(p.question, rule, k) for p in chosen]
    pairs = [*zip(chosen, said, strict=True)]
    return {
        "correct": evaluate.digits(tasks.verify(p.question, a).correct for p, a in pairs),
        "tokens": [memory.agreement(p, a) for p, a in pairs],
        "sums": evaluate.digits(true for a in said for true in sums(a)),
    }


def _settings() -> list[dict]:
    found = [(*key, "test", s, seed) for key in (*WINDOWED, WHOLE) for s in SHOWN for seed in range(3)]
    found += [(rule, 8, "corpus", s, seed) for rule in RULES for s in SHOWN for seed in range(3)]
    found += [(*key, "test", 0.0, 0) for key in WINDOWED]
    return [dict(zip(("rule", "k", "asked", "shown", "seed"), key, strict=True)) for key in found]


def share(rows: Sequence[dict], rule: str, k: int, asked: str, shown: float) -> float:
    """Give the share of hidden tokens that are right, mean over texts and seeds."""
    found = [v for row in select(rows, rule=rule, k=k, asked=asked, shown=shown) for v in row["right"]]
    return sum(found) / len(found)


def ahead(rows: Sequence[dict], rule: str, k: int, asked: str, shown: float, who: str = "denoiser") -> Difference:
    """Compare a window with a reader of `11_denoising` on the same hidden tokens, in points, over texts and seeds."""
    same = {"asked": asked, "shown": shown}
    both = [*rows, *memory.DENOISING.rows()]
    return of_rows(both, {"rule": rule, "k": k, **same}, {"who": who, **same}, column="right").times(100)


def answered(rows: Sequence[dict], rule: str, k: int, column: str = "correct") -> Difference:
    """Compare whole answers ("correct"), or their tokens, with those of the exact denoiser, in points."""
    (ours,) = select(rows, rule=rule, k=k, shown=0.0)
    (exact,) = select(memory.MEMORY.rows(), who="denoiser", asked="test", n_texts=lab.SEEDS, rule=memory.MASKS)
    return between(ours[column], exact[column][:PROBLEMS]).times(100)


def _headlines(rows: Sequence[dict]) -> dict[str, float | str]:
    found = {}
    for asked, keys in (("test", (*WINDOWED, WHOLE)), ("corpus", [(rule, 8) for rule in RULES])):
        for rule, k in keys:
            name = f"{asked}, {rule}, {k}"
            found |= {f"{name}, {s}": share(rows, rule, k, asked, s) for s in SHOWN}
            for who in ("denoiser", "LLaDA-mini"):
                gaps = {str(s): ahead(rows, rule, k, asked, s, who) for s in SHOWN}
                found |= headlines(f"{name}, less {who},", gaps)
    for rule, k in WINDOWED:
        (row,) = select(rows, rule=rule, k=k, shown=0.0)
        p, q = (evaluate.Proportion.of(row[column]) for column in ("correct", "sums"))
        late = "".join(r["results"] for r in select(rows, rule=rule, k=k, asked="test", shown=SHOWN[-1]))
        name = f"answers, {rule}, {k}"
        found |= {name: p.value, f"{name}, low": p.interval[0], f"{name}, high": p.interval[1]}
        found |= {f"{name}, sums": q.value, f"{name}, sums, n": q.n, f"{name}, n": p.n}
        found |= {f"results, {rule}, {k}": evaluate.Proportion.of(late).value, f"results, {rule}, {k}, n": len(late)}
        found |= headlines(name, {c: answered(rows, rule, k, c) for c in ("correct", "tokens")})
    return found


WINDOWS = Table(
    "11_windows",
    _settings,
    windows,
    live=(
        {"rule": "any place", "k": 8, "asked": "test", "shown": 0.5, "seed": 0},
        {"rule": "same place", "k": 8, "asked": "corpus", "shown": 0.9, "seed": 1},
        {"rule": "same place", "k": 4, "asked": "test", "shown": 0.0, "seed": 0},
    ),
    size=12,
    tolerance={"right": (0.001, 0.0), "tokens": (0.001, 0.0)},
    headlines=_headlines,
)
