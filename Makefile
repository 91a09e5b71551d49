# make demo, make test: set-up included. Everything else: make help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test lint format proto bench bench-containers clean
.DEFAULT_GOAL := help

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/' | expand -t 12

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("qnetem needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a minute or two, once) ..."
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable . --group dev
	@$(BIN)/python -c "from qnetem.testbed.zygote.preload import preload; preload(['node.service', 'quantum_channel.service'])"
	@touch $(STAMP)

install: $(STAMP) ## set up .venv

demo: $(STAMP) ## a network of three nodes makes keys, loses a node, and gets it back
	@$(BIN)/python scripts/demo.py

test: $(STAMP) ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP) ## style, types, layers, wire contract, freshness of generated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd proto && ../$(BIN)/buf lint
	scripts/proto.sh --check

format: $(STAMP) ## let ruff put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(STAMP) ## generate qnetem/v1 from proto/
	scripts/proto.sh

bench: $(STAMP) ## the figures of docs/figures.md (about forty minutes)
	$(BIN)/python -m bench.testbed --write
	$(BIN)/python -m bench.scale --write
	$(BIN)/python -m bench.post_processing --write
	$(BIN)/python -m bench.round_trips --write
	$(BIN)/python -m bench.physics --write
	$(BIN)/python -m bench.realtime --write
	$(BIN)/python -m bench.keys --write

bench-containers: $(STAMP) ## the figures of containers; needs Docker
	$(BIN)/python -m bench.containers --write

clean: ## remove what was installed and built here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
