"""Files of a model, changed or damaged: it is refused, or it answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fuzzing import changed, damaged, must_end_well, write
from gguf_files import write_gguf
from hypothesis import given, settings
from hypothesis import strategies as st
from local_pool import LocalPool
from toy_benchmark import save_tiny_model

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from sparse_attention.program import run_program

fuzz = settings.get_profile("fuzz")
QUESTIONS = BenchmarkConfig("toy", ["first"], {"contexts": 1})


def answer(model: Path) -> None:
    """Two configurations on one context, without the reports; or a message."""

    def work() -> int:
        executor = BenchmarkExecutor([], "out", quiet=True, pool=LocalPool)
        executor.run_benchmark_matrix(str(model), ["dense", "snapkv"], [QUESTIONS])
        return 0

    shutil.rmtree("out", ignore_errors=True)
    must_end_well(lambda: run_program("answer", work))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzzed") / "model"
    save_tiny_model(folder)
    return folder


@settings(fuzz)
@given(data=st.data())
def test_files_of_models(tmp_path, model, data):
    own = tmp_path / "model"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(model, own)
    path = data.draw(st.sampled_from(sorted(own.iterdir())))
    if (
        path.suffix == ".json"
        and data.draw(st.sampled_from(["change", "change", "damage"])) == "change"
    ):
        write(path, data.draw(changed(json.loads(path.read_bytes()))))
    else:
        path.write_bytes(data.draw(damaged(path.read_bytes())))
    answer(own)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    pytest.importorskip("gguf")
    return write_gguf(tmp_path_factory.mktemp("fuzzed") / "small.gguf").read_bytes()


@settings(fuzz)
@given(data=st.data())
def test_gguf_files(tmp_path, gguf, data):
    path = tmp_path / "small.gguf"
    path.write_bytes(data.draw(damaged(gguf)))
    answer(path)
