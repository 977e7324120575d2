# Everything works on a fresh machine with Python 3.11+, Node 20 and make: the first target that needs the environment makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run canvas check test compiled bench screenshots format lock clean

run: $(VENV)/.installed relay/canvas/index.html  ## The whole system on this machine; options in ARGS, for example ARGS="--relays 3"
	@exec $(BIN)/boardctl up $(ARGS)

canvas: relay/canvas/index.html  ## What the relay serves to browsers

check: $(VENV)/.installed frontend/node_modules/.installed  ## Format, lint, types, import contracts, deployment files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python deploy/validate.py
	npm run --silent --prefix frontend check

test: $(VENV)/.installed tests/clients/node_modules/.installed tests/tlschema/node_modules/.installed relay/canvas/index.html  ## All tests, or those in ARGS
	npm run --silent --prefix frontend test
	$(BIN)/python -m tests.e2e.chromium
ifeq ($(strip $(ARGS)),)
	$(BIN)/pytest -n 2 $(SIDE_BY_SIDE)
	$(BIN)/pytest $(addprefix --ignore=,$(SIDE_BY_SIDE))
else
	$(BIN)/pytest $(ARGS)
endif

# What runs beside these changes nothing of them: both cores at once. The rest looks at how servers behave under load.
SIDE_BY_SIDE := tests/unit tests/compiled $(wildcard tests/fuzz/test_fuzz_*.py)

compiled: $(VENV)/.installed  ## The packages as a wheel has them, their hot modules compiled, in build/compiled
	@$(BIN)/python hatch_build.py build/compiled

bench: compiled  ## Measure the whole system on this machine; workloads and options in ARGS, for example ARGS="W1 --quick"
	@$(BIN)/python -m benchmarks $(ARGS)

screenshots: $(VENV)/.installed tests/clients/node_modules/.installed relay/canvas/index.html  ## Pictures of the canvas in every state, in ARGS="FOLDER"
	$(BIN)/python -m tests.e2e.screenshots $(or $(ARGS),screenshots)

format: $(VENV)/.installed frontend/node_modules/.installed  ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	npm run --silent --prefix frontend format

lock: $(VENV)/.installed  ## Resolve the dependencies anew
	$(BIN)/pip-compile -q --upgrade $(LOCK) -o requirements.lock pyproject.toml
	$(BIN)/pip-compile -q --upgrade $(LOCK) --extra embedded --extra dev -o requirements-dev.lock pyproject.toml
	@echo "Now regenerate deploy/requirements-build.lock: the command is in its first lines."
LOCK := --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

clean:  ## Remove what the targets above made
	rm -rf $(VENV) tests/clients/node_modules tests/tlschema/node_modules frontend/node_modules relay/canvas build
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.installed: requirements-dev.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

%/node_modules/.installed: %/package-lock.json
	npm ci --prefix $* --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

CANVAS_SOURCES := $(shell find frontend/src frontend/public frontend/index.html frontend/vite.config.ts -type f 2>/dev/null)
relay/canvas/index.html: frontend/node_modules/.installed $(CANVAS_SOURCES)
	npm run --silent --prefix frontend build -- --logLevel warn
	touch $@
