# Everything runs in .venv, made here with PYTHON. A stamp says which setup.cfg it was made from.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: help demo test rig test-models prove format bench install uninstall clean

help:
	@echo 'make demo           replay the shipped visits through the production loop'
	@echo 'make test           format check, lint, types, import contracts, tests: what comes before every commit'
	@echo 'make rig            camera, systemd, an emulated Pi, installer: everything but the board itself (root; PART=service tries one)'
	@echo 'make test-models    remake the masked-face network on a handful of faces, to prove the scripts (minutes, 5 GB)'
	@echo 'make prove          try the laws of lock, log and store at full size (hours; tests/prove.py tries a part)'
	@echo 'make format         put the code into the format that make test asks for'
	@echo 'make bench          measure each stage on this machine'
	@echo 'make install        install the gate on this machine (asks for sudo)'
	@echo 'make uninstall      remove it again; people, log and settings stay'
	@echo 'make clean          remove what these made here'
	@echo 'PYTHON=python3.13 picks another Python for .venv (after make clean)'

demo: $(VENV)/demo.stamp
	@$(BIN)/python tests/demo.py

test: $(VENV)/test.stamp
	@$(BIN)/ruff format --quiet --check . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > $(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	@$(BIN)/python -m pytest -q -n 2

prove: $(VENV)/test.stamp
	@$(BIN)/python tests/prove.py

rig:
	@cd tests && python3 -m rig $(PART)

test-models:
	@tests/remake_models

format: $(VENV)/test.stamp
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

bench: $(VENV)/demo.stamp
	@$(BIN)/maskgate bench

install:
	@if [ "$$(id -u)" = 0 ]; then ./install; else sudo ./install; fi

uninstall:
	@if [ "$$(id -u)" = 0 ]; then ./uninstall; else sudo ./uninstall; fi

clean:
	@rm -rf $(VENV) build dist daemon/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find daemon tests models -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

# -e: the checkout itself is what runs, so an edit needs no new install.
$(VENV)/demo.stamp: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) ($$($(BIN)/python --version))"
	@$(PIP) -e '.[video,litert]'
	@touch $@

$(VENV)/test.stamp: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) ($$($(BIN)/python --version)), with the development tools"
	@$(PIP) -e '.[video,litert,dev]'
	@touch $(VENV)/demo.stamp $@
