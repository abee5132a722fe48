"""A browser for the tests that need a real one; they are skipped, and say why, where there is none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

ALL = pytest.mark.skipif(os.environ.get("DLMLAB_TEST_ALL") != "1", reason="minutes; `make test-all` runs it")
NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: a container has no user namespaces. The rest keeps the browser from calling home.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@contextmanager
def page(**options) -> Iterator:
    """Open a page in headless Chromium. Skips the test where Chromium or playwright is missing."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no Chromium found (looked for {', '.join(NAMES)}): apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install '.[browser]'")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser.new_page(**options)
        finally:
            browser.close()
