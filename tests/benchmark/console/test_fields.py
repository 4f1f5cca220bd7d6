from __future__ import annotations

import argparse
import re
import subprocess
import sys
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict

from benchmark.console.fields import add_field, given_fields
from benchmark.console.parser import build_parser
from benchmark.console.selection import optimization_config
from benchmark.executor_config import AdapterConfig, RequestConfig
from benchmark.scripts import run_optimized_benchmarks
from benchmark.tuning.settings import OptimizationConfig
from sparse_attention.prompt import PromptSettings
from sparse_attention.protocol import Protocol


class Settings(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    count: int = 3
    """How many; 100% of ``them``."""
    share: float | None = None
    """Of all."""
    layers: tuple[int, ...] = ()
    """Which."""
    kind: Literal["round", "square"] = "round"
    """The form."""
    loud: bool = False
    """Say it."""
    safe: bool = True
    """Check it."""


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    group = parser.add_argument_group("settings")
    for field in Settings.model_fields:
        add_field(group, Settings, field, *(("--unsafe",) if field == "safe" else ()))
    return parser


def test_what_is_given_has_the_type_of_the_field(parser: argparse.ArgumentParser) -> None:
    words = "--count 5 --share 0.5 --layers 1 2 --kind square --loud --unsafe"
    given = given_fields(Settings, parser.parse_args(words.split()))
    assert Settings(**given) == Settings(
        count=5, share=0.5, layers=(1, 2), kind="square", loud=True, safe=False
    )


def test_what_is_not_given_is_left_to_the_class(parser: argparse.ArgumentParser) -> None:
    assert given_fields(Settings, parser.parse_args([])) == {}


def test_help_says_what_the_class_says(parser: argparse.ArgumentParser) -> None:
    shown = " ".join(parser.format_help().split())
    assert "How many; 100% of them. (default: 3)" in shown
    assert "The form. One of: round, square. (default: round)" in shown


def test_every_field_has_words() -> None:
    for settings in (AdapterConfig, OptimizationConfig, PromptSettings, Protocol, RequestConfig):
        for name, field in settings.model_fields.items():
            assert field.description or name in ("prompt", "protocol"), (settings, name)


def test_an_empty_command_line_means_the_settings_own_defaults() -> None:
    base = ["--models", "m", "--benchmarks", "b"]
    options = run_optimized_benchmarks.build_parser().parse_args(base)
    assert optimization_config(options) == OptimizationConfig()
    for each in (options, build_parser().parse_args(["run", *base])):
        for settings in (AdapterConfig, PromptSettings, Protocol, RequestConfig):
            assert given_fields(settings, each) == {}


def test_the_command_tune_minimises_density(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["tune", "--models", "m", "--benchmarks", "b", "--configs", "quest"]
    search = optimization_config(build_parser().parse_args(base))
    assert search == OptimizationConfig(optimization_metric="density_at_score")
    given = ["--objective", "pareto", "--trials", "3", "--samples", "9", "--per-task"]
    options = build_parser().parse_args([*base, *given])
    assert optimization_config(options) == OptimizationConfig(
        optimization_metric="pareto", num_samples=3, use_per_task_config=True
    )
    assert given_fields(RequestConfig, options) == {"max_requests": 9}


@pytest.mark.parametrize("command", ["tune", "run", "best", "report", "ls"])
def test_helps_stand_alone(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        build_parser().parse_args([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "(default: None)" not in shown
    assert "(default: info)" in shown
    for word in {
        "tune": ["(default: density_at_score)", "(default: 20)", "(default: results)"],
        "best": ["(default: ./results/hyperparameter_cache)"],
    }.get(command, []):
        assert word in shown


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        build_parser().parse_args(["--version"])
    assert re.match(r"sparse-bench \d+\.\d+\.\d+, Python 3\.\d+", capsys.readouterr().out)


@pytest.mark.parametrize(
    "module", ["benchmark.console.main", "benchmark.scripts.run_optimized_benchmarks"]
)
def test_parsers_do_not_wait_for_torch(module: str) -> None:
    program = f"import sys, {module}; print({{'torch', 'transformers'}} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert shown.stdout == "set()\n", shown.stderr
