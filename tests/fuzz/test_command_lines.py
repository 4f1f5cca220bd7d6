"""Every command and program, with words that nobody would give."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest
from fuzzing import MODEL, RULER, TEXTS, must_end_well, no_workers
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.console.main import main as sparse_bench
from benchmark.console.parser import build_parser
from benchmark.embedded import MODEL_PATH
from benchmark.embedded_training import train
from benchmark.ruler import create_huggingface_dataset as ruler_builder
from benchmark.scripts import demo_optimized_benchmarks as demo
from benchmark.scripts import get_cached_config, run_optimized_benchmarks
from benchmark.suite import builder
from benchmark.suite.registry import benchmark_class
from benchmark.zero_scrolls import submission
from sparse_attention.calibration import convert_hash_weights, double_sparsity, hash_attention

Main = Callable[[list[str]], int]

fuzz = settings.get_profile("fuzz")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in parser._actions for name in action.option_strings if name[1] == "-"]


def _command_parser(name: str) -> argparse.ArgumentParser:
    (commands,) = build_parser()._subparsers._group_actions  # type: ignore[union-attr]
    return commands.choices[name]  # type: ignore[index]


TEXT = ["--model", "MODEL", "--text", "text.txt", "--output", "out.safetensors"]
LOOKING = {
    "validate": ["study.yaml"],
    "plot": ["results"],
    "compare": ["results", "results"],
    "watch": ["results", "--once"],
    "show": ["results"],
    "export": ["results", "--to", "inspect"],
}
COMMANDS: dict[str, tuple[Main, list[str], list[str]]] = {
    "run": (
        lambda a: sparse_bench(a, no_workers),
        ["run", *MODEL, *RULER, "--subsets", "vt"],
        _options(_command_parser("run")),
    ),
    "tune": (
        lambda a: sparse_bench(a, no_workers),
        ["tune", *MODEL, *RULER, "--subsets", "vt", "--configs", "magic_pig"],
        _options(_command_parser("tune")),
    ),
    "best": (sparse_bench, ["best"], _options(_command_parser("best"))),
    "ls": (sparse_bench, ["ls"], []),
    "report": (sparse_bench, ["report"], []),
    **{
        name: (sparse_bench, [name, *words], _options(_command_parser(name)))
        for name, words in LOOKING.items()
    },
    "optimized": (
        lambda a: run_optimized_benchmarks.main(a, no_workers),
        [*MODEL, *RULER, "--subsets", "vt", "--configs", "magic_pig"],
        _options(run_optimized_benchmarks.build_parser()),
    ),
    "cached": (get_cached_config.main, [], _options(get_cached_config.build_parser())),
    "demo": (demo.main, [], _options(demo.build_parser())),
    "longbench": (
        lambda a: builder.main(benchmark_class("longbench"), a),
        ["--source", "samples", "--output", "out", "--subsets", "qasper"],
        ["--source", "--output", "--subsets", "--option"],
    ),
    "ruler": (
        ruler_builder.main,
        ["--tokenizer", "embedded", "--lengths", "256", "--output", "out", "--tasks", "vt"],
        _options(ruler_builder._parser()),
    ),
    "submission": (submission.main, ["verify"], ["--source"]),
    "convert": (convert_hash_weights.main, [], ["--activation"]),
    "channels": (double_sparsity.main, TEXT, ["--device", "--dtype", "--length", "--blocks"]),
    "hashes": (
        hash_attention.main,
        TEXT,
        [
            "--device",
            "--dtype",
            "--length",
            "--blocks",
            "--bits",
            "--hidden",
            "--depth",
            "--activation",
            "--share",
        ],
    ),
    "train": (
        train.main,
        ["--output", "out"],
        ["--seed", "--steps", "--workers", "--batch-tokens", "--max-length", "--decay-share"],
    ),
}


@st.composite
def arguments(draw: st.DrawFn, base: list[str], options: list[str]) -> list[str]:
    """A good command line with one to three things changed."""
    given_arguments = list(base)
    for _ in range(draw(st.integers(1, 3))):
        text = draw(st.sampled_from(TEXTS) | st.text(max_size=8))
        what = draw(st.sampled_from(["option", "option", "option", "word", "replace"]))
        if what == "option" and options:
            name = draw(st.sampled_from(options))
            if name in given_arguments:
                given_arguments[given_arguments.index(name) + 1 :][:1] = [text]
            given_arguments += [name, text]
        elif what == "replace" and given_arguments:
            given_arguments[draw(st.integers(0, len(given_arguments) - 1))] = text
        else:
            given_arguments.append(text)
    return [str(MODEL_PATH) if one == "MODEL" else one for one in given_arguments]


@pytest.mark.parametrize("command", COMMANDS)
@settings(fuzz)
@given(data=st.data())
def test_command_lines(command, tmp_path, data):
    main, base, options = COMMANDS[command]
    (tmp_path / "text.txt").write_text("One two three. " * 300)
    found = data.draw(arguments(base, options))
    must_end_well(lambda: main(found))
