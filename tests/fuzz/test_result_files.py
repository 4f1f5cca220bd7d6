"""Files of results and searches, changed or damaged, and every command that shows them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fuzzing import MODEL, RULER, changed, damaged, must_end_well, no_workers, write
from hypothesis import given, settings
from hypothesis import strategies as st
from search_files import KEY, content

from benchmark.console.main import main as sparse_bench
from benchmark.report.facts.searches import CACHE
from benchmark.tuning.cache import BestConfigCache
from benchmark.tuning.search_file import Names
from perf.made_results import make_results
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config

COMMANDS = [
    ["compare", "results"],
    ["watch", "results", "--once"],
    ["show", "results/made-up/ruler/vt"],
    ["ls", "results", "results"],
    *(
        ["export", "results", "--to", form]
        for form in ("inspect", "every-eval-ever", "skylight", "kvpress")
    ),
    ["best", "--cache-dir", f"results/{CACHE}"],
    ["best", "--cache-dir", f"results/{CACHE}", "--export", "best.json"],
    ["run", *MODEL, *RULER, "--subsets", "vt", "--results-dir", "results"],
    ["plot", "results", "--format", "svg"],
    ["report", "results"],
]

fuzz = settings.get_profile("fuzz")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    configs = {"dense": AttentionConfig(), "half": make_config("knorm", compression_ratio=0.5)}
    folder = make_results(tmp_path_factory.mktemp("fuzzed") / "results", configs, ["vt"], 3)
    names = Names(model="made-up", config_type="sink_masker", benchmark="ruler", subset="vt")
    BestConfigCache(folder / CACHE).store(names, KEY, content())
    return folder


@settings(fuzz)
@given(data=st.data())
def test_files_of_results(tmp_path, results, data):
    own = tmp_path / "results"
    for name in (own, tmp_path / "results-exports"):
        shutil.rmtree(name, ignore_errors=True)
    shutil.copytree(results, own)
    files = sorted(path for path in own.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    match data.draw(st.sampled_from(["change", "change", "damage", "folder", "remove"])):
        case "change" if path.suffix == ".json":
            write(path, data.draw(changed(json.loads(path.read_bytes()))))
        case "change" | "damage":
            path.write_bytes(data.draw(damaged(path.read_bytes())))
        case "folder":
            path.unlink()
            path.mkdir()
        case _:
            path.unlink()
    command = data.draw(st.sampled_from(COMMANDS))
    must_end_well(lambda: sparse_bench(command, no_workers))
