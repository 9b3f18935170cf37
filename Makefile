# make demo | test | check | bench | simulate; each makes .venv first, and again only when what is pinned has changed.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TESTS ?= tests
PLACES := $(wildcard serinus serving monitors controller deploy examples benchmarks tests)

.PHONY: demo test check bench simulate observe format clean
.PHONY: e2e
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help:
	@echo "make demo    the whole loop on real flights (START=2013-07-01, DEFECT=0, KEEP=1)"
	@echo "make test    all tests (TESTS=tests/serving for some)"
	@echo "make e2e     the whole in a Kubernetes cluster: \$$KUBECONFIG, else ../shared/kube (KEEP=1, HEADS=1, FROM=REVISION, SERINUS_IMAGE=NAME)"
	@echo "make check   ruff, mypy, import-linter"
	@echo "make bench   how fast it is, next to other servers (QUICK=1 for few rounds, BENCH=FOLDER for the data)"
	@echo "make simulate  how often verdicts are wrong and how soon right (QUICK=1, JOBS=2, SIMULATE=FILE for the data)"
	@echo "make observe  Prometheus and Alertmanager beside the local stack (OBSERVE='--home FOLDER --prometheus-port 0')"
	@echo "make .venv   only the environment; PYTHON=python3.12 to choose the interpreter"

.PHONY: .venv
.venv: $(INSTALLED)

$(INSTALLED): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: $(PYTHON) is not Python 3.11 or newer (apt-get install python3, or make PYTHON=python3.11)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) has no venv module (apt-get install python3-venv)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar on torch==2.13.0 hatchling editables -c constraints.txt
	$(BIN)/python -m pip install --progress-bar on --no-build-isolation -e '.[training,server,tracing,grafana,demo,dev]' -c constraints.txt
	$(BIN)/python -m pip install --progress-bar on --no-deps tritonclient==2.73.0
	@touch $@

demo: $(INSTALLED)
	$(BIN)/python -m examples.flights.demo

test: $(INSTALLED)
	$(BIN)/python -m pytest --durations=30 $(TESTS)

e2e: $(INSTALLED)
	KEEP=$(KEEP) HEADS=$(HEADS) FROM=$(FROM) $(BIN)/python -m tests.kube_e2e

check: $(INSTALLED)
	$(BIN)/ruff check $(PLACES)
	$(BIN)/ruff format --check $(PLACES)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(BENCH),--json $(BENCH))

simulate: $(INSTALLED)
	$(BIN)/python -m benchmarks.simulations $(if $(QUICK),--quick) $(if $(JOBS),--jobs $(JOBS)) $(if $(SIMULATE),--json $(SIMULATE))

observe: $(INSTALLED)
	$(BIN)/python -m deploy.observe $(if $(OBSERVE),$(OBSERVE))

format: $(INSTALLED)
	$(BIN)/ruff check --fix $(PLACES)
	$(BIN)/ruff format $(PLACES)

clean:
	rm -rf .venv benchmarks/.peers benchmarks/.simulations .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
