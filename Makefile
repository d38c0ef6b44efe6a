# Everything starts from a bare Debian 12 with root: `make test`.
VENV := .venv
PY := $(VENV)/bin/python

# Debian's suites whose kernels `make test-kernels` boots: bookworm has 6.1, trixie 6.12, bullseye 5.10.
KERNELS := bookworm

.PHONY: setup test test-kernels demo bench bench-docs scaling coverage race docs lint clean

setup: $(VENV)/.ready

# System packages and the virtual environment; cheap when nothing changed.
$(VENV)/.ready: pyproject.toml scripts/setup.sh
	sh scripts/setup.sh $(VENV)
	touch $@

test: setup
	$(PY) -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

# Random rules and traffic, judged by netfilter, interpreter, plan and program, for SECONDS; a slice of it is
# in `make test`. SEED repeats a run. Needs root.
.PHONY: fuzz
fuzz: setup
	cd tests && ../$(PY) -m fuzz.run --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

# The tests of iptables' own extensions, each as rules that the same judges try. Needs root and those tests.
.PHONY: extensions
extensions: setup
	cd tests && ../$(PY) -m fuzz.extensions

# The tests marked `stock`, on unchanged Debian kernels in a virtual machine. Needs root, and 15 minutes or more for
# each where the processor is emulated.
test-kernels: setup
	sh scripts/setup.sh $(VENV) kernels
	for suite in $(KERNELS); do \
		XDPTABLES_STOCK=1 XDPTABLES_STRICT=1 $(PY) scripts/kernels --suite $$suite -- \
			$(PY) -m pytest -m stock -o timeout=900 -p no:cacheprovider $(PYTEST_ARGS) || exit 1; \
	done

# Two network namespaces, real rules, real packets, and what XDP dropped of them. Needs root.
demo: setup
	$(PY) scripts/demo.py

# Side by side with iptables, nft, ipset and xdp-filter, in some six minutes; QUICK=1: in about one. Needs root.
bench: setup
	PYTHONPATH=scripts $(PY) -m bench $(if $(QUICK),--quick) $(BENCH_ARGS)

# Write what the last `make bench` found into docs/.
bench-docs: setup
	PYTHONPATH=scripts $(PY) -m bench.docs

# Time and memory of each step of the compiler, by the number of rules; as root also of load.
scaling: setup
	$(PY) scripts/scaling.py $(SCALING_ARGS)

# What of real rulesets runs in XDP, and why the rest does not; XDPTABLES_CORPUS says where they are.
coverage: setup
	$(PY) scripts/coverage.py docs/coverage.md

# How long a packet is under way between XDP and conntrack: what the window has to outlast. Needs root.
race: setup
	$(PY) scripts/race.py

# Write what is generated from the code.
docs: setup
	$(PY) scripts/match_tables.py docs/matches.md
	$(PY) scripts/readme_report.py

lint: setup
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
