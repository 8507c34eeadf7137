PYTHON ?= python3
VENV := .venv
PINS := constraints.txt
TRANSFORMERS_RELEASES ?= 5.17.0 5.19.0
OTHER_RELEASE_TESTS := $(TRANSFORMERS_RELEASES:%=test-transformers-%)
# Pins that belong to the transformers release above and give way to another one: 5.17 needs huggingface_hub 1.
RELEASE_PINS := transformers|huggingface_hub|tokenizers

# The models are tiny, so each process takes one core; neighbouring tests share a model and stay together.
IN_PARALLEL := --numprocesses auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help venv demo docs test style quality test-transformers $(OTHER_RELEASE_TESTS)
# A stamp that a rule made on the way is kept, so that no venv is built twice.
.SECONDARY:

help:
	@echo "make venv               create .venv with everything for development"
	@echo "make demo               prune a small model on this machine and look at the result"
	@echo "make docs               write the page of architectures from the tests"
	@echo "make test               run the tests"
	@echo "make style              format the code and fix what ruff can fix"
	@echo "make quality            check format, lint and types"
	@echo "make test-transformers  run the fast tests against transformers $(TRANSFORMERS_RELEASES)"

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml $(PINS)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -c $(PINS) -e ".[tests,quality]"
	touch $@

demo: venv
	$(VENV)/bin/python examples/demo.py

docs: venv
	$(VENV)/bin/python -m docs.make_architectures

test: venv
	$(VENV)/bin/python -m pytest $(IN_PARALLEL)

style: venv
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

quality: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test-transformers: $(OTHER_RELEASE_TESTS)

$(OTHER_RELEASE_TESTS): test-transformers-%: $(VENV)-%/.installed
	$(VENV)-$*/bin/python -m pytest -m "not slow" $(IN_PARALLEL)

$(VENV)-%/.installed: pyproject.toml $(PINS)
	$(PYTHON) -m venv $(VENV)-$*
	grep -vE "^($(RELEASE_PINS))==" $(PINS) > $(VENV)-$*/constraints.txt
	$(VENV)-$*/bin/python -m pip install -c $(VENV)-$*/constraints.txt -e ".[tests]" "transformers==$*"
	touch $@
