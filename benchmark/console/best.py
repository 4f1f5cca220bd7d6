"""``sparse-bench best``: what searches found, as a table or as configurations to run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.files import write_atomic
from benchmark.tuning.cache import BestConfigCache, CachedResult
from sparse_attention.errors import UserError
from sparse_attention.program import complain
from sparse_attention.reading import user_path

NOT_FOUND = 1
STANDARD_OUTPUT = "-"


def show_best(options: argparse.Namespace, program: str) -> int:
    """Show or export the best settings that were found; the exit code."""
    given = vars(options)
    everything = BestConfigCache(options.cache_dir).read_all()
    found = _matching(everything, given)
    if "all" not in given:
        found = _newest(found)
    if not found:
        for line in _what_there_is(given, everything):
            complain(f"{program}: {line}")
        return NOT_FOUND
    if "export" in given:
        infeasible = [result for result in found if not result.feasible]
        if infeasible and "force" not in given:
            for result in infeasible:
                what = f"{result.names.config_type} {result.names.task}: {result.remarks[0]}"
                complain(f"{program}: {what}; --force exports it all the same.")
            return NOT_FOUND
        _export(found, given["export"])
        return 0
    # Only now: an export needs no tables.
    from benchmark.report.search_table import print_results
    from benchmark.report.text_table import table_console

    print_results(found, table_console())
    return 0


def _matching(results: Sequence[CachedResult], given: Mapping[str, Any]) -> list[CachedResult]:
    """What was asked for; where no search was on a task alone, those that covered it."""
    fields = {"configs": "config_type", "models": "model"}
    found = [
        result
        for result in results
        if all(
            name not in given or getattr(result.names, field) in given[name]
            for name, field in fields.items()
        )
    ]
    if "tasks" not in given:
        return found
    alone = {(result.names.model, result.names.config_type, result.names.task) for result in found}

    def answers(result: CachedResult, task: str) -> bool:
        own = (result.names.model, result.names.config_type, task)
        return result.names.task == task or (own not in alone and result.covers(task))

    return [result for result in found if any(answers(result, task) for task in given["tasks"])]


def _newest(results: Sequence[CachedResult]) -> list[CachedResult]:
    """The newest result of each search, in the order of the names."""
    newest: dict[object, CachedResult] = {}
    for result in sorted(results, key=lambda result: result.document["created"]):
        newest[result.names] = result
    return sorted(newest.values(), key=lambda result: result.path.name)


def _export(results: Sequence[CachedResult], file: str) -> None:
    document = results[0].config.to_json() if len(results) == 1 else _named(results)
    text = json.dumps(document, indent=2) + "\n"
    if file == STANDARD_OUTPUT:
        print(text, end="")
        return
    path = user_path(file, "export file")
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise UserError(f"export file: cannot write {path}: {error.strerror}.") from error


def _named(results: Sequence[CachedResult]) -> dict[str, object]:
    """Configurations by config type and task, with the model where there are several."""
    several = len({result.names.model for result in results}) > 1
    named: dict[str, object] = {}
    for result in results:
        parts = [result.names.config_type, result.names.task]
        name = "_".join([result.names.model, *parts] if several else parts)
        if name in named:
            name = f"{name}-{result.path.stem[-8:]}"
        named[name] = result.config.to_json()
    return named


def _what_there_is(given: Mapping[str, Any], everything: Sequence[CachedResult]) -> Iterator[str]:
    kinds = {"configs": "config type", "models": "model", "tasks": "task"}
    asked = [
        f"{kind} {' or '.join(map(repr, given[name]))}"
        for name, kind in kinds.items()
        if name in given
    ]
    yield f"no cached result for {', '.join(asked) or 'anything'} in {given['cache_dir']}."
    for names in dict.fromkeys(result.names for result in everything):
        yield f"there is: {names.config_type} {names.task} ({names.model})"
    if not everything:
        yield "nothing is there; 'sparse-bench tune' fills it."
