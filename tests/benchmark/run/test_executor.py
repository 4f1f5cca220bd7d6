from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from contributing import toy_source
from local_pool import LocalPool

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import AdapterConfig, BenchmarkConfig
from benchmark.report.frames.scan import scan_results
from benchmark.report.groups import group_results
from benchmark.report.write import write_report
from benchmark.results import cells
from benchmark.run import plan
from benchmark.run.requests import ContextResult, ModelFailure, PoolFactory, Request
from benchmark.run.result import MatrixResult
from benchmark.run.workers import WorkerPool
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError
from sparse_attention.protocol import Protocol
from sparse_attention.registry import METHODS, register_method

EDGES = make_config("sink_local", sink_size=2, window_size=4)
CONFIGS: list[tuple[str, AttentionConfig | None]] = [("dense", None), ("edges", EDGES)]


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path):
    def run_matrix(
        configs=CONFIGS,
        subsets: tuple[str, ...] = ("first",),
        models: tuple[str, ...] = (str(tiny_model),),
        settings: AdapterConfig | None = None,
        pool: PoolFactory = LocalPool,
        **requests: Any,
    ) -> MatrixResult:
        executor = BenchmarkExecutor([], tmp_path / "results", quiet=True, pool=pool)
        return executor.run_benchmark_matrix(
            list(models), configs, [BenchmarkConfig("toy", subsets)], settings, requests
        )

    return run_matrix


def pool_that(change: Callable[[Request, ContextResult], ContextResult]) -> PoolFactory:
    """Pools whose results ``change(request, result)`` replaces."""

    class Changed(LocalPool):
        def run(self, take):
            for request, result in super().run(take):
                yield request, change(request, result)

    return Changed


def test_a_finished_cell(run) -> None:
    result = run()
    assert result.exit_code == 0
    dense, edges = result.cells
    assert (dense.status, edges.status) == ("complete", "complete")
    names = {path.name for path in edges.folder.iterdir()}
    assert names == {"key.json", "predictions.jsonl", "costs.jsonl", "metrics.json"}
    metrics = json.loads((edges.folder / "metrics.json").read_bytes())
    assert len(metrics.pop("check")) == 16
    assert metrics == edges.metrics
    lines = [json.loads(line) for line in (edges.folder / "predictions.jsonl").open()]
    assert [line["id"] for line in lines] == [f"first-{c}-{q}" for c in range(4) for q in range(2)]
    assert metrics["score"]["mean"] == sum(line["score"] for line in lines) / 8
    assert metrics["score"]["contexts"] == 4
    assert dense.metrics["dense_difference"] is None
    difference = metrics["score"]["mean"] - dense.metrics["score"]["mean"]
    assert metrics["dense_difference"]["mean"] == pytest.approx(difference)
    assert 0 < metrics["density"] < 0.5
    assert dense.metrics["density"] == 1
    assert metrics["counts"] == {
        "samples": 8,
        "contexts": 4,
        "ok": 8,
        "truncated": 0,
        "skipped": 0,
        "failed": 0,
        "without_reference": 0,
        "missing": 0,
    }
    assert metrics["costs"]["decode_seconds"] > 0
    assert metrics["costs"]["peak_memory_bytes"] > 1 << 20


def test_only_what_is_new_is_computed(run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="benchmark")
    first = run([("edges", EDGES)])
    assert first.cells[0].metrics["dense_difference"] is None
    before = LocalPool.requests
    second = run([("dense", None)], max_requests=8)
    assert "is a new result" not in caplog.text, "there was no result of dense before"
    third = run([("dense", None), ("edges", EDGES)])
    assert "benchmark.max_requests: 8 there, None now" in caplog.text
    assert third.cells[0].folder != second.cells[0].folder
    assert third.cells[1].folder == first.cells[0].folder
    assert LocalPool.requests == before + 8, "dense twice, edges not again"
    assert third.cells[1].metrics["dense_difference"]["samples"] == 8
    fourth = run([("edges", EDGES)])
    assert fourth.cells[0].metrics == third.cells[1].metrics, "dense is found on disk"
    assert LocalPool.requests == before + 8


def test_another_protocol_is_another_result(run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="benchmark")
    first = run()
    second = run(settings=AdapterConfig(protocol=Protocol(sparse_from="generation")))
    assert {cell.folder for cell in first.cells}.isdisjoint(cell.folder for cell in second.cells)
    assert "protocol.sparse_from: 'question' there, 'generation' now" in caplog.text
    assert all(cell.folder.exists() for cell in first.cells)


def test_metrics_are_derived_again_from_the_files(run) -> None:
    result = run()
    before = LocalPool.requests
    path = result.cells[1].folder / "metrics.json"
    content = path.read_bytes()
    for damage in (None, b"{"):
        path.unlink() if damage is None else path.write_bytes(damage)
        run()
        assert path.read_bytes() == content
    assert LocalPool.requests == before


def test_failures_are_holes_and_are_tried_again(run) -> None:
    def change(request: Request, result: ContextResult) -> ContextResult:
        if request.samples[0].id == "first-1-0":
            return ContextResult.all_failed(request, "worker_died", "SIGKILL")
        return result

    result = run(pool=pool_that(change))
    assert result.exit_code == 1
    cell = result.cells[1]
    assert cell.status == "incomplete"
    assert cell.metrics["counts"]["failed"] == 2
    assert cell.metrics["failures"] == {"worker_died": 2}
    assert cell.metrics["score"]["samples"] == 6
    assert "2 failed (worker_died)" in cell.message
    before = LocalPool.requests
    again = run()
    assert again.exit_code == 0
    assert LocalPool.requests == before + 1
    assert again.cells[1].metrics["score"]["samples"] == 8


def test_a_benchmark_that_cannot_score_does_not_stop_the_others(run, tmp_path: Path) -> None:
    result = run(subsets=("broken", "second"))
    assert [cell.status for cell in result.cells] == ["failed", "failed", "complete", "complete"]
    assert result.exit_code == 1
    assert "no metric for broken" in result.cells[0].message
    assert "Traceback" in (tmp_path / "results" / "errors.log").read_text()


def test_a_model_that_cannot_be_loaded(run, tiny_model: Path, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.symlink_to(tiny_model)
    bad = tmp_path / "bad"
    shutil.copytree(tiny_model, bad)

    def change(request: Request, result: ContextResult) -> ContextResult:
        if "bad" in request.model:
            return ContextResult(model_failure=ModelFailure("odd layers", by_user=True))
        return result

    pool = pool_that(change)
    result = run(models=(str(bad), str(good)), pool=pool)
    assert [cell.status for cell in result.cells] == ["failed"] * 2 + ["complete"] * 2
    assert result.cells[0].message == "odd layers"
    with pytest.raises(UserError, match="odd layers"):
        run(models=(str(bad),), pool=pool)


def test_results_of_an_earlier_format_are_named_and_kept(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    results = tmp_path / "results"
    with monkeypatch.context() as earlier:
        for module in (cells, plan):
            earlier.setattr(module, "FORMAT", 2)
        run()
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    kept = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    found = group_results(scan_results(results))
    assert found.groups == []
    assert [one.format for one in found.left_out] == [2, 2]
    before = LocalPool.requests
    again = run()
    assert again.exit_code == 0
    assert LocalPool.requests == before + 4
    assert caplog.text.count("has results of format 2, this version writes format 4") == 1
    marker = results / cells.MARKER
    assert json.loads(marker.read_bytes()) == {"format": 2, "also": [4]}
    changed = {path for path, content in kept.items() if path.read_bytes() != content}
    assert changed == {marker}
    assert not any(cell.folder / "key.json" in kept for cell in again.cells)
    (group,) = group_results(scan_results(results)).groups
    assert list(group.subsets) == ["first"]
    before = LocalPool.requests
    run()
    assert LocalPool.requests == before
    assert caplog.text.count("this version writes format") == 1, "it is said once"
    (report,) = write_report(group_results(scan_results(results)))
    text = report.read_text()
    for one in found.left_out:
        assert f"- first/{one.cell.name}: format 2\n" in text


def test_labels_that_clean_to_one_name_are_cells_of_their_own(run) -> None:
    labels = ["top 1", "top-1", "小", "大"]
    result = run([(label, EDGES) for label in labels])
    assert [(cell.config, cell.status) for cell in result.cells] == [
        (label, "complete") for label in labels
    ]
    assert len({cell.folder for cell in result.cells}) == 4
    scores = {json.dumps(cell.metrics["score"]) for cell in result.cells}
    assert len(scores) == 1


def test_a_model_under_several_names_runs_once(
    run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tiny_model.parent)
    name = tiny_model.name
    result = run(models=(name, f"./{name}", f"{name}/"))
    assert [(cell.model, cell.status) for cell in result.cells] == [(name, "complete")] * 2
    assert caplog.text.count("are the same; it is run once") == 2


def test_copies_of_a_model_whose_folders_fall_together_are_refused(
    run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/b", "a-b"):
        shutil.copytree(tiny_model, name)
    with pytest.raises(UserError, match="'a/b' and 'a-b' have the same files"):
        run(models=("a/b", "a-b"))
    assert not (tmp_path / "results").exists()


def test_bad_input_touches_nothing(run, tmp_path: Path) -> None:
    for arguments, message in (
        ({"models": ()}, "at least one"),
        ({"subsets": ("firsd",)}, "Did you mean 'first'"),
        ({"max_requests": 0}, "max_requests"),
        ({"max_request": 1}, "max_request"),
        ({"configs": []}, "at least one"),
        ({"configs": [("a\x1b[31m", None)]}, r"label 'a\\x1b\[31m' .* cannot be shown"),
        ({"configs": [("x" * 201, None)]}, "1 to 200 characters"),
        ({"configs": [("\ud800", EDGES)]}, "printable text"),
    ):
        with pytest.raises(UserError, match=message):
            run(**arguments)
    assert not (tmp_path / "results").exists()


@pytest.fixture
def of_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AttentionConfig:
    """A method whose class is defined in the program that runs, as in a notebook."""
    script = tmp_path / "script.py"
    script.write_text(toy_source().replace("from __future__ import annotations\n", ""))
    spec = importlib.util.spec_from_file_location("__main__", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "__main__", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(METHODS, "_registered", dict(METHODS._registered))
    register_method(module.EveryNth)
    return make_config("every_nth", step=2)


def test_on_ray(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of_a_script: AttentionConfig,
) -> None:
    """Two real workers; one is killed while it works, and its samples are answered all the same.

    The code of a method that no worker can import is sent with its configuration.
    """
    killed: list[int] = []

    class KillsOne(WorkerPool):
        def run(self, take):
            for request, result in super().run(take):
                if not killed:
                    worker = next(
                        child
                        for child in psutil.Process().children(recursive=True)
                        if "WorkerProcess" in " ".join(child.cmdline())
                    )
                    worker.kill()
                    killed.append(worker.pid)
                yield request, result

    # A folder from which the packages cannot be imported by accident.
    monkeypatch.chdir(tmp_path)
    benchmark = BenchmarkConfig("toy", ["first", "second"], {"contexts": 12})
    configs = [*CONFIGS, ("mine", of_a_script)]
    arguments = [str(tiny_model)], configs, [benchmark]
    on_ray = BenchmarkExecutor([], tmp_path / "ray", 2, quiet=True, pool=KillsOne)
    result = on_ray.run_benchmark_matrix(*arguments)
    assert killed
    assert result.exit_code == 0
    assert not ray.is_initialized()
    here = BenchmarkExecutor([], tmp_path / "local", quiet=True, pool=LocalPool)
    local = here.run_benchmark_matrix(*arguments)
    for one, other in zip(result.cells, local.cells, strict=True):
        predictions = (cell.folder / "predictions.jsonl" for cell in (one, other))
        assert len({path.read_bytes() for path in predictions}) == 1
