# Two commands matter: `make lab` to learn, `make test` to check. The rest is for maintainers.
# Works with GNU make 3.81 (macOS) and newer. ARGS passes options through, e.g. make lab ARGS="--no-browser --port 8899".

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help lab test test-all test-cpus train refresh site lint clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

# A venv can be used when its Python finds pip and its scripts name this folder: one that was interrupted, whose Python
# is gone, or that came here with a moved or copied checkout is made again. The package is installed when it is this one.
USABLE    := { $(PY) -I -c 'import pip' && grep -qF "$$(pwd -P)/$(VENV)/bin/" $(VENV)/bin/pip; } 2>/dev/null
IS_HERE   := import dlmlab, os, sys; sys.exit(not os.path.samefile(dlmlab.__file__, "dlmlab/__init__.py"))
INSTALLED := $(PY) -I -c '$(IS_HERE)' 2>/dev/null

# The stamp is newer than both files exactly when the environment holds what they ask for.
$(shell test ! -e $(STAMP) || { $(USABLE) && $(INSTALLED); } || rm -f $(STAMP))
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	@$(USABLE) || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make a venv; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Installing into $(VENV): about 1.5 GB, a few minutes the first time."
	$(USABLE) || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

# Pages are built in an environment of their own; a browser is driven from the first one.
SITE      := .venv-site
BOOK      := $(SITE)/.installed
BROWSER   := $(VENV)/.browser
$(BOOK): requirements-site.txt
	rm -rf $(SITE) && $(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-site.txt
	@touch $@
$(BROWSER): $(STAMP)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	@touch $@

lab: $(STAMP) ## Install if needed, then open JupyterLab at the first notebook.
	$(PY) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb \
	  --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(ARGS)

# Tests run in two processes of one thread each, which does more in all than one of two. A file stays in one process, so
# the cells of a notebook stay in order. WORKERS=1: one process of two threads, as the stored outputs were made.
WORKERS   := 2
PYTEST    := $(PY) -m pytest
ifneq ($(WORKERS),1)
PYTEST    := OMP_NUM_THREADS=1 $(PYTEST) -n $(WORKERS) --dist loadfile
endif

test: $(STAMP) ## Unit tests, notebook gates, strict nbval over every notebook (configured in pyproject.toml).
	$(PYTEST) $(ARGS)

test-all: $(STAMP) $(BOOK) $(BROWSER) ## All of it: also nbgrader, the pages, JupyterLab in Chromium. CI runs this.
	DLMLAB_TEST_ALL=1 $(PYTEST) $(ARGS)

test-cpus: $(STAMP) ## The same as older processors and one thread would: ARGS="--only sse".
	$(PY) -m tests.cpus $(ARGS)

train: $(STAMP) ## Retrain both shipped checkpoints (about two hours on two idle cores).
	$(PY) -m dlmlab train --config data/llada-mini/training.toml $(ARGS)
	$(PY) -m dlmlab train --config data/llama-mini/training.toml $(ARGS)

refresh: $(STAMP) ## Re-execute the notebooks in place, rebuild data/ledger.json, fill the numbers of README.md.
	$(PY) -m dlmlab refresh $(ARGS)

site: $(STAMP) $(BOOK) ## The course as pages: build/site/_build/html. ARGS="--repository https://github.com/OWNER/NAME".
	$(PY) -m dlmlab site --out build/site $(ARGS)
	$(SITE)/bin/jupyter-book build -q build/site

lint: $(STAMP) ## Check style and formatting of code and notebooks.
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

clean: ## Remove caches and build files; the environments stay.
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .coverage
	find . \( -path ./$(VENV) -o -path ./$(SITE) \) -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +
