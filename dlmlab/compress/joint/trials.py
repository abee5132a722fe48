"""Search by asking the true model: an Optuna study with several objectives, which any number of workers may share.

    python -m dlmlab optimize --storage sqlite:///study.db ...                     several processes on one machine
    python -m dlmlab optimize --storage postgresql://user@host/study ...           many machines

Decisions
* The storage is the memory: a study goes on with what is there, so a search that was killed at any moment continues.
  Trials that a killed worker left unfinished count as nothing.
* The sampler (a tree of Parzen estimators, TPE) is made anew for every trial from the seed and the number of the trial:
  one worker that was stopped and started again asks for the same trials as one that was not, and two workers never ask
  for the same by having the same seed.
* All objectives are minimized.

Sources: Akiba et al., Optuna, arXiv 1907.10902; Ozaki et al. 2020 (TPE with several objectives).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from dlmlab import limits

Space = Mapping[str, Sequence[str]]  # what is chosen, by name: the names it may have
WAIT = 120  # seconds that a worker waits for a locked SQLite file
STARTUP = 16  # random trials before the sampler learns


@dataclass(frozen=True)
class Trial:
    """One evaluated choice: its `values` by name, and its `objectives`."""

    number: int
    values: dict[str, str]
    objectives: tuple[float, ...]


def run(
    space: Space,
    evaluate: Callable[[dict[str, str]], Sequence[float]],
    *,
    trials: int,
    objectives: int = 2,
    seed: int = 0,
    name: str = "joint",
    storage: str | None = None,
    first: Sequence[dict[str, str]] = (),
    startup: int = STARTUP,
) -> list[Trial]:
    """Evaluate until the study holds `trials` finished trials, and return all of them in their order.

    `space`: the names to choose from. `evaluate`: values -> objectives. `storage`: an address of SQLAlchemy; None keeps
    the study in memory. `first`: choices that are evaluated before any other. With w workers, up to w - 1 trials more
    are made. Raises `ValueError` when the storage cannot be used or holds a study of another space.
    """
    limits.whole("trials", trials, 1)
    study = _open(name, storage, objectives)
    _same_space(study, space)
    for values in first:
        study.enqueue_trial(values, skip_if_exists=True)
    while len(done := finished(study)) < trials:
        trial = study.ask()
        study.sampler = _sampler(seed, trial.number, startup)
        values = {key: trial.suggest_categorical(key, list(names)) for key, names in space.items()}
        study.tell(trial, [float(v) for v in evaluate(values)])
    return done


def shared(key: str, make: Callable[[], Any], *, name: str = "joint", storage: str | None = None, objectives: int = 2):
    """Give what all workers of a study must agree on (a table of one machine's times): the first makes it, the others
    read it. It must be what JSON can hold. Without a storage it is made."""
    study = _open(name, storage, objectives)
    if key not in study.user_attrs:
        study.set_user_attr(key, make())
    return study.user_attrs[key]


def finished(study: optuna.Study) -> list[Trial]:
    """List the finished trials of a study."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [Trial(t.number, dict(t.params), tuple(t.values)) for t in trials]


def _sampler(seed: int, number: int, startup: int) -> optuna.samplers.TPESampler:
    own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=own, n_startup_trials=startup)


def _open(name: str, storage: str | None, objectives: int) -> optuna.Study:
    """Open a study or make it; several workers may do so at once, of which one makes the tables."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for attempt in range(5):
        try:
            place = storage if storage is None else RDBStorage(storage, engine_kwargs=_patient(storage))
            return optuna.create_study(
                study_name=name, storage=place, directions=["minimize"] * objectives, load_if_exists=True
            )
        except Exception as error:  # each driver has classes of its own, and so has each way to lose the race
            if attempt == 4 or isinstance(error, ImportError):
                raise ValueError(f"storage {storage!r} cannot be used: {str(error).splitlines()[0]}") from error
            time.sleep(0.5)
    raise AssertionError("the last attempt returns or raises")


def _patient(storage: str) -> dict:
    return {"connect_args": {"timeout": WAIT}} if storage.startswith("sqlite") else {}


def _same_space(study: optuna.Study, space: Space) -> None:
    """Write down the space of a new study, or refuse to go on with one of another."""
    mine = {key: list(names) for key, names in space.items()}
    theirs = study.user_attrs.get("space")
    if theirs is None:
        study.set_user_attr("space", mine)
    elif theirs != mine:
        raise ValueError(f"study {study.study_name!r} is of another space: give another name or another storage")
