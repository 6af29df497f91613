# Needs only make and Python 3.11 or newer: every target makes its own .venv first.
# A newer interpreter is preferred; choose another one with `make PYTHON=/path/to/python3 ...`.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed.stamp
BENCH_STAMP := $(VENV)/installed-bench.stamp
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input

ifeq ($(origin PYTHON),undefined)
PYTHON := $(firstword $(foreach name,python3.14 python3.13 python3.12 python3.11 python3,\
    $(if $(shell $(name) -c 'import venv, ensurepip' 2>/dev/null && echo yes),$(name))) python3)
endif

# Branch coverage must be complete in these packages: they decide what documents mean.
PURE_PACKAGES := model path crdt crypto wire protocol

# These import nothing of ours, start other programs, or repeat what smaller tests cover: they
# would only take time.
UNMEASURED := architecture docs durability end_to_end fuzz oracle planted
UNMEASURED_FILES := hostile/test_attacks_* hostile/test_mixes_* simulation/test_worlds.py \
  graph/test_histories_over_transports.py graph/test_two_processes_*

# Tests start hundreds of programs: each would compile every module anew where the environment
# says that compiled ones are not kept. And they flush files all the time: in memory nobody waits
# for a disk.
define run_tests
@home=$$($(BIN)/python -m tests.scratch) && trap 'rm -rf "$$home"' EXIT && trap 'exit 130' INT TERM && \
  TMPDIR=$$home PYTHONDONTWRITEBYTECODE= HYPOTHESIS_PROFILE=$(1)
endef

.PHONY: help venv demo test quick lint format check long coverage soak bench profile clean

help:
	@echo "make demo      two devices on this machine, paired and syncing"
	@echo "make test      lint, types and the quick tests (under 10 minutes)"
	@echo "make check     the long tests and the coverage floors"
	@echo "make soak      1,000 simulated worlds; others with SEEDS=... SEED=..."
	@echo "make bench     the benchmarks (under 20 minutes); one row with W=W5"
	@echo "make profile   where the time of a row goes, with W=W1"
	@echo "make lint      ruff and mypy only"
	@echo "make format    let ruff rewrite what it can"
	@echo "make venv      only make $(VENV)"
	@echo "make clean     remove $(VENV) and caches"

venv: $(STAMP)

# A directory that was copied or moved has a $(VENV) that does not run: it is made anew.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Cytosol needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Install a newer Python, or name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: its module 'venv' is not installed." >&2; \
	  echo "On Debian and Ubuntu: sudo apt-get install python3-venv; then run make again." >&2; \
	  exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  echo "Making $(VENV) with $(PYTHON) ..."; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing Cytosol and its tools into $(VENV) ..."
	@$(PIP) -e '.[cli,dev]' || { \
	  echo "pip could not install the dependencies; see its message above (is there a network?)." >&2; \
	  exit 1; }
	@touch $@

$(BENCH_STAMP): $(STAMP)
	@echo "Installing what the benchmarks compare with ..."
	@$(PIP) -e '.[bench]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/cytosol demo

lint: $(STAMP)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { \
	  echo "Some files are not formatted: run 'make format'." >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary

format: $(STAMP)
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

quick: $(STAMP)
	$(call run_tests,quick) $(BIN)/python -m pytest -q -n 3 --dist worksteal -m "not long"

# One after the other, also under `make -j`: lint fails in seconds, tests take minutes.
test: $(STAMP)
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory quick

# Exit code 5 is "no test is marked long": nothing was broken.
long: $(STAMP)
	$(call run_tests,check) $(BIN)/python -m pytest -q -n 3 --dist worksteal -m "long or shared" || [ $$? -eq 5 ]

coverage: $(STAMP)
	@$(BIN)/coverage erase
	$(call run_tests,quick) $(BIN)/coverage run -m pytest -q -n 3 --dist worksteal \
	  -m "not long and not netns" $(UNMEASURED:%=--ignore=tests/%) \
	  $(UNMEASURED_FILES:%=--ignore-glob='tests/%')
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --skip-covered --skip-empty
	@low=""; for package in $(PURE_PACKAGES); do \
	  [ -z "$$(find src/cytosol/$$package -name '*.py' -size +0 2>/dev/null)" ] || \
	  $(BIN)/coverage report --show-missing --skip-covered --fail-under=100 \
	    --include="src/cytosol/$$package/*" >$(VENV)/coverage.txt 2>&1 || \
	  { echo "== src/cytosol/$$package"; cat $(VENV)/coverage.txt; low="$$low $$package"; }; \
	done; \
	if [ -n "$$low" ]; then \
	  echo "Every branch of these packages needs a test, see 'Missing' above:$$low" >&2; exit 1; \
	fi

check: $(STAMP)
	@$(MAKE) --no-print-directory long
	@$(MAKE) --no-print-directory coverage

SEEDS ?= 1000
SEED ?= 1000

soak: $(STAMP)
	@$(BIN)/python -m cytosol.testing.soak --seeds $(SEEDS) --seed $(SEED)

# One row with W=W5; PUBLISH=yes also puts tables and plots of a whole run into docs/.
bench: $(BENCH_STAMP)
	@$(BIN)/python -m benchmarks $(W) $(if $(filter yes,$(PUBLISH)),--publish)

profile: $(BENCH_STAMP)
	@$(BIN)/python -m benchmarks.profile $(W) $(if $(filter yes,$(PUBLISH)),--publish)

clean:
	@rm -rf $(VENV) .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
