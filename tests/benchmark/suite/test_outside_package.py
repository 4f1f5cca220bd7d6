"""A benchmark that another package adds: a folder with the usual files and one entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.console.main import main
from benchmark.suite.registry import benchmark_names, get_benchmark

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


def test_it_is_gone_without_the_package(monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(OUTSIDE)])
    assert "colours" not in benchmark_names()
