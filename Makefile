# make mini: install what is missing, then the mini recipe from the first stage to the last
# make test: install what is missing, then lint and all tests
# make docs: install what is missing, then the site in build/site
SHELL := /bin/bash
PYTHON := .venv/bin/python
# A process of pytest for each core, at most 8; a file's tests stay together, as they share what they make.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: help install install-docs check mini test lint docs kenlm clean

help:
	@echo "make mini   install into .venv, run egs/mini from audio to word error rate"
	@echo "make test   install into .venv, lint, run all tests"
	@echo "make lint   ruff, mypy and shellcheck"
	@echo "make docs   build the documentation's site into build/site"
	@echo "make check  say what is installed, what is missing and what that costs"
	@echo "make kenlm  build lmplz (optional; a built-in estimator does without)"
	@echo "make clean  remove what recipes and tests made (not .venv, not downloads)"

install:
	@tools/install.sh

install-docs:
	@tools/install.sh docs

check:
	@$(or $(wildcard $(PYTHON)),python3) tools/check_install.py

mini: install
	cd egs/mini && ./run.sh

test: install-docs lint
	$(PYTHON) -m pytest test $(SIDE_BY_SIDE)

lint: install
	@tools/lint.sh

docs: install-docs
	$(PYTHON) tools/make_site.py

kenlm: install
	tools/install_kenlm.sh

clean:
	rm -rf egs/*/data egs/*/dump egs/*/exp build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find speechlm test tools egs -name __pycache__ -type d -prune -exec rm -rf {} +
