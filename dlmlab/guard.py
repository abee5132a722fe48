"""What can be known before the work begins: a result must have a place to go, a device must be there.

Each check raises `ValueError` with the option, the value and what to do, and leaves nothing behind.
"""

import json
import signal
from pathlib import Path

import torch

from dlmlab.paths import to_write


def device(name: str, option: str = "device") -> None:
    """Refuse a device that PyTorch does not know or cannot use here, by putting a number on it."""
    try:
        torch.ones(1, device=name).item()
    except Exception as error:  # an unknown name, a build without it, no driver, no such index: each its own class
        reason = str(error).splitlines()[0]
        raise ValueError(f"{option}={name!r} cannot be used here: {reason}") from None


def folder(path: Path, option: str, *, holds: tuple[str, ...]) -> None:
    """Refuse a folder that cannot be written, or that holds other things than what is written there.

    `holds`: names one of which tells that the folder is of the kind that may be written again.
    """
    if path.exists():
        if not path.is_dir():
            raise ValueError(f"{option} {path} is a file, not a folder")
        inside = {entry.name for entry in path.iterdir()}
        if inside and not inside & set(holds):
            raise ValueError(
                f"{option} {path} holds other files and none of {', '.join(holds)}: give a new or empty folder"
            )
    _writable(path, option)


def file(path: Path, option: str, *, holds: str) -> None:
    """Refuse a JSON file that cannot be written, or whose name is that of a folder or of something else.

    `holds`: a key which tells that the file is of the kind that may be written again.
    """
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder: name a file in it")
    if path.exists() and path.stat().st_size:
        try:
            found = json.loads(path.read_bytes())
        except ValueError:
            found = None
        if not isinstance(found, dict) or holds not in found:
            raise ValueError(f"{option} {path} exists and has no {holds!r}: it would be overwritten, give another name")
    if not path.parent.is_dir():
        raise ValueError(f"{option} {path}: there is no folder {path.parent}")
    _writable(path, option)


def _writable(path: Path, option: str) -> None:
    at = next(p for p in (path, *path.absolute().parents) if p.exists())  # what is there already
    if at != path and not at.is_dir():
        raise ValueError(f"{option} {path}: {at} is a file, not a folder")
    try:
        to_write(path)
    except ValueError as error:
        raise ValueError(f"{option} {error}") from None


class Interruption:
    """A wish to stop: the first SIGINT or SIGTERM is only written down, so that a step can be finished.

    `with Interruption() as stop:` ... `stop.signal` is 0 or the number of the signal. A second SIGINT or SIGTERM raises
    `KeyboardInterrupt`, unless `patient`: a launcher repeats what the terminal has sent.
    """

    def __init__(self, *, patient: bool = False):
        self.signal, self.patient, self.before = 0, patient, {}

    def __enter__(self) -> "Interruption":
        for number in (signal.SIGINT, signal.SIGTERM):
            self.before[number] = signal.signal(number, self._write_down)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _write_down(self, number: int, frame) -> None:
        if self.signal and not self.patient:
            raise KeyboardInterrupt
        self.signal = number
