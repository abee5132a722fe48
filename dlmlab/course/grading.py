"""Run somebody's function in a check: bounded in time, without traces afterwards, and with the blame where it belongs.

Decisions
* A loop that does not end is stopped by an exception that a watching thread raises in the thread of the check
  (`PyThreadState_SetAsyncExc`). Unlike an alarm signal this needs no main thread and no Unix: it works in Jupyter's
  main thread, in its subshells and on Windows. It arrives between two steps of Python, so one endless call of C code
  (`time.sleep`, `list(itertools.count())`) is beyond it, and beyond a signal's handler too.
* The limit counts seconds of the processor, so that a right answer passes on a busy machine; a loop that only waits
  meets a second limit, six times as long, on the clock.
* A check runs in a known state: float32 as default dtype, gradients on. What the function changes of the process, the
  generators of `random`, NumPy and torch, the default dtype, gradients, threads, is put back.
* An AssertionError or NotImplementedError of the function itself is no verdict of the check: `blame` tells them apart
  by the place where they were raised, and quotes the line.
"""

import ctypes
import linecache
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from dlmlab.paths import PACKAGE

LIMIT = 20.0  # seconds of the processor for a whole check; the course's own functions take less than one
PATIENCE = 6  # times as long on the clock
CHECKS = str(PACKAGE / "course" / "checks")


class TimeUp(BaseException):
    """The function ran too long. No `Exception`, so that `except Exception` inside a loop does not swallow it."""


def limited(seconds: float, call: Callable[[], None]) -> None:
    """Make a call, and raise `TimeUp` inside it once it has used `seconds`, again each second while it is caught."""
    # Not a context manager: the exception could arrive in `contextlib` between the block and its end.
    thread, done = ctypes.c_ulong(threading.get_ident()), threading.Event()
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def watch() -> None:
        used, clock = time.process_time(), time.monotonic()
        while time.process_time() - used < seconds and time.monotonic() - clock < PATIENCE * seconds:
            if done.wait(min(0.25, seconds / 4)):
                return
        for _ in range(30):
            raise_in(thread, ctypes.py_object(TimeUp))
            if done.wait(1.0):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    try:
        watcher.start()
        call()
    finally:
        while True:  # Python looks for such an exception at calls and jumps: all of them are inside the `try`
            try:
                done.set()
                watcher.join()
                raise_in(thread, None)  # one that is on its way is taken back
                break
            except TimeUp:
                continue


@contextmanager
def contained() -> Iterator[None]:
    """Run the block with torch's defaults, and put back what it changed of the process."""
    generators = random.getstate(), np.random.get_state()
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            yield
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def blame(error: BaseException, fn: Callable) -> str | None:
    """Name the line of `fn`'s own file that raised `error`, None when the check itself did.

    What a library raises for a call of `fn` is charged to the line of the call.
    """
    frames = traceback.extract_tb(error.__traceback__)
    judged = [i for i, frame in enumerate(frames) if frame.filename.startswith(CHECKS)]
    if not frames or (judged and judged[-1] == len(frames) - 1):
        return None
    own = frames[judged[-1] + 1 :] if judged else frames
    file = getattr(getattr(fn, "__code__", None), "co_filename", own[0].filename)
    frame = next((frame for frame in reversed(own) if frame.filename == file), own[0])
    source = linecache.getline(frame.filename, frame.lineno).strip()
    return f"line {frame.lineno}" + (f", `{source}`" if source else "")


def same_code(fn: Callable, source: str) -> bool:
    """Say whether `fn` does just what the function of a source text does, whatever their docstrings say."""
    code = getattr(fn, "__code__", None)
    inside = (part for part in _compiled(source).co_consts if hasattr(part, "co_code"))
    return code is not None and any(_doing(part) == _doing(code) for part in inside)


def _compiled(source: str):
    return compile("from __future__ import annotations\n" + source, "<stub>", "exec", dont_inherit=True)


def _doing(code) -> tuple:
    """List what a function does, without its name, lines and docstring (the first constant, where there is one)."""
    constants = [_doing(part) if hasattr(part, "co_code") else part for part in code.co_consts]
    texts = [part for part in constants if isinstance(part, str) and "\n" in part]  # docstrings of several lines
    return code.co_code, code.co_names, code.co_varnames, repr([part for part in constants if part not in texts])
