# The whole ritual. `make help` lists it. Needs make, git, and Python 3.11-3.14 with venv; everything else is fetched.
SHELL = /bin/sh
.DEFAULT_GOAL = help

PYTHON_FINDER = for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null \
		&& { echo $$p; break; }; done
BIN = .venv/bin
# One more than there are cores, since a part of its time is spent on waiting for others; 3 on the two cores that the
# suite is made for, and no more than 8, each of which has a PostgreSQL and a Redis of its own.
CORES = $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
WORKERS ?= $(shell n=$(CORES); [ $$n -lt 7 ] && echo $$((n + 1)) || echo 8)
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope $(PYTEST_FLAGS)

# The compiled tree before everything else: it comes before this folder and before what the environment links.
ON_TREE = PYTHONSAFEPATH=1 PYTHONPATH="$(CURDIR)/build/compiled"
# What runs in the compiled modules.
COMPILED_TESTS = tests/unit/test_compiled.py tests/unit/connectors tests/unit/engine tests/unit/model \
	tests/unit/worker tests/property/test_simulator.py tests/integration/worker \
	tests/cli/test_processes.py

.PHONY: help run test test-long compiled test-compiled simulate fuzz samples bench histories soak check schema docs verify lock clean runtime-set test-set

help:  ## List these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  make %-13s %s\n", $$1, $$2}'

run: runtime-set  ## Start everything with the example: API, worker, scheduler, PostgreSQL, Redis (Ctrl-C stops)
	@exec $(BIN)/python scripts/foreground.py $(BIN)/mc dev --example

test: test-set  ## Run the test suite (about 10 minutes on 2 cores)
	@exec $(PYTEST) -m "not long"

test-long: test-set  ## Run the test suite with the long runs
	@exec $(PYTEST)

compiled: test-set  ## Make build/compiled, in which the path of every step is compiled (needs gcc, python3-dev)
	@exec $(BIN)/python scripts/compiled.py

test-compiled: compiled  ## Run the tests of the engine on that tree
	@exec env $(ON_TREE) $(PYTEST) -o pythonpath= --compiled -m "not long" $(COMPILED_TESTS)

simulate: test-set  ## Run the simulator: make simulate SEEDS=400000
	@exec $(BIN)/python -m tests.simulator --seeds $(or $(SEEDS),10000)

fuzz: test-set  ## Throw documents and expressions at the language: make fuzz SECONDS=3600
	@exec $(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --keep

samples: test-set  ## Import, validate and simulate public samples: make samples IN=FOLDER (a clone of WfInstances)
	@exec $(BIN)/python -m tests.samples --keep $(IN)

bench: $(if $(COMPILED),compiled,test-set)  ## Run the benchmarks and keep their results, or one: make bench BENCH=name (COMPILED=1: on that tree)
	@exec env $(if $(COMPILED),$(ON_TREE)) $(BIN)/python -m benchmarks --keep $(BENCH)

histories: test-set  ## Record what the engine of a release writes, for later ones to replay: make histories RELEASE=1.2.0
	@[ -n "$(RELEASE)" ] || { echo "say which: make histories RELEASE=1.2.0"; exit 2; }
	@exec env RECORD_HISTORIES=$(RELEASE) $(BIN)/python -m pytest -q tests/integration/worker/test_histories.py
	@exec $(BIN)/python -m pytest -q tests/unit/engine/test_proof.py

soak: test-set  ## A steady load for hours, with kills: make soak HOURS=6 [IN=FOLDER to go on later]; the result is kept
	@exec $(BIN)/python -m benchmarks.soak --keep --seconds $$(( $(or $(HOURS),6) * 3600 )) $(if $(IN),--in $(IN))

check: test-set  ## Format, lint, types, doors, sizes, schema, composition
	@exec sh scripts/check.sh

schema: runtime-set  ## Write schema.graphql from the code, and the manifest of trusted documents
	@$(BIN)/python -m subgraph.print_schema
	@PYTHONPATH=. $(BIN)/python scripts/make_trusted_documents.py

docs: runtime-set  ## Write the generated reference pages
	@PYTHONPATH=. exec $(BIN)/python scripts/make_reference.py

verify: test-set  ## Fail if anything generated is stale: schema.graphql, docs/reference
	@$(BIN)/python -m subgraph.print_schema --check
	@PYTHONPATH=. $(BIN)/python scripts/make_reference.py --check
	@PYTHONPATH=. $(BIN)/python scripts/make_trusted_documents.py --check

lock: test-set  ## Compile requirements/*.in to pinned files (UPGRADE=1 or UPGRADE=name to move pins)
	@exec env UPGRADE=$(UPGRADE) sh scripts/lock.sh

clean:  ## Remove what tools have made (not .mc, which is your data)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime-set:
	@$(MAKE) --no-print-directory -s SET=runtime bootstrap

test-set:
	@$(MAKE) --no-print-directory -s SET=test bootstrap

.PHONY: bootstrap
bootstrap:
	@python=$$($(PYTHON_FINDER)); \
	if [ -z "$$python" ]; then \
		echo "No Python 3.11 to 3.14 was found. Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13" >&2; \
		exit 1; \
	fi; \
	exec $$python scripts/bootstrap.py $(SET)
