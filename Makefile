# The README's two commands are `make train` and `make test`; both create .venv when needed and otherwise start at once.
# Pass arguments on with ARGS, for instance: make train ARGS="--config sudoku-6x6"

PYTHON3 ?= python3
VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
DOCUMENTED := $(VENV)/.docs-installed

.PHONY: train test extras docs hammer ui lint benchmark clean help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

train: $(INSTALLED)  ## train the default preset (or ARGS)
	$(PYTHON) -m latent_rl.train $(ARGS)

test: $(INSTALLED)  ## run the tests; ARGS="-m slow": those that it leaves out, which repeat at length what it tries
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses 2 $(ARGS)

extras: EXTRAS := dev,docs,reasoning-gym
extras:  ## install the optional packages, of which one needs a C compiler; `make test` tries what is there
	$(install)
	@touch $(INSTALLED) $(DOCUMENTED)

docs: $(DOCUMENTED)  ## build the documentation into build/site; open build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

hammer: $(INSTALLED)  ## kills, faults, a soak and bad input, two hours; ARGS="--help" says how to choose
	PYTHONPATH=tests $(PYTHON) -m hammer $(ARGS)

ui: $(INSTALLED)  ## look at the runs in the browser
	$(VENV)/bin/mlflow ui

lint: $(INSTALLED)  ## check style
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

benchmark: $(INSTALLED)  ## what environment, collector and logging cost, and the speed of the schemes
	$(PYTHON) benchmarks/overhead.py $(ARGS)
	$(PYTHON) benchmarks/throughput.py $(ARGS)

clean:  ## remove the virtual environment (runs stay)
	rm -rf $(VENV)

# Into an environment that is made where there is none.
EXTRAS := dev
define install
@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	|| { echo "latent_rl needs Python 3.10 or newer; choose one with PYTHON3=python3.11"; exit 1; }
$(PYTHON) -m pip --version > /dev/null 2>&1 || $(PYTHON3) -m venv $(VENV)
$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
endef

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(install)
	@touch $@

# What builds the site and runs the notebook; the tests of both are skipped without it.
$(DOCUMENTED): $(INSTALLED)
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	@touch $@
