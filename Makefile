# make demo, make test: each creates the environment it needs. Nothing else has to be installed first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: demo test lint kernels bench clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/vaelab tune digits --trials 40 --figures all --out demo --overwrite

test: $(STAMP)
	$(MAKE) --jobs 2 lint kernels
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Compiled once per machine, here while types are checked.
kernels: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -c "from vaelab.engine import fused; from vaelab.vae.learning import Variational; \
	from vaelab.classifier.learning import Discriminative; from vaelab.regressor.learning import Regression; \
	[fused.prepare(method.kernels) for method in (Variational, Discriminative, Regression)]"

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) demo
