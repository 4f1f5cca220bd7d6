from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from local_pool import LocalPool
from small_matrix import run_toy
from toy_benchmark import save_tiny_model

from benchmark.console.main import main
from benchmark.run.matrix import MatrixResult
from sparse_attention.hf.adapter import HuggingFaceAdapter


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def adapter(tiny_model: Path) -> HuggingFaceAdapter:
    return HuggingFaceAdapter.load(str(tiny_model))


@pytest.fixture(scope="session")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> MatrixResult:
    """Results of dense attention and of ``edges``, to be copied before they are changed."""
    return run_toy(tiny_model, tmp_path_factory.mktemp("finished") / "results")


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that runs the embedded model on the sample data of a benchmark, in this process.

    Returns the results folder; a run with the same arguments is not repeated.  Its report has no
    pictures, which take longer than the answers.
    """
    done: dict[tuple[str, ...], Path] = {}

    def run(name: str, *arguments: str) -> Path:
        if (name, *arguments) not in done:
            folder = tmp_path_factory.mktemp(f"run-{name}") / "results"
            command = ["run", "--quiet", "--gpu-ids", "--models", "embedded", "--benchmarks", name]
            command += ["--option", f"{name}.source=samples", "--configs", "dense", "sink_local"]
            command += ["--results-dir", str(folder), *arguments]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("benchmark.report.write.write_picture", lambda *_: None)
                assert main(command, LocalPool) == 0
            done[name, *arguments] = folder
        return done[name, *arguments]

    return run
