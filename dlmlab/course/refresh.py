"""Re-execute the notebooks in place, rebuild the ledger, fill the numbers of the pages (`python -m dlmlab refresh`).

Decisions
* Each notebook runs in a fresh kernel and is written back only when every cell has run, in one step.
* What changes without meaning (time stamps, Python's patch version, random widget ids) is normalised, so that the diff
  after a refresh shows changed results and nothing else.
* Each notebook records into its own empty ledger. Its old entries are then replaced as a whole: a number that no cell
  measures any more disappears from the ledger.
"""

import json
import os
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from dlmlab import paths
from dlmlab.course import doctor, ledger, pages
from dlmlab.measure import store

CELL_TIMEOUT = 300  # seconds; generous, because the budgets are enforced by the tests
WIDGET_STATE_LIMIT = 100_000  # bytes
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python", "pygments_lexer": "ipython3"}


def refresh(notebooks: list[Path] | None = None, *, root: Path | None = None) -> dict[str, dict]:
    """Execute the notebooks (default: all), rewrite ledger, README and `teaching/`, and return the new ledger.

    An entry survives only if a notebook recorded it now, or belongs to a notebook that exists and was not asked for.
    Raises: `nbclient.exceptions.CellExecutionError` when a cell fails (that notebook, the ledger and the pages stay as
    they were); `ledger.LedgerError` when two notebooks record one id; `ValueError` outside a checkout (`root`).
    """
    root = paths.checkout() if root is None else root
    every = [paths.to_write(path.resolve()) for path in paths.notebooks(root)]
    chosen = every if notebooks is None else [Path(path).resolve() for path in notebooks]
    if not chosen:
        raise ValueError(f"there is no notebook in {root / 'notebooks'}")
    path = paths.to_write(root / "data" / "ledger.json")
    others = {notebook.name for notebook in set(every) - set(chosen)}
    entries = {id: entry for id, entry in ledger.load(path).items() if entry["notebook"] in others}
    seconds = {}
    for notebook in chosen:
        start = time.perf_counter()
        entries = _merge(entries, execute(notebook))
        seconds[notebook.name] = time.perf_counter() - start
    ledger.save(entries, path)
    doctor.write_timing(seconds, root / "data" / "timing.json")
    for notebook in every:
        _render_notebook(notebook, entries)
    pages.write(root, entries=entries)
    return entries


def execute(path: Path, *, timeout: int = CELL_TIMEOUT) -> dict[str, dict]:
    """Run one notebook in a fresh kernel, write it back with its outputs, and return the ledger entries it recorded."""
    start = time.perf_counter()
    print(f"{path.name} ...", end=" ", flush=True)
    nb = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        recorded = Path(folder) / "ledger.json"
        client = NotebookClient(
            nb,
            timeout=timeout,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
            record_timing=False,
            extra_arguments=["--log-level=ERROR"],  # else each kernel warns on the terminal about its transport
        )
        client.execute(env=_environment(path.name, recorded))
        entries = ledger.load(recorded)
    store.replace(path, nbformat.writes(normalise(nb)) + "\n")
    print(f"{time.perf_counter() - start:.1f} s, {len(entries)} ledger entries", flush=True)
    return entries


def normalise(nb: NotebookNode) -> NotebookNode:
    """Return the notebook without volatile metadata: same results, same file.

    Kernelspec is `python3`, ids exist, time stamps are gone, what was printed in pieces is one piece, widget ids count
    from 0, and a widget state above 100 kB is left out with its views.
    """
    nb.nbformat, nb.nbformat_minor = 4, max(5, nb.nbformat_minor)
    _, nb = nbformat.validator.normalize(nb, version=4, version_minor=nb.nbformat_minor)
    widgets = nb.metadata.get("widgets", {})
    nb.metadata = NotebookNode(kernelspec=NotebookNode(KERNELSPEC), language_info=NotebookNode(LANGUAGE_INFO))
    for cell in nb.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _join_streams(cell.outputs)
    if len(json.dumps(widgets)) > WIDGET_STATE_LIMIT:
        _drop_widget_views(nb)
    elif widgets:
        nb.metadata["widgets"] = widgets
    return _number_widgets(nb)


def _join_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    # Where one print ends and the next begins a new output is a matter of when the kernel flushed.
    joined = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream" and output.name == joined[-1].name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _drop_widget_views(nb: NotebookNode) -> None:
    # A view without its state is an error message wherever no kernel runs; the text beside it is not.
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)


def _number_widgets(nb: NotebookNode) -> NotebookNode:
    states = nb.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    text = nbformat.writes(nb)
    # A fresh state lists its widgets in the order of their creation; only writing sorts it by id.
    for number, model_id in enumerate(states):
        text = text.replace(model_id, f"{number:032x}")
    return nbformat.reads(text, as_version=4)


def _environment(notebook: str, recorded: Path) -> dict[str, str]:
    # Threads and offline mode as in the test run, else the stored outputs would not be the compared ones.
    defaults = {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "DLMLAB_STRICT_EXERCISES": "1"}
    forced = {"DLMLAB_REFRESH": "1", "DLMLAB_NOTEBOOK": notebook, "DLMLAB_LEDGER": str(recorded)}
    return defaults | dict(os.environ) | forced


def _merge(entries: dict[str, dict], new: dict[str, dict]) -> dict[str, dict]:
    for id in entries.keys() & new.keys():
        raise ledger.LedgerError(f"{id} is recorded by {entries[id]['notebook']} and by {new[id]['notebook']}")
    return entries | new


def _render_notebook(path: Path, entries: dict[str, dict]) -> None:
    nb = nbformat.read(path, as_version=4)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = pages.render(cell.source, entries=entries)
    store.replace(path, nbformat.writes(nb) + "\n")
