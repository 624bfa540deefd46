# make demo: train on real images in minutes. make test: lint and the whole test suite.
PYTHON ?= python3
VENV ?= .venv
# Options for pip, e.g. PyTorch's CPU index, which saves gigabytes on a machine without GPU.
PIP_ARGS ?=
BIN = $(VENV)/bin

.PHONY: demo test lint benchmark clean

demo: $(VENV)/.demo
	$(BIN)/python tools/demo.py

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/codespell

benchmark: $(VENV)/.test
	$(BIN)/python tools/benchmark.py

$(VENV)/.demo: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_ARGS) -c constraints.txt -e '.[mmlab,demo]'
	touch $@

$(VENV)/.test: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_ARGS) -c constraints.txt -e '.[mmlab,demo,test]'
	touch $@

clean:
	rm -rf $(VENV) work_dirs
