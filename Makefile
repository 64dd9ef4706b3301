# `make demo` and `make test` are all a stranger needs; the rest is for work on the code.
# Each target prepares what it needs; nothing outside this folder (and pip's cache) is written.
.DEFAULT_GOAL := help
.PHONY: help bench cuda-report demo docs fuzz test test-all test-matrix wheel lint format build clean
.DELETE_ON_ERROR:

PYTHON ?= python3

# An environment is a folder with a stamp; it is made anew when what it is made of changes.
DEMO := .venv
TEST := .venv-test
SETTINGS := pyproject.toml setup.py tools/environment.sh constraints/packages.txt

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(DEMO)/installed ## train a small Mask R-CNN on real images, evaluate it, draw a picture
	@tools/build_core.sh $(DEMO)
	$(DEMO)/bin/python -m detector demo

test: build ## the whole test suite, and the kernels again with their threads in two other orders
	$(TEST)/bin/python -m pytest tests
	for seed in 1 2; do EMULATOR_SEED=$$seed \
	  $(TEST)/bin/python -m pytest tests/ops -k "emulated and not hooks" || exit; done

test-all: build ## the whole test suite with many more random examples per property
	$(TEST)/bin/python -m pytest tests --hypothesis-profile=long

bench: build ## speed beside torchvision (CASES="nms roi_align": some; more: python -m benchmarks --help)
	$(TEST)/bin/python -m benchmarks run $(CASES)

cuda-report: build ## what the CUDA kernels take and ask for, into docs/cuda.md; without a GPU, minutes
	$(TEST)/bin/python -m tools.cuda_report

docs: build ## pages and their pictures, in build/docs; warnings are errors
	$(TEST)/bin/python docs/pictures
	$(TEST)/bin/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	@echo "build/docs/index.html"

fuzz: $(TEST)/installed ## a million random cases against the core, built with sanitizers
	tools/fuzz.sh $(TEST) address,undefined 1000000
	tools/fuzz.sh $(TEST) thread 100000

test-matrix: wheel $(TEST)/installed ## one wheel against NumPy alone, torch 2.13.0, torch 2.14.1
	tools/test_matrix.sh $(PYTHON) numpy torch-2.13 torch-2.14

wheel: ## one manylinux wheel, in dist/
	tools/build_wheel.sh $(PYTHON)

lint: build ## what CI checks besides the tests
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/clang-format --dry-run -Werror $$(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')
	$(TEST)/bin/mypy

format: $(TEST)/installed ## rewrite Python and C++ in the one style
	$(TEST)/bin/ruff check --fix .
	$(TEST)/bin/ruff format .
	$(TEST)/bin/clang-format -i $$(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')

build: $(TEST)/installed ## compile what changed in the core
	@tools/build_core.sh $(TEST)

clean: ## remove environments and everything built
	rm -rf $(DEMO) .venv-* build dist *.egg-info roiops/_cpu*.so roiops/_cuda*.so

$(DEMO)/installed: $(SETTINGS) constraints/demo.txt
	tools/environment.sh $(PYTHON) $(DEMO) constraints/demo.txt detector
	@touch $@

$(TEST)/installed: $(SETTINGS) constraints/test.txt
	tools/environment.sh $(PYTHON) $(TEST) constraints/test.txt dev
	@touch $@
