# Everything starts from a bare Debian 12 with root: `make demo`, `make test`.
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: setup demo test lint clean

setup: $(VENV)/.ready

# System packages and the virtual environment; cheap when nothing changed.
$(VENV)/.ready: pyproject.toml scripts/setup.sh
	sh scripts/setup.sh $(VENV)
	touch $@

demo: setup
	$(PY) scripts/demo.py

test: setup
	$(PY) -m pytest $(PYTEST_ARGS)

lint: setup
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
