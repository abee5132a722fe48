"""Exercises that check themselves and never strand the reader.

    forward_process = dl.exercises.use("1.1", forward_process)  # yours if it passes its check, the course's otherwise
    dl.exercises.scoreboard("01")

Decisions
* The solution of an exercise is the package function; there is no second copy of it that could grow old.
* `use` says whose function it returns. So *Run all* works on an untouched notebook, and the scoreboard never credits
  the course's code to the reader.
* Only NotImplementedError (the stub) and AssertionError (the check) are caught: any other error shows its trace.
* A check is the whole specification: what it does not test is free. It calls nothing of the course, and its message
  names the likely misconception. `tests/mutants` holds, for every check, the wrong answers it must catch and explain.
* An exercise is declared beside its check, in `dlmlab/course/checks`, one module each.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

import dlmlab

OPEN, YOURS, COURSE, SEEN = "open", "yours", "course's version", "solution seen"


@dataclass(frozen=True)
class Exercise:
    """What a notebook shows of an exercise, and how an answer is judged.

    `difficulty` 1-5; `objective` what one can do afterwards; `path` the dotted name of the course's own function;
    `stub` the source text to start from; `hints` from gentle to plain; `check` raises `AssertionError` on a wrong one.
    """

    id: str
    title: str
    minutes: int
    difficulty: int
    objective: str
    path: str
    stub: str
    hints: tuple[str, ...]
    check: Callable[[Callable], None]

    @property
    def notebook(self) -> str:
        """Number of the notebook: "1.2" is in "01"."""
        return self.id.split(".")[0].zfill(2)

    def course(self) -> Callable:
        """Return the course's own function, which is also the solution."""
        return functools.reduce(getattr, self.path.split(".")[1:], dlmlab)


@cache
def registry() -> dict[str, Exercise]:
    """List every exercise by its id, in the order of the course."""
    from dlmlab.course.checks import EXERCISES  # here, because each check imports `Exercise` from this module

    return {exercise.id: exercise for exercise in EXERCISES}


@dataclass
class _Progress:
    status: str = OPEN
    seen: bool = False  # the solution was shown before an own function passed

    def __str__(self) -> str:
        if not self.seen:
            return self.status
        return f"{YOURS}, {SEEN}" if self.status == YOURS else SEEN


_PROGRESS: dict[str, _Progress] = {}  # of this process: a restarted kernel starts with every exercise open


class Text(str):
    """Text that a notebook shows as it is; the repr of a plain string would hide its line breaks."""

    __repr__ = str.__str__


class Code(Text):
    """Python source, coloured where Markdown is shown."""

    def _repr_markdown_(self) -> str:
        return f"```python\n{self}```"


def check(id: str, fn: Callable) -> bool:
    """Run the check of an exercise on `fn`, print one line, return whether it passed.

    Raises `ValueError` for an unknown id, and whatever `fn` raises, except NotImplementedError and AssertionError.

    >>> check("1.2", lambda masks, steps: [masks // steps] * steps)
    1.2: not yet: 2 masks are lost for 10 masks in 4 steps: [2, 2, 2, 2]; rounding down forgets the remainder
    False
    """
    error = _grade(id, fn)
    print(f"{id}: passed" if error is None else f"{id}: not yet{_reason(error)}")
    return error is None


def use(id: str, fn: Callable) -> Callable:
    """Return `fn` if it passes its check, else the course's own function; print which, and why.

    A function that passes counts as "yours" on the scoreboard. After a stub the exercise stays "open"; after a wrong
    answer it shows "course's version". Raises like `check`.
    """
    error = _grade(id, fn)
    if error is None:
        own = _progress(id).status == YOURS
        print(f"{id}: passed; {'your function is used below' if own else 'it is the course function itself'}")
        return fn
    if isinstance(error, AssertionError):
        _progress(id).status = COURSE
    whose = f'the course\'s version is used below, the scoreboard says "{_progress(id)}"'
    print(f"{id}: not yet{_reason(error)}; {whose}")
    return _find(id).course()


def solution(id: str) -> Code:
    """Show the source of the course's own function; unless yours passed before, the scoreboard then says so."""
    exercise, progress = _find(id), _progress(id)
    progress.seen |= progress.status != YOURS
    return Code(f"# {exercise.path}\n{inspect.getsource(exercise.course())}")


def stub(id: str) -> Code:
    """Show the stub of an exercise: its signature, its docstring, `raise NotImplementedError`."""
    return Code(_find(id).stub)


def hint(id: str, n: int = 1) -> Text:
    """Show hint `n`, counted from 1, the gentlest first. Raises `ValueError` when there is no such hint.

    >>> hint("1.2", 1)
    Hint 1 of 2. divmod(masks, steps) gives what every step gets, and how many are left over.
    """
    hints = _find(id).hints
    if not 1 <= n <= len(hints):
        raise ValueError(f"exercise {id} has hints 1 to {len(hints)}, got n={n}")
    return Text(f"Hint {n} of {len(hints)}. {hints[n - 1]}")


def scoreboard(notebook: str | None = None) -> Text:
    """Show the exercises of a notebook ("01"), or of all, and whose function each one ended with.

    The states are open, yours, course's version (a wrong answer was replaced), solution seen. They describe this
    process; the last call of `check` or `use` counts. Raises `ValueError` for a notebook without exercises.
    """
    chosen = [e for e in registry().values() if notebook in (None, e.notebook)]
    if not chosen:
        known = dict.fromkeys(e.notebook for e in registry().values())
        raise ValueError(f"notebook {notebook!r} has no exercises; known: {', '.join(known)}")
    width = max(len(e.title) for e in chosen)
    lines = [f"{'id':<4} {'title':<{width}}  difficulty  minutes  state"]
    for e in chosen:
        dots = "●" * e.difficulty + "○" * (5 - e.difficulty)
        lines.append(f"{e.id:<4} {e.title:<{width}}  {dots:<10}  {e.minutes:>7}  {_progress(e.id)}")
    own = sum(str(_progress(e.id)) == YOURS for e in chosen)
    return Text("\n".join([*lines, f"yours: {own} of {len(chosen)}"]))


def _find(id: str) -> Exercise:
    if id not in registry():
        raise ValueError(f"exercise {id!r} is unknown; known: {', '.join(registry())}")
    return registry()[id]


def _progress(id: str) -> _Progress:
    return _PROGRESS.setdefault(id, _Progress())


def _grade(id: str, fn: Callable) -> NotImplementedError | AssertionError | None:
    """Run the check and note the outcome; return what was raised, if anything."""
    exercise, progress = _find(id), _progress(id)
    progress.status = OPEN
    try:
        with torch.random.fork_rng(devices=[]):  # a wrong answer may draw from the global generator; put it back
            exercise.check(fn)
    except (NotImplementedError, AssertionError) as error:
        return error
    progress.status = COURSE if fn is exercise.course() else YOURS
    return None


def _reason(error: NotImplementedError | AssertionError) -> str:
    """Say in one line why an answer does not count."""
    message = " ".join(str(error).split())
    if isinstance(error, NotImplementedError):
        return f" (NotImplementedError{': ' * bool(message)}{message})"
    return f": {message or 'an assert without a message failed'}"
