"""JupyterLab in a real browser, as a learner has it: open, run all, move the slider, solve an exercise, see the score.

The notebooks are student copies in a folder of their own, since JupyterLab saves what it shows. Screenshots are kept
under build/browser.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

from dlmlab import paths
from dlmlab.course import release
from tests import browser
from tests.notebooks.budget import budget_scale

ROOT = Path(__file__).resolve().parents[1]
SHOTS = ROOT / "build" / "browser"
NAMES = ("00_start_here.ipynb", "01_sampling.ipynb")
RUN_ALL_SECONDS = 180  # of a notebook, times the scale of the budgets and a margin
SETTINGS = {  # no pop-up about news; every cell is on the page, not only those in sight
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
}
RIGHT = """def cut_at_end(ids, eos_id):
    return ids[: ids.index(eos_id)] if eos_id in ids else list(ids)
dl.exercises.check("0.1", cut_at_end)"""

READY = """name => { const w = window.jupyterapp?.shell?.currentWidget, k = w?.sessionContext?.session?.kernel;
  return !!k && w.context.path === name && w.sessionContext.isReady && k.connectionStatus === 'connected'
    && k.status === 'idle' && k.id; }"""
DONE = """() => { const w = window.jupyterapp.shell.currentWidget;
  return w.sessionContext.session?.kernel?.status === 'idle' && w.content.widgets.filter(c => c.model.type === 'code')
    .every(c => c.model.executionCount !== null && c.model.executionState !== 'running'); }"""
ERRORS = """() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')
  .flatMap(c => c.model.outputs.toJSON()).filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue)"""
OUTPUT = """i => window.jupyterapp.shell.currentWidget.content.widgets[i].model.outputs.toJSON()
  .map(o => [].concat(o.text ?? o.data?.['text/plain'] ?? '').join('')).join('')"""
RUN = """async i => { const w = window.jupyterapp.shell.currentWidget; w.content.activeCellIndex = i;
  await window.jupyterapp.commands.execute('notebook:run-cell'); }"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Start JupyterLab on student copies, with settings of its own; give its address and stop it afterwards."""
    home = tmp_path_factory.mktemp("lab")
    course = home / "notebooks"
    course.mkdir()
    for path in paths.notebooks(ROOT):
        if path.name in NAMES:
            nbformat.write(release.student(nbformat.read(path, as_version=4)), course / path.name)
    for name, value in SETTINGS.items():
        file = home / "settings" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value), encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith("DLMLAB_STRICT")}
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    places |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    env |= {name: str(home / folder) for name, folder in places.items()}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    options += ["--IdentityProvider.token=", "--expose-app-in-browser", f"--ServerApp.root_dir={course}"]
    with (home / "log").open("w", encoding="utf-8") as log:
        run = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(run, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(address, server, home / "log")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        assert server.poll() is None, log.read_text(encoding="utf-8")[-2000:]
        try:
            urllib.request.urlopen(f"{address}/api", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(log.read_text(encoding="utf-8")[-2000:])


def run_all(page, lab: str, name: str) -> None:
    """Open a notebook, wait for its kernel, run every cell; no cell may fail."""
    patience = 1000 * RUN_ALL_SECONDS * max(budget_scale(os.environ) or 1.0, 2.0)
    page.goto(f"{lab}/lab/tree/{name}?reset")  # no notebook of an earlier visit
    kernel = None
    while kernel != (kernel := page.wait_for_function(READY, arg=name, timeout=patience).json_value()):
        page.wait_for_timeout(2000)  # on opening, Lab may start two kernels and drop one
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.wait_for_function(DONE, timeout=patience, polling=500)
    assert page.evaluate(ERRORS) == []


def index(name: str, words: str) -> int:
    """Find the cell of a notebook that holds these words."""
    cells = nbformat.read(ROOT / "notebooks" / name, as_version=4).cells
    (found,) = (i for i, cell in enumerate(cells) if cell.cell_type == "code" and words in cell.source)
    return found


def shoot(page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


@browser.ALL
def test_a_solved_exercise_changes_the_scoreboard(lab):
    name = NAMES[0]
    stub, use, board = (index(name, words) for words in ('check("0.1"', 'use("0.1"', 'scoreboard("00")'))
    with browser.page(viewport={"width": 1400, "height": 1000}) as page:
        failures = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        run_all(page, lab, name)
        shoot(page, "00_run")
        assert "yours: 0 of 1" in page.evaluate(OUTPUT, board)
        editor = page.locator(".jp-Notebook .jp-Cell").nth(stub).locator(".cm-content")
        editor.scroll_into_view_if_needed()
        editor.click()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.insert_text(RIGHT)
        for cell in (stub, use, board):
            page.evaluate(RUN, cell)
        assert "0.1: passed" in page.evaluate(OUTPUT, stub)
        assert "your function is used below" in page.evaluate(OUTPUT, use)
        assert "yours: 1 of 1" in page.evaluate(OUTPUT, board)
        page.locator(".jp-Notebook .jp-Cell").nth(board).scroll_into_view_if_needed()
        shoot(page, "00_solved")
        assert failures == []


@browser.ALL
def test_every_slider_moves_its_picture_and_its_text(lab):
    name = NAMES[1]
    with browser.page(viewport={"width": 1400, "height": 1000}) as page:
        failures = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        run_all(page, lab, name)
        sliders = page.locator(".widget-slider .noUi-handle")
        assert sliders.count() >= 1, "there is no slider on the page"
        for i in range(sliders.count()):
            box = page.locator(".jp-OutputArea-output").filter(has=sliders.nth(i)).last
            picture, text = box.locator("img"), box.locator(".widget-html-content")
            box.scroll_into_view_if_needed()
            shoot(page, f"01_slider_{i}_before")
            before = picture.get_attribute("src"), text.inner_text()
            sliders.nth(i).focus()
            page.keyboard.press("ArrowRight")
            page.wait_for_function(
                "([old, img]) => img.getAttribute('src') !== old", arg=[before[0], picture.element_handle()]
            )
            assert text.inner_text() != before[1] and "forward" in text.inner_text()
            shoot(page, f"01_slider_{i}_after")
        assert failures == []
