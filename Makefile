# make demo: train on real images in minutes.
# make check: lint, types, and the quick tests of operators, layers, costs, conversion, budget, models.
# make test: lint and all tests of the package and its tools, in minutes.
# make test-study: the pages of evidence, and what trains for them and writes them.
# make test-shipped: every model file that mmseg ships, with the lines of docs/adopt.md.
# make docs: the documentation site, in site/.
# make test-docs: the docstrings' examples, the notebook, the site, in a browser if there is one.
# make gallery: the pictures of docs/gallery anew.
# make test-upstream: make test on upstream's last OpenMMLab releases; compiles mmcv for minutes.
# make test-networks: conversion of the networks of torchvision, timm and segmentation_models.
# make test-classification: the classifiers, with mmpretrain.
# make networks-table, make table3: docs/networks.md and docs/table3.md anew.
# make classification-evidence: trains the runs of docs/classification_evidence.md, an hour.
PYTHON ?= python3
VENV ?= .venv
# Options for pip, e.g. PyTorch's CPU index, which saves gigabytes on a machine without GPU.
PIP_ARGS ?=
BIN = $(VENV)/bin
UPSTREAM_VENV ?= .venv-upstream
UPSTREAM_BIN = $(UPSTREAM_VENV)/bin
UPSTREAM_INSTALL = $(UPSTREAM_BIN)/python -m pip install $(PIP_ARGS) -c constraints-upstream.txt
NETWORKS_VENV ?= .venv-networks
NETWORKS_BIN = $(NETWORKS_VENV)/bin
NETWORKS_INSTALL = $(NETWORKS_BIN)/python -m pip install $(PIP_ARGS) -c constraints-networks.txt
CLASSIFICATION_VENV ?= .venv-classification
CLASSIFICATION_BIN = $(CLASSIFICATION_VENV)/bin
CLASSIFICATION_INSTALL = $(CLASSIFICATION_BIN)/python -m pip install $(PIP_ARGS) \
	-c constraints-networks.txt

# A process per core, one thread each; a worker that is done takes tests from the others.
DISTRIBUTE = -n 2 --dist worksteal
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(DISTRIBUTE)
CHECKED = ops layers costs conversion learning models
# The examples in the docstrings run, too; classifiers have an environment of their own.
EXAMPLES = --doctest-modules --ignore mmseg_dynopool/classification

.PHONY: demo gallery check test test-study test-shipped docs test-docs test-upstream test-networks test-classification networks-table \
	table3 classification-evidence lint types benchmark clean

demo: $(VENV)/.demo
	$(BIN)/python tools/demo.py

gallery: work_dirs/demo/report.html
	$(BIN)/python tools/study gallery

work_dirs/demo/report.html: | $(VENV)/.demo
	$(BIN)/python tools/demo.py

check: lint types
	$(PYTEST) -m "not slow" $(CHECKED:%=tests/%) $(EXAMPLES) $(CHECKED:%=mmseg_dynopool/%)

test: lint
	$(PYTEST) -m "not docs and not shipped" --ignore tests/study

test-study: $(VENV)/.test
	$(PYTEST) tests/study

test-shipped: $(VENV)/.test
	$(PYTEST) -m shipped tests/shipped

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test-docs: $(VENV)/.docs
	$(PYTEST) $(EXAMPLES) tests/docs mmseg_dynopool

test-upstream: $(UPSTREAM_VENV)/.test
	OMP_NUM_THREADS=1 $(UPSTREAM_BIN)/python -m pytest $(DISTRIBUTE) -m "not docs and not shipped" \
		--ignore tests/study

# Without tests/conftest.py, which imports mmseg before tests/networks/conftest.py could act.
test-networks: $(NETWORKS_VENV)/.test
	OMP_NUM_THREADS=1 $(NETWORKS_BIN)/python -m pytest $(DISTRIBUTE) \
		--confcutdir tests/networks tests/networks

test-classification: $(CLASSIFICATION_VENV)/.test
	OMP_NUM_THREADS=1 $(CLASSIFICATION_BIN)/python -m pytest $(DISTRIBUTE) \
		--confcutdir tests/classification tests/classification \
		--doctest-modules mmseg_dynopool/classification

# torchvision's operators are declared in each process, beside a CPU build of torch.
table3: $(CLASSIFICATION_VENV)/.test
	PYTHONPATH=tests/support/operators:tests $(CLASSIFICATION_BIN)/python tools/study table3

classification-evidence: $(CLASSIFICATION_VENV)/.test
	PYTHONPATH=tests/support/operators:tests $(CLASSIFICATION_BIN)/python \
		tools/study classification_evidence run --jobs 2

networks-table: $(NETWORKS_VENV)/.test
	PYTHONPATH=tests $(NETWORKS_BIN)/python -m support.networks_table

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/codespell

types: $(VENV)/.test
	$(BIN)/mypy

benchmark: $(VENV)/.test
	$(BIN)/python tools/benchmark.py

$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_ARGS) -c constraints.txt -e '.[mmlab,demo]'
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_ARGS) -c constraints.txt -e '.[mmlab,test]'
	touch $@

$(VENV)/.docs: $(VENV)/.test
	$(BIN)/pip install $(PIP_ARGS) -c constraints.txt -e '.[docs]'
	touch $@

# mmcv's setup.py imports torch and pkg_resources, so both come first and it builds without
# isolation. ninja must be on the path. pip's cache could hold a build for another torch.
$(UPSTREAM_VENV)/.mmcv: constraints-upstream.txt
	$(PYTHON) -m venv --clear $(UPSTREAM_VENV)
	$(UPSTREAM_INSTALL) setuptools torch ninja
	PATH="$(abspath $(UPSTREAM_BIN)):$$PATH" MMCV_WITH_OPS=1 \
		$(UPSTREAM_INSTALL) --no-build-isolation --no-cache-dir mmcv
	touch $@

$(UPSTREAM_VENV)/.test: $(UPSTREAM_VENV)/.mmcv pyproject.toml
	$(UPSTREAM_INSTALL) -e '.[mmlab-upstream,test]'
	touch $@

# What torchvision declares is the CUDA build of torch, gigabytes of it; a CPU build is enough. So
# it and the packages that depend on it come without dependencies, and these by name.
$(NETWORKS_VENV)/.test: constraints-networks.txt pyproject.toml
	$(PYTHON) -m venv --clear $(NETWORKS_VENV)
	$(NETWORKS_INSTALL) -e '.[mmlab]' pytest pytest-xdist huggingface_hub safetensors pyyaml tqdm
	$(NETWORKS_INSTALL) --no-deps torchvision timm segmentation_models_pytorch
	touch $@

# As above.
$(CLASSIFICATION_VENV)/.test: constraints-networks.txt pyproject.toml
	$(PYTHON) -m venv --clear $(CLASSIFICATION_VENV)
	$(CLASSIFICATION_INSTALL) -e '.[mmlab,export]' pytest pytest-xdist rich einops mat4py \
		modelindex importlib-metadata
	$(CLASSIFICATION_INSTALL) --no-deps torchvision onedl-mmpretrain
	touch $@

clean:
	rm -rf $(VENV) $(UPSTREAM_VENV) $(NETWORKS_VENV) $(CLASSIFICATION_VENV) work_dirs site build dist
