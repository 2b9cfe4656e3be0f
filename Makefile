# All tools live in .venv, which this file makes and owns. Any Python from 3.11 on will do: make test PYTHON=python3.13
# Unless PYTHON is given, a Python with dolfinx is preferred; make test installs it on Debian. DOLFINX=no: do without.
# Written for GNU make 3.81 (macOS) and plain sh.

ifeq ($(origin PYTHON),undefined)
PYTHON = python3
DOLFINX ?= yes
else
DOLFINX = no
endif
ARGS =
VENV = .venv
RUN = $(VENV)/bin/python
PIP = $(RUN) -m pip --disable-pip-version-check install --quiet --constraint $(VENV)/constraints.txt --constraint tools/constraints.txt
ENVIRONMENT = PYTHON="$(PYTHON)" DOLFINX="$(DOLFINX)" sh tools/environment.sh

.NOTPARALLEL:
.PHONY: help demo test matrix check format docs gallery benchmark clean distclean packages FORCE

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/run ## sparse control of the Poisson equation, with its certificate; files in results/
	$(VENV)/bin/pdecontrol gallery stadler --output results

test: packages $(VENV)/test ## the tests; ARGS="-k name" goes to pytest
	@echo "$(RUN) -m pytest $(ARGS)"; $(RUN) -m pytest $(ARGS); status=$$?; $(ENVIRONMENT) report; exit $$status

matrix: packages $(VENV)/test ## the tests of the distributed engine here, in Debian trixie and in sid (in .matrix; needs root)
	@sh tools/matrix.sh

check: $(VENV)/dev ## ruff and mypy
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

format: $(VENV)/dev ## mend what ruff can mend
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format

docs: $(VENV)/docs ## the documentation, in docs/_build/html
	$(RUN) -m sphinx -q -W --keep-going -b html docs docs/_build/html

gallery: $(VENV)/run ## every example; files in results/
	$(VENV)/bin/pdecontrol gallery --output results

benchmark: $(VENV)/test ## every table of benchmarks/
	@set -e; for script in benchmarks/*.py; do echo "$(RUN) $$script"; $(RUN) "$$script"; done

clean: ## remove what was generated
	rm -rf results examples/results docs/_build docs/gallery docs/generated docs/sg_execution_times.rst
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find pdecontrol examples benchmarks tests docs -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove .venv and .matrix as well
	rm -rf $(VENV) .matrix

packages:
	@$(ENVIRONMENT) packages

# Its recipe runs every time and touches nothing when .venv is as it should be.
$(VENV)/made: FORCE
	@$(ENVIRONMENT) make

FORCE:

$(VENV)/run: $(VENV)/made pyproject.toml
	@echo "installing pdecontrol and what it needs"
	@$(PIP) --editable '.[data,mesh]'
	@touch $@

$(VENV)/test $(VENV)/docs $(VENV)/dev: $(VENV)/made pyproject.toml
	@echo "installing pdecontrol and what '$(@F)' needs"
	@$(PIP) --editable '.[data,mesh,$(@F)]'
	@touch $(VENV)/run $@
