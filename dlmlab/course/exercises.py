"""Exercises that check themselves and never strand the reader.

    forward_process = dl.exercises.use("1.1", forward_process)  # yours if it passes its check, the course's otherwise
    dl.exercises.scoreboard("01")

Decisions
* The solution of an exercise is the package function; there is no second copy of it that could grow old.
* `use` says whose function it returns. So *Run all* works on an untouched notebook, and the scoreboard never credits
  the course's code to the reader.
* Only NotImplementedError (the stub) and AssertionError (the check) are caught: any other error shows its trace.
  A function that does not return is stopped (`dlmlab.grading`).
* What `use` returns notes that it was called, and `installed` lets the package itself run on it: a function that
  nothing calls afterwards is an exercise without a result. Under the tests (DLMLAB_STRICT_EXERCISES) the scoreboard,
  the last cell of every notebook, refuses such a notebook.
* A check is the whole specification: what it does not test is free. It calls nothing of the course, and its message
  names the likely misconception. `tests/mutants` holds, for every check, the wrong answers it must catch and explain.
* An exercise is declared beside its check, in `dlmlab/course/checks`, one module each.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import dlmlab
from dlmlab.course import grading, predictions

OPEN, YOURS, COURSE, SEEN = "open", "yours", "course's version", "solution seen"


@dataclass(frozen=True)
class Exercise:
    """What a notebook shows of an exercise, and how an answer is judged.

    `difficulty` 1-5; `objective` what one can do afterwards; `path` the dotted name of the course's own function;
    `stub` the source text to start from, without a body, or, where `kind` is "find the bug", with a wrong one; `hints`
    from gentle to plain, the second never code; `check` raises `AssertionError` on a wrong answer.
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
    kind: str = "write"

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
    calls: int | None = None  # of what `use` returned last

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
    reason = _grade(id, _bare(fn))
    print(f"{id}: passed" if reason is None else f"{id}: not yet{reason}")
    return reason is None


def use(id: str, fn: Callable) -> Callable:
    """Return `fn` if it passes its check, else the course's own function; print which, and why.

    A function that passes counts as "yours" on the scoreboard. After a stub the exercise stays "open"; after a wrong
    answer it shows "course's version". What is returned notes its calls. Raises like `check`.
    """
    fn = _bare(fn)
    reason, progress = _grade(id, fn), _progress(id)
    if reason is None:
        own = progress.status == YOURS
        print(f"{id}: passed; {'your function is used below' if own else 'it is the course function itself'}")
        return _counted(fn, progress)
    print(f'{id}: not yet{reason}; the course\'s version is used below, the scoreboard says "{progress}"')
    return _counted(_find(id).course(), progress)


def grade(id: str, fn: Callable, *, shift: int = 0) -> None:
    """Judge an answer for marks: silent when it is right. `shift` draws other random inputs than `check` shows.

    Raises `AssertionError` with the reason of the check; it names the misconception, never the inputs of a shifted one.
    """
    from dlmlab.course.checks.expect import SHIFT

    token = SHIFT.set(shift)
    try:
        reason = _grade(id, _bare(fn))
    finally:
        SHIFT.reset(token)
    if reason is not None:
        hidden = "wrong for other inputs of the same kinds" if shift else f"not yet{reason}"
        raise AssertionError(f"{id}: {hidden}")


@contextmanager
def installed(id: str, fn: Callable) -> Iterator[None]:
    """Let the package itself run on `fn`: inside the block, wherever it would call its own function, it calls this.

    with installed("1.3", gumbel_argmax): sample(...)   # the packaged sampler draws with what `use` returned
    """
    own = _find(id).course()
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == dlmlab.__name__]
    places = [(vars(module), name) for module in modules for name, value in vars(module).items() if value is own]
    try:
        for names, name in places:
            names[name] = fn
        yield
    finally:
        for names, name in places:
            names[name] = own


def unused(notebook: str | None = None) -> list[str]:
    """List exercises whose function came out of `use` in this process and was not called since."""
    chosen = [e for e in registry().values() if notebook in (None, e.notebook)]
    return [e.id for e in chosen if _progress(e.id).calls == 0]


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
    Hint 1 of 3. Deal the masks out like cards, one round after the other: who gets one more than the others?
    """
    hints = _find(id).hints
    if not 1 <= n <= len(hints):
        raise ValueError(f"exercise {id} has hints 1 to {len(hints)}, got n={n}")
    return Text(f"Hint {n} of {len(hints)}. {hints[n - 1]}")


def scoreboard(notebook: str | None = None) -> Text:
    """Show the exercises of a notebook ("01"), or of all, and whose function each one ended with.

    The states are open, yours, course's version (a wrong answer was replaced), solution seen; of a prediction: open,
    predicted, answer seen. They describe this process; the last call of `check`, `use` or `predict` counts. Raises
    `ValueError` for a notebook without exercises and, under the tests, for an exercise whose function nothing calls.
    """
    rows = [(e, str(_progress(e.id))) for e in registry().values()]
    rows += [(p, predictions.state(p.id)) for p in predictions.registry().values()]
    known = dict.fromkeys(row.notebook for row, _ in rows)
    if notebook not in (None, *known):
        raise ValueError(f"notebook {notebook!r} has no exercises; known: {', '.join(known)}")
    if os.environ.get("DLMLAB_STRICT_EXERCISES") == "1" and (idle := unused(notebook)):
        raise ValueError(f"nothing calls what `use` returned for {', '.join(idle)}: show a result of it")
    chosen = sorted((row for row in rows if notebook in (None, row[0].notebook)), key=lambda row: _order(row[0].id))
    width = max(len(e.title) for e, _ in chosen)
    lines = [f"{'id':<4} {'title':<{width}}  difficulty  minutes  state"]
    for e, state in chosen:
        dots = "●" * e.difficulty + "○" * (5 - e.difficulty)
        lines.append(f"{e.id:<4} {e.title:<{width}}  {dots:<10}  {e.minutes:>7}  {state}")
    own = sum(state in (YOURS, predictions.PREDICTED) for _, state in chosen)
    return Text("\n".join([*lines, f"yours: {own} of {len(chosen)}"]))


def _find(id: str) -> Exercise:
    if id not in registry():
        raise ValueError(f"exercise {id!r} is unknown; known: {', '.join(registry())}")
    return registry()[id]


def _progress(id: str) -> _Progress:
    return _PROGRESS.setdefault(id, _Progress())


def _order(id: str) -> list[int]:
    return [int(part) for part in id.split(".")]


def _bare(fn: Callable) -> Callable:
    """Take off what `use` put around a function, so that it can be handed in again."""
    return getattr(fn, "_handed_in", fn)


def _counted(fn: Callable, progress: _Progress) -> Callable:
    @functools.wraps(fn)
    def counted(*args, **options):
        progress.calls = (progress.calls or 0) + 1
        return fn(*args, **options)

    counted._handed_in, progress.calls = fn, 0
    return counted


def _grade(id: str, fn: Callable) -> str | None:
    """Run the check and note the outcome; return why the answer does not count, None if it does."""
    exercise, progress = _find(id), _progress(id)
    progress.status, error = OPEN, None
    try:
        with grading.contained():
            grading.limited(grading.LIMIT, lambda: exercise.check(fn))
    except (NotImplementedError, AssertionError, grading.TimeUp) as raised:
        error = raised
    if error is None:
        progress.status = COURSE if fn is exercise.course() else YOURS
        return None
    message = " ".join(str(error).split())
    if grading.same_code(fn, exercise.stub):
        return ": nothing is changed yet" if exercise.kind != "write" else " (NotImplementedError)"
    progress.status = COURSE
    return ": " + _reason(error, message, grading.blame(error, fn))


def _reason(error: BaseException, message: str, line: str | None) -> str:
    """Say in one line why an answer does not count; `line` where the answer itself raised the error."""
    if isinstance(error, grading.TimeUp):
        stopped = f"it ran for more than {grading.LIMIT:g} seconds and was stopped"
        return f"{stopped} at {line or 'its end'}: does a loop never end?"
    if isinstance(error, NotImplementedError):
        if not message:
            return f"{line} still raises NotImplementedError: take it out"
        return f"{line} raises NotImplementedError: {message}"
    if line is None:
        return message or "an assert without a message failed"
    return f"an assert of your own fails, {line}" + (f": {message}" if message else "")
