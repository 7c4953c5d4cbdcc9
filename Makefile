# make demo, make test: each creates the environment it needs. Nothing else has to be installed first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

# What Python compiles is kept: a shell that forbids it makes every process compile everything again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-slow lint warm docs wheel bench clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/vaelab tune digits --trials 40 --figures all --out demo --overwrite

test: $(STAMP)
	$(MAKE) --jobs 2 lint warm
	$(PYTEST) -m "not slow"

# Whole studies, programs and pages, which take longer than all the rest; in CI both run.
test-slow: $(STAMP)
	$(PYTEST) -m slow

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

# The package as users get it, in an environment that has only what it declares: the five systems.
wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build --quiet --outdir dist
	$(PYTHON) -m venv dist/venv
	dist/venv/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	dist/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt dist/*.whl
	cd dist && export OMP_NUM_THREADS=1 && \
	venv/bin/vaelab tune digits --epochs 8 --trials 2 --final-seeds 1 --figures best --out tried/study && \
	venv/bin/vaelab compare digits --model a:hidden=32 --model b:hidden=16 --latent-dim 2 --epochs 5 --seeds 2 --out tried/compared && \
	venv/bin/vaelab invert product --epochs 1 --hidden 32 --no-baselines --out tried/inverted && \
	venv/bin/vaelab cluster digits --latent-dim 8 --epochs 10 --components 10 --labels 100 --out tried/clustered && \
	venv/bin/vaelab classify digits --trials 2 --epochs 5 --figures best --out tried/classified && \
	venv/bin/vaelab list tried

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) demo dist docs/_build docs/_made
