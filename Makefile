# All tools live in .venv, which this file makes and owns. Any Python from 3.11 on will do: make test PYTHON=python3.13
# Written for GNU make 3.81 (macOS) and plain sh.

PYTHON ?= python3
ARGS =
VENV = .venv
RUN = $(VENV)/bin/python
PIP = $(RUN) -m pip --disable-pip-version-check install --quiet

.NOTPARALLEL:
.PHONY: help demo test check format docs gallery benchmark clean distclean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/run ## sparse control of the Poisson equation, with its certificate; files in results/
	$(VENV)/bin/pdecontrol gallery stadler --output results

test: $(VENV)/test ## the tests; ARGS="-k name" goes to pytest
	$(RUN) -m pytest $(ARGS)

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

distclean: clean ## remove .venv as well
	rm -rf $(VENV)

# An environment that was moved, or whose Python has gone, is made again.
ifneq ($(shell test "`cat $(VENV)/made 2>/dev/null`" = "`pwd -P`" && $(RUN) -c '' 2>/dev/null && echo good),good)
.PHONY: $(VENV)/made
endif

$(VENV)/made:
	@"$(PYTHON)" -c '' 2>/dev/null || { \
	  echo "Cannot run '$(PYTHON)'. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@version=`"$(PYTHON)" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])'`; \
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pdecontrol needs Python 3.11 or newer, '$(PYTHON)' is $$version. Name another: make PYTHON=python3.12 ..." >&2; \
	  exit 1; }; \
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make environments (no module venv or ensurepip). On Debian and Ubuntu:" >&2; \
	  echo "    sudo apt-get install python$${version%.*}-venv" >&2; exit 1; }; \
	echo "setting up $(VENV) with Python $$version (once)"; \
	rm -rf $(VENV); trap 'rm -rf $(VENV); exit 1' HUP INT TERM; \
	"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; \
	pwd -P > $@

$(VENV)/run: $(VENV)/made pyproject.toml
	@echo "installing pdecontrol and what it needs"
	@$(PIP) --editable .
	@touch $@

$(VENV)/test $(VENV)/docs $(VENV)/dev: $(VENV)/made pyproject.toml
	@echo "installing pdecontrol and what '$(@F)' needs"
	@$(PIP) --editable '.[$(@F)]'
	@touch $(VENV)/run $@
