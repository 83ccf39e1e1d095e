# Everything a person needs, from a machine with only Python (3.11 to 3.13) and make. `make help` lists it.

UV_VERSION ?= 0.13.8
BOOT := .uv
UV := $(BOOT)/bin/uv
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.stamp

# A Python that can make virtual environments; `make setup PYTHON=/path/to/python3.12` overrides the search.
SUITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
FOUND = $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	if command -v $$p >/dev/null 2>&1 && $$p -c '$(SUITS)' >/dev/null 2>&1; then echo $$p; break; fi; done)
PYTHON ?= $(FOUND)

# Equal bits on every machine of a kind: Intel's short-vector maths library differs in the last ones.
export NUMBA_DISABLE_INTEL_SVML := 1
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# COVER=1 measures coverage along the way. A file's tests stay together; JOBS=1 runs all in one process, as a debugger needs.
# The tests wait for sockets and clocks a third of their time, so three processes keep two processors busy.
JOBS ?= 3
XDIST = $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile)
RUN = $(PY) $(if $(COVER),-m coverage run) -m pytest -q $(XDIST)
NOTEBOOKS = $(wildcard notebooks/*.ipynb)
FAIL_UNDER ?= 90
# Tests whose kernels are measured by running them uncompiled as well.
KERNELS = $(wildcard $(addprefix tests/,strategy backtesting book feeds/test_alpaca_decode.py \
	feeds/test_form.py feeds/test_wire_book.py sim/test_core.py sim/test_orders.py \
	test_account.py test_risk.py test_matching.py test_stats.py test_bars.py))

.DEFAULT_GOAL := help
.PHONY: help setup test demo lab bench fuzz soak docs lint cover lock clean

help: ## list these targets
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-7s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv and install the locked packages (done by the others when needed)

$(PY):
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 with venv was found; install one (Debian: python3 and python3-venv) or say make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -c '$(SUITS)' || { echo "make: $(PYTHON) is not a Python 3.11, 3.12 or 3.13 with venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# uv is for speed only: where it can't be had, pip installs the same lock.
$(STAMP): requirements-dev.txt pyproject.toml | $(PY)
	@test -x $(UV) || { $(PY) -m venv $(BOOT) && $(BOOT)/bin/python -m pip install -q uv==$(UV_VERSION); } \
		|| echo "make: uv $(UV_VERSION) could not be installed; going on with pip, which takes about two minutes"
	@if test -x $(UV); then echo "installing the lock with uv"; \
		$(UV) pip sync -q --require-hashes --python $(PY) requirements-dev.txt \
		&& $(UV) pip install -q --no-deps --no-build-isolation --python $(PY) -e .; \
	else echo "installing the lock with pip"; \
		{ $(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip; } \
		&& $(PY) -m pip install -q --no-deps --require-hashes -r requirements-dev.txt \
		&& $(PY) -m pip install -q --no-deps --no-build-isolation -e .; fi
	@touch $@

test: setup ## run the tests, the examples in docstrings and docs, and the notebooks
	$(RUN) --ignore=tests/bench $(ARGS)
	$(if $(NOTEBOOKS),$(RUN) -p nbval --nbval-lax --no-header -W default $(NOTEBOOKS),@echo "notebooks/: none yet, so nbval has nothing to run")

demo: setup ## play a whole trading day against the local exchange; DATA=folder DATE=2013-10-08 plays a real one
	$(VENV)/bin/mds demo $(if $(DATA),--data '$(DATA)') $(if $(DATE),--date '$(DATE)')

lab: setup ## open JupyterLab on notebooks/
	$(PY) -m jupyter lab notebooks

bench: setup ## print the speed table
	$(PY) -m pytest -q tests/bench --benchmark-columns=median,iqr,rounds --benchmark-sort=name

fuzz: setup ## a million damaged inputs to everything that reads the outside; FUZZ=90000 for each of its tests
	MDSLIB_FUZZ=$(or $(FUZZ),90000) $(PY) -m pytest -q tests/fuzz

soak: setup ## 20 million events in bursts through a session, with flat memory; EVENTS=20000000
	MDSLIB_SOAK=$(or $(EVENTS),20000000) $(PY) -m pytest -q -s tests/live/test_soak.py

docs: setup ## build the documentation; a warning is an error
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

lint: setup ## style, types, and one-way imports
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-cache

cover: setup ## measure coverage, kernels uncompiled; fails under FAIL_UNDER=90 %
	$(PY) -m coverage erase
	$(MAKE) test COVER=1
	$(if $(KERNELS),NUMBA_DISABLE_JIT=1 $(PY) -m coverage run -m pytest -q $(XDIST) -m "not compiled" $(KERNELS),@echo "tests/: no kernels yet to measure uncompiled")
	$(PY) -m coverage combine -q
	$(PY) -m coverage report --fail-under=$(FAIL_UNDER)

lock: $(PY) ## write requirements*.txt anew: hashes and markers for Python 3.11 to 3.13
	@test -x $(UV) || { $(PY) -m venv $(BOOT) && $(BOOT)/bin/python -m pip install -q uv==$(UV_VERSION); }
	$(UV) lock $(if $(UPGRADE),--upgrade)
	$(UV) export -q --frozen --no-emit-project --no-default-groups -o requirements.txt
	$(UV) export -q --frozen --no-emit-project --all-groups --all-extras -o requirements-dev.txt
	@! grep -nE '^ *-(-index|-extra|-find|i |f )|://' requirements*.txt || { echo "make: the lock names a registry" >&2; exit 1; }

clean: ## remove what can be made again; runs/ stays
	rm -rf $(VENV) $(BOOT) docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
