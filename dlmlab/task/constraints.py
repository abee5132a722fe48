"""Questions and answers as constraints for an SMT solver, z3: what holds is not calculated but stated.

    fills("ann buys _ apples . then ann takes 5 more . how many apples does ann have now ?", answer=17)  # {12}
    core("3 * 20 = 60 ; 14 + 60 = 75 ; #### 75")  # [1]: the parts that cannot all hold

Decisions
* The world is part of the constraints: results are whole numbers 0-99, a division leaves no rest and divides by no
  zero. z3's own `/` on whole numbers cuts the rest off, and gives any value at all for a division by zero.
* A question with a hole is read by the one reader of the course, `tasks.read`, with symbols for numbers. So what the
  solver allows can be held against trying every number with `tasks.solve` (`fills_by_trying`), which needs no z3.
* An answer is judged without knowing what its question asks for (that would be to know the answer, as `tasks.verify`
  does): by arithmetic alone, or also by which numbers the question tells, for every number of the answer has to come
  from somewhere.
* A core names parts that cannot all hold, shrunk until none can be left out. It does not say which of them is wrong.
* z3 is not part of the installation: `missing` says in one sentence what to install.

Sources: de Moura and Bjorner, Z3 (TACAS 2008); a language model beside a solver: Logitext, arXiv 2602.18095.
"""

import importlib.util
import itertools
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from dlmlab.task.tasks import HOLE, MAX_NUMBER, NUMBER, QuestionError, read, solve


def missing() -> str:
    """Say in one sentence what to install; "" when z3 is there."""
    if importlib.util.find_spec("z3"):
        return ""
    return "z3 is not installed: `pip install z3-solver` (or the extra `constraints`)"


def _z3():
    if sentence := missing():
        raise ValueError(sentence)
    import z3

    return z3


def conditions(a, op: str, b, c) -> list:
    """List what has to hold for `a op b = c` in the world of mini-GSM: the arithmetic, and c in 0..99.

    For whole numbers the list holds verdicts, for symbols of a solver constraints; so nothing in here may ask whether
    a condition is true. Raises `ValueError` for an unknown sign.

    >>> [all(conditions(7, "/", 2, c)) for c in (3, 4)], all(conditions(8, "/", 2, 4)), all(conditions(7, "/", 0, 0))
    ([False, False], True, False)
    """
    if op not in "+-*/" or len(op) != 1:
        raise ValueError(f"op={op!r} is unknown; known: + - * /")
    held = {"+": lambda: [a + b == c], "-": lambda: [a - b == c], "*": lambda: [a * b == c]}
    return [*held.get(op, lambda: [b * c == a, b != 0])(), c >= 0, c <= MAX_NUMBER]


def possible(state: Callable[..., list], *values: int) -> bool:
    """Ask the solver whether conditions on symbols can hold, symbols that are fixed to these whole numbers.

    `state` takes as many symbols as there are values, and gives a list of conditions. Raises `ValueError` without z3.
    """
    z3 = _z3()
    symbols, solver = [z3.Int(f"x{i}") for i in range(len(values))], z3.Solver()
    solver.add(*[symbol == value for symbol, value in zip(symbols, values, strict=True)], *state(*symbols))
    return solver.check() == z3.sat


# ---------------------------------------------------------------------------------------------- a question with a hole


def holes(question: str) -> list[str]:
    """Hide the numbers of a question one at a time.

    >>> holes("ann buys 12 apples . then ann takes 5 more .")
    ['ann buys _ apples . then ann takes 5 more .', 'ann buys 12 apples . then ann takes _ more .']
    """
    return [f"{question[: m.start()]}{HOLE}{question[m.end() :]}" for m in re.finditer(r"\b\d+\b", question)]


def fills(question: str, answer: int | None = None) -> set[int]:
    """Find every number that the hole of a question may hold, so that all results are whole numbers 0-99 and, if it is
    given, the answer comes out.

    Raises `ValueError` without z3, and `tasks.QuestionError` for a text that is no question with one hole.
    """
    _check_hole(question)
    z3 = _z3()
    hole, solver, made = z3.Int("hole"), z3.Solver(), itertools.count()
    solver.add(hole >= 0, hole <= MAX_NUMBER)

    def calculate(left, op, right):
        result = z3.Int(f"result {next(made)}")
        solver.add(*conditions(left, op, right, result))
        return result

    solved = read(question, number=lambda text: hole if text == HOLE else int(text), calculate=calculate)
    if answer is not None:
        solver.add(solved.answer == answer)
    found: set[int] = set()
    while solver.check() == z3.sat:
        value = solver.model().eval(hole, model_completion=True).as_long()
        found.add(value)
        solver.add(hole != value)
    return found


def fills_by_trying(question: str, answer: int | None = None) -> set[int]:
    """Find the same by asking `tasks.solve` a hundred times.

    >>> fills_by_trying("ann buys _ apples . then ann takes 5 more . how many apples does ann have now ?", answer=17)
    {12}
    """
    _check_hole(question)
    found = set()
    for value in range(MAX_NUMBER + 1):
        try:
            solved = solve(question.replace(HOLE, str(value)))
        except QuestionError:
            continue
        if answer is None or solved.answer == answer:
            found.add(value)
    return found


def _check_hole(question: str) -> None:
    if question.split().count(HOLE) != 1:
        raise QuestionError(f"a question with one hole, a lonely {HOLE}, is needed: {question!r}")


# ---------------------------------------------------------------------------------------------- the parts of an answer


@dataclass(frozen=True)
class Part:
    """An equation of an answer or, last, its final number. `numbers` is (a, op, b, c), or the number alone, and None
    for what cannot be read; `start` and `end` count the words of the answer: it stands in words[start:end]."""

    text: str
    numbers: tuple | None
    start: int
    end: int


def parts(text: str) -> list[Part]:
    """Cut an answer into its equations and its final number, in words.

    >>> [(p.text, p.start, p.end) for p in parts("3 * 20 = 60 ; #### 60")]
    [('3 * 20 = 60', 0, 5), ('#### 60', 7, 8)]
    """
    words, found, start = text.split(), [], 0
    last = words.index("####") if "####" in words else len(words)
    for i in range(last + 1):
        if i == last or words[i] == ";":
            if i > start:
                found.append(_equation(words, start, i))
            start = i + 1
    if last < len(words):
        tail = words[last + 1 :]
        number = int(tail[0]) if len(tail) == 1 and re.fullmatch(NUMBER, tail[0]) else None
        found.append(Part(" ".join(words[last:]), None if number is None else (number,), last + 1, len(words)))
    return found


def _equation(words: list[str], start: int, end: int) -> Part:
    text = " ".join(words[start:end])
    m = re.fullmatch(rf"({NUMBER}) ([-+*/]) ({NUMBER}) = ({NUMBER})", text)
    return Part(text, m and (int(m[1]), m[2], int(m[3]), int(m[4])), start, end)


# ------------------------------------------------------------------------------------------------ what cannot all hold


def shrunk(names: Sequence[Hashable], consistent: Callable[[list], bool]) -> list:
    """Leave out of a list whatever is not needed for a contradiction, from the first to the last.

    `consistent(some)` says whether some of the names can all hold, and the whole list cannot. What is left cannot
    either, and leaving out any one of it ends the contradiction (the deletion filter of Chinneck and Dravnieks, 1991).
    `names` is not changed. Raises `ValueError` for a list that is consistent.

    >>> shrunk(["a", "b", "c"], lambda some: not {"a", "c"} <= set(some))
    ['a', 'c']
    """
    if consistent(list(names)):
        raise ValueError("there is no contradiction to explain: all of them can hold")
    left = list(names)
    for name in names:
        rest = [other for other in left if other != name]
        if not consistent(rest):
            left = rest
    return left


class Claims:
    """An answer as constraints, one name for each part: its index in `parts`.

    How the numbers of an answer go together is always demanded: each equation holds, the final number is the last
    result, and, given `told`, the numbers of a question, whatever an equation calculates with is one of these or an
    earlier result. What can be taken back is that a part says what it says. Raises `ValueError` without z3.
    """

    def __init__(self, text: str, told: Iterable[int] | None = None):
        self.z3, self.parts = _z3(), parts(text)
        self.told, self.solver = None if told is None else sorted(set(told)), self.z3.Solver()
        results: list = []
        for i, part in enumerate(self.parts):
            claim = self._final(i, part, results) if part.text.startswith("####") else self._equation(i, part, results)
            self.solver.add(self.z3.Implies(self.z3.Bool(str(i)), self.z3.And(*claim)))

    def _equation(self, i: int, part: Part, results: list) -> list:
        """Demand that the numbers of part i go together; gives what it claims, and adds to the results."""
        a, b, c = self.z3.Ints(f"a{i} b{i} c{i}")
        earlier = list(results)
        results.append(c)
        if part.numbers is None:
            return [self.z3.BoolVal(False)]
        left, op, right, result = part.numbers
        self.solver.add(*conditions(a, op, b, c), a >= 0, b >= 0)
        if self.told is not None:
            for side in (a, b):
                self.solver.add(self.z3.Or([side == other for other in (*self.told, *earlier)]))
        return [a == left, b == right, c == result]

    def _final(self, i: int, part: Part, results: list) -> list:
        final = self.z3.Int("final")
        if results:
            self.solver.add(final == results[-1])
        return [self.z3.BoolVal(False) if part.numbers is None else final == part.numbers[0]]

    def consistent(self, some: Sequence[int] | None = None) -> bool:
        """Say whether some of the parts, or all, can hold together."""
        return self._check(range(len(self.parts)) if some is None else some) == self.z3.sat

    def core(self, some: Sequence[int] | None = None) -> list[int]:
        """Name parts that cannot all hold, none of which can be left out; [] when all can."""
        some = range(len(self.parts)) if some is None else list(some)
        if self._check(some) == self.z3.sat:
            return []
        named = sorted(int(str(name)) for name in self.solver.unsat_core())
        return shrunk(named, self.consistent)  # z3's own core need not be a least one

    def conflicts(self) -> list[list[int]]:
        """Name contradictions until what is left can hold: no part is named twice."""
        left, found = list(range(len(self.parts))), []
        while named := self.core(left):
            found.append(named)
            left = [i for i in left if i not in named]
        return found

    def _check(self, some: Sequence[int]):
        return self.solver.check(*[self.z3.Bool(str(i)) for i in some])


def core(text: str, told: Iterable[int] | None = None) -> list[int]:
    """Name the parts of an answer that cannot all hold, by their index in `parts`; [] when all can. See `Claims`."""
    return Claims(text, told).core()


def told(question: str) -> set[int]:
    """Read which numbers a question tells, also those that matter for nothing; "twice", "half" and "double" are a 2.

    >>> sorted(told("ann has 12 apples . a sale doubles the basket ."))
    [2, 12]
    """
    found = {int(number) for number in re.findall(r"\b\d+\b", question)}
    return found | ({2} if re.search(r"\b(twice|half|doubles)\b", question) else set())
