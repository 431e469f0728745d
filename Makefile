# Two commands do everything on a machine with Python 3.11+ and make: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
REPOSITORY ?= model_repository
JOBS ?= 2

.PHONY: help install demo test lint format bench clean

help:
	@echo "make demo     install, export a small checkpoint, verify it, answer with it"
	@echo "make test     install, run all tests (a real tritonserver among them) in JOBS=$(JOBS) processes"
	@echo "make lint     ruff and mypy"
	@echo "make bench    measure against the peers; writes benchmarks/results"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "onward needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[export,triton,test]'
	touch $@

demo: install
	$(BIN)/onward export tests/checkpoints/tiny-gpt2-python-docs --output $(REPOSITORY) --name demo --force
	$(BIN)/onward run $(REPOSITORY)/demo "The default value of" --max-new-tokens 40 --greedy -o repetition_penalty=1.3
	$(BIN)/onward export tests/checkpoints/tiny-bert-sentiment --output $(REPOSITORY) --name sentiment --force
	$(BIN)/onward run $(REPOSITORY)/sentiment "Not bad at all"

test: install
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
