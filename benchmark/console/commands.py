"""What the commands of ``sparse-bench`` do; each returns the exit code."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmark.console.fields import given_fields
from benchmark.console.listing import LISTINGS
from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import AdapterConfig, BenchmarkConfig, RequestConfig
from benchmark.report.groups import Group, Results, read_results
from benchmark.report.sample import print_answers, read_answers
from benchmark.report.tables import print_group
from benchmark.report.write import write_report
from benchmark.results.key import FORMAT
from benchmark.run.matrix import MatrixResult
from benchmark.run.requests import PoolFactory
from benchmark.suite.options import option_value
from benchmark.suite.registry import benchmark_class, get_benchmark
from sparse_attention.config import AttentionConfig, load_configs
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.printable import terminal_text
from sparse_attention.program import complain
from sparse_attention.prompt import PromptSettings
from sparse_attention.protocol import Protocol
from sparse_attention.reading import user_folder


def run(options: argparse.Namespace, pool: PoolFactory | None = None) -> int:
    """``sparse-bench run``; ``pool`` as for ``BenchmarkExecutor``."""
    given = vars(options)
    files = named_files(given.get("config_file", []))
    names = given.get("configs") or ([] if files else ["dense"])
    executor = BenchmarkExecutor(
        given.get("gpu_ids"),
        options.results_dir,
        given.get("num_workers"),
        quiet=options.quiet,
        pool=pool,
    )
    result = executor.run_benchmark_matrix(
        options.models,
        [*((name, make_config(name)) for name in names), *files],
        benchmarks(options.benchmarks, given),
        adapter_config(options),
        given_fields(RequestConfig, options),
    )
    return show_result(result)


def adapter_config(options: argparse.Namespace) -> AdapterConfig:
    """How models are run, from the command line."""
    return AdapterConfig(
        **given_fields(AdapterConfig, options),
        prompt=PromptSettings(**given_fields(PromptSettings, options)),
        protocol=_protocol(options),
    )


def show_result(result: MatrixResult) -> int:
    """Print tables of a matrix and what is not complete; the exit code."""
    cells = [cell.folder for cell in result.cells]
    # The tables are of this run; the files beside the results have what earlier runs found too.
    folders = sorted({cell.parent.parent for cell in cells})
    found = read_results(
        result.results_dir, [cell for folder in folders for cell in sorted(folder.glob("*/*"))]
    )
    _show(read_results(result.results_dir, cells).groups, found)
    for cell in result.cells:
        if cell.status != "complete":
            place = f"{cell.model} {cell.benchmark}/{cell.subset} {cell.config}"
            complain(f"{cell.status}: {place}: {cell.message}")
    return result.exit_code


def _protocol(options: argparse.Namespace) -> Protocol:
    given = given_fields(Protocol, options)
    if given.get("press_sees_question") and given.get("sparse_from") != "generation":
        raise UserError(
            "--question-aware needs --protocol generation: presses then compress after the whole "
            "question was read with dense attention."
        )
    return Protocol(**given)


def _show(groups: Sequence[Group], files: Results) -> None:
    """Print the tables of groups, and write the reports."""
    console = Console()
    if not console.is_terminal:
        console.width = 120
    for group in groups:
        print_group(group, console)
    for path in write_report(files):
        text = terminal_text(f"report: {path}")
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for found in files.damaged:
        complain(f"left out: {found.cell}: {found.reason}")


def named_files(files: Sequence[str]) -> list[tuple[str, AttentionConfig | None]]:
    """Configurations by label from JSON files."""
    return [pair for file in files for pair in load_configs(file).items()]


def benchmarks(names: Sequence[str], given: Mapping[str, Any]) -> list[BenchmarkConfig]:
    """Benchmarks with subsets and options, from the command line."""
    options = _options(given.get("option", []), names)
    subsets = given.get("subsets")
    classes = {name: benchmark_class(name) for name in names}
    known = [subset for cls in classes.values() for subset in cls.subsets]
    for subset in subsets or ():
        if subset not in known:
            raise unknown_name(f"subset of {' and '.join(classes)}", subset, known)
    configs = []
    for name, cls in classes.items():
        chosen = None if subsets is None else [item for item in subsets if item in cls.subsets]
        if chosen == []:
            raise UserError(f"no subset of {name} is among {', '.join(subsets or ())}.")
        count = given.get("max_requests")
        generates = "samples" in get_benchmark(name, **options[name]).options
        if count is not None and count > 0 and generates:
            # More would be generated only to be left out, fewer would not do.
            options[name].setdefault("samples", count)
        configs.append(BenchmarkConfig(name, chosen, options[name]))
    return configs


def _options(texts: Sequence[str], benchmarks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options by benchmark from ``benchmark.name=value``; values are JSON, else text."""
    options: dict[str, dict[str, Any]] = {name: {} for name in benchmarks}
    for text in texts:
        path, equals, value = text.partition("=")
        benchmark, dot, name = path.partition(".")
        if not (equals and dot and name):
            raise UserError(f"option {text!r} is not of the form BENCHMARK.NAME=VALUE.")
        if benchmark not in options:
            raise unknown_name("benchmark (of those given)", benchmark, benchmarks)
        if name in options[benchmark]:
            raise UserError(f"the option {benchmark}.{name} is given twice; give it once.")
        options[benchmark].update([option_value(f"{name}={value}")])
    return options


def report(options: argparse.Namespace) -> int:
    """``sparse-bench report``; exit code 1 if something is damaged and left out."""
    found = read_results(user_folder(options.results_dir, "results folder"))
    if not found.groups:
        others = "; ".join(f"{one.cell}: {one.reason}" for one in found.left_out[:3])
        raise UserError(
            f"no finished results in {options.results_dir} that this version can show"
            f"{f' ({others})' if others else ''}."
        )
    _show(found.groups, found)
    formats = Counter(one.format for one in found.left_out if one.format is not None)
    for number, count in sorted(formats.items()):
        complain(
            f"left out: {count} results of format {number}; this version shows format {FORMAT}, "
            "the same run computes them again beside"
        )
    return int(bool(found.damaged))


def show(options: argparse.Namespace) -> int:
    """``sparse-bench show``."""
    answers = read_answers(user_folder(options.folder, "folder of answers"), options.sample)
    print_answers(answers, Console())
    return 0


def list_choices(options: argparse.Namespace) -> int:
    """``sparse-bench ls``; what a package offers but cannot be used is named on stderr."""
    catalogues = {}
    for kind, (listing, catalogue) in LISTINGS.items():
        if options.kind in (None, kind):
            print("\n".join([f"{kind}:", *(f"  {terminal_text(line)}" for line in listing())]))
            catalogues[catalogue.group] = catalogue
    complaints = [text for one in catalogues.values() for text in one.complaints()]
    for text in complaints:
        complain(f"sparse-bench: error: {text}")
    return 2 if complaints else 0
