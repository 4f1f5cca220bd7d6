# `make demo` and `make test` do all their set-up themselves.
PYTHON ?= python3
VENV ?= .venv
RESULTS ?= results/demo
RUN = $(VENV)/bin

.PHONY: demo test lint setup clean

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# Many attention configurations on RULER with the model that ships with the project.
demo: setup
	$(RUN)/sparse-bench run --models embedded --benchmarks ruler \
	  --configs dense sink_local oracle_top_k random_sampling magic_pig adaptive_sampling \
	  --max-requests 20 --results-dir $(RESULTS)

lint: setup
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

test: lint
	$(RUN)/python -m pytest -q

clean:
	rm -rf $(VENV) build *.egg-info
