"""A benchmark that another package adds: a folder with the usual files and one entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from contributing import install

from benchmark.console.main import main
from benchmark.suite.registry import BENCHMARKS, benchmark_class, benchmark_names, get_benchmark
from benchmark.testing import BenchmarkContract
from sparse_attention.errors import UserError

OUTSIDE = Path(__file__).parent / "outside"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package on the path, beside the metadata that an installation writes."""
    monkeypatch.syspath_prepend(str(OUTSIDE))


def test_it_is_known_by_name(capsys):
    assert "colours" in benchmark_names()
    assert main(["ls", "benchmarks"]) == 0
    assert "colours: Colours: which colour two others give" in capsys.readouterr().out
    assert main(["ls", "subsets"]) == 0
    assert "colours: mixing" in capsys.readouterr().out
    benchmark = get_benchmark("colours", source="samples")
    assert [sample.answers for sample in benchmark.read("mixing")] == [("orange",), ("green",)]


def test_it_runs(sample_run):
    results = sample_run("colours")
    (path,) = results.glob("embedded/colours/mixing/dense-*/metrics.json")
    metrics = json.loads(path.read_bytes())
    assert metrics["status"] == "complete"
    assert metrics["official"]["mixing"].keys() == {"exact_match"}


def test_its_dataset_is_built(tmp_path):
    command = [sys.executable, "-m", "colours.create_huggingface_dataset"]
    command += ["--source", "samples", "--output", str(tmp_path)]
    paths = [str(OUTSIDE), str(OUTSIDE.parents[3])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    again = get_benchmark("colours", source=str(tmp_path))
    assert again.read("mixing") == get_benchmark("colours", source="samples").read("mixing")


class TestColours(BenchmarkContract):
    names = ("colours",)

    def subsets(self):
        return [("colours", "mixing")]  # not asked of the class, which is installed for tests only


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module", "its import failed: ModuleNotFoundError"),
        ("class Mine: name = 'mine'", "it is not a subclass of Benchmark"),
        ("from benchmark.suite.base import Benchmark as Mine", "its name is None"),
        (
            "from colours.benchmark import Colours\n"
            "class Mine(Colours): name, subsets = 'mine', ()",
            "its subsets are ()",
        ),
        (
            "from colours.benchmark import Colours\n"
            "class Mine(Colours): name, summary = 'mine', ''",
            "its summary is ''",
        ),
    ],
)
def test_what_cannot_be_used_says_why(site, capsys, source, message):
    install(site, "broken", {"b": source}, "[sparse_bench.benchmarks]\nmine = broken.b:Mine\n")
    with pytest.raises(UserError) as caught:
        benchmark_class("mine")
    text = str(caught.value)
    assert "entry point 'mine = broken.b:Mine' (package broken)" in text
    assert message in text
    assert main(["ls", "benchmarks"]) == 2
    shown = capsys.readouterr()
    assert all(f"  {name}: " in shown.out for name in BENCHMARKS if name != "mine")
    assert shown.err == f"sparse-bench: error: {text}\n"
    assert main(["run", "--models", "embedded", "--benchmarks", "mine"]) == 2
    assert capsys.readouterr().err == f"sparse-bench: error: {text}\n"


def test_it_is_gone_without_the_package(monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(OUTSIDE)])
    assert "colours" not in benchmark_names()
