# `make demo` and `make test` each work alone, with Python 3.11 to 3.13 and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test smoke test-slow test-kserve lint docs notebooks bench clean

# Remade when the dependencies change.
.venv.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.13 is needed, this is " + sys.version) if not (3, 11) <= sys.version_info < (3, 14) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: .venv.installed
	$(BIN)/python -m srnn_tf.experiments.demo --out demo

test: .venv.installed lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow'

# The wheels, in fresh environments without network, of every supported Python that is there.
smoke: .venv.installed
	$(BIN)/python -m tests.smoke

test-slow: .venv.installed
	$(BIN)/python -m pytest -m slow

# KServe and TensorFlow, without this package, in an environment of their own.
.venv-kserve.installed:
	$(PYTHON) -m venv .venv-kserve
	.venv-kserve/bin/python -m pip install --quiet --disable-pip-version-check 'kserve>=0.15' 'tensorflow>=2.20,<2.22'
	touch $@

test-kserve: .venv.installed .venv-kserve.installed
	SRNN_TF_KSERVE=.venv-kserve/bin/python $(BIN)/python -m pytest -m slow tests/serving/test_kserve.py

lint: .venv.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/ty check --quiet

# Sphinx is not among the development dependencies.
.docs.installed: .venv.installed pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

# The site of this version, in docs/_build/html/VERSION. It needs no network.
docs: .docs.installed
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python docs/build.py

# The tutorials, run again; their outputs are stored, and `make docs` shows them.
notebooks: .docs.installed
	$(BIN)/python docs/tutorials/run.py

# PyTorch, for the comparison, is not among the development dependencies.
bench: .venv.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m benchmarks.train_step
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.scoring
	$(BIN)/python -m benchmarks.first_use
	$(BIN)/python -m benchmarks.table7
	$(BIN)/python -m benchmarks.unroll
	$(BIN)/python -m benchmarks.anatomy
	$(BIN)/python -m benchmarks.input_pipeline
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.sizing
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.rounding

clean:
	rm -rf $(VENV) .venv.installed .venv-kserve .venv-kserve.installed .docs.installed demo
	rm -rf docs/_build docs/models docs/repository
