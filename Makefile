# make demo, make test: each creates the environment it needs. Nothing else has to be installed first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

# What Python compiles is kept: a shell that forbids it makes every process compile everything again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test lint warm docs bench clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/vaelab tune digits --trials 40 --figures all --out demo --overwrite

test: $(STAMP)
	$(MAKE) --jobs 2 lint warm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Compiled once, here while types are checked: the kernels, by conftest.py, and the tests.
warm: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --collect-only >$(VENV)/collected

# Pages whose commands and Python run while they are built; open docs/_build/index.html.
docs: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) demo
