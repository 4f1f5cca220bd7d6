"""What a matrix gives back: its table, and the best of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from local_pool import LocalPool

from benchmark.executor import BenchmarkExecutor
from benchmark.run.finish import CellResult
from benchmark.run.result import MatrixResult
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError

LABELS = ["dense", "edges", "oracle_top_k"]


@pytest.fixture(scope="module")
def result(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> MatrixResult:
    folder = tmp_path_factory.mktemp("matrix") / "results"
    edges = make_config("sink_local", sink_size=2, window_size=4)
    return BenchmarkExecutor([], folder, quiet=True, pool=LocalPool).run_benchmark_matrix(
        str(tiny_model),
        ["dense", ("edges", edges), "oracle_top_k"],
        [("toy", ["first", "broken"], {"contexts": 4})],
    )


def test_a_row_for_each_cell(result: MatrixResult, tiny_model: Path) -> None:
    frame = result.to_frame()
    assert list(frame["config"]) == 2 * LABELS
    assert list(frame["subset"]) == 3 * ["first"] + 3 * ["broken"]
    assert set(frame["model"]) == {str(tiny_model)}
    assert list(frame["status"]) == [cell.status for cell in result.cells]
    for _, row in frame[frame["subset"] == "first"].iterrows():
        metrics = json.loads((Path(row["folder"]) / "metrics.json").read_bytes())
        assert row["config"] == metrics["config"]
        assert row["samples"] == metrics["score"]["samples"] == 8
        assert row["score"] == metrics["score"]["mean"]
        assert [row["score_low"], row["score_high"]] == metrics["score"]["interval"]
        assert row["density"] == metrics["density"]
        if row["config"] == "dense":
            assert math.isnan(row["dense_difference"])
        else:
            assert row["dense_difference"] == metrics["dense_difference"]["mean"]
            assert row["attention_error"] == metrics["attention_error"]
    failed = frame[frame["subset"] == "broken"]
    assert set(failed["status"]) == {"failed"}
    assert failed["score"].isna().all()
    assert failed["message"].str.contains("no metric for broken").all()


def test_it_is_shown_as_a_table(result: MatrixResult) -> None:
    head, *lines = str(result).splitlines()
    assert head.split()[:5] == ["model", "benchmark", "subset", "config", "status"]
    for absent in ("held_out", "folder", "_low"):
        assert absent not in head
    frame = result.to_frame()
    for line, row in zip(lines, frame.itertuples(), strict=True):
        if row.subset == "first":
            interval = f"{row.score:.3f} [{row.score_low:.2f}, {row.score_high:.2f}]"
            assert interval in line
        else:
            assert line.split()[6] == "-"
    shown = result._repr_html_()
    assert shown.count("<tr") == 1 + len(lines)
    for label in LABELS:
        assert shown.count(f"<td>{label}</td>") == 2
    assert "\x1b" not in str(matrix(cell("\x1b[2J", 0.5, 0.5)))
    assert "<b>" not in matrix(cell("<b>", 0.5, 0.5))._repr_html_()


def test_what_was_run_is_there(result: MatrixResult) -> None:
    assert result.cells[0].attention == AttentionConfig()
    assert result.cells[2].attention == make_config("oracle_top_k")


def estimate(mean: float) -> dict[str, Any]:
    return {"mean": mean, "interval": [mean - 0.1, mean + 0.1], "samples": 10}


def cell(
    label: str,
    score: float,
    density: float,
    *,
    dense: float | None = 0.8,
    held_out: float | None = None,
    subset: str = "vt",
    status: str = "complete",
    config: AttentionConfig | None = None,
) -> CellResult:
    def estimates(found: float) -> dict[str, Any]:
        difference = None if dense is None else estimate(found - dense)
        return {"score": estimate(found), "dense_difference": difference}

    metrics = {
        **estimates(score),
        "held_out": None if held_out is None else estimates(held_out),
        "density": density,
        "attention_error": 2 * density,
    }
    attention = config or make_config("quest")
    return CellResult("m", "ruler", subset, label, Path(label), status, "", metrics, attention)


def matrix(*cells: CellResult) -> MatrixResult:
    return MatrixResult(Path("results"), cells)


CELLS = (
    cell("dense", 0.8, 1.0, dense=None, config=AttentionConfig()),
    cell("half", 0.79, 0.5),
    cell("tenth", 0.74, 0.1),
    cell("flattered", 0.9, 0.05, held_out=0.5),
    cell("bound", 0.8, 0.01, config=make_config("oracle_top_k")),
    cell("broken", 0.8, 0.01, status="incomplete"),
)


@pytest.mark.parametrize(
    ("arguments", "best"),
    [
        ({}, "half"),
        ({"tolerance": 0.07}, "tenth"),
        ({"tolerance": 0.4}, "flattered"),
        ({"oracles": True}, "bound"),
        ({"objective": "benchmark_score"}, "dense"),
        ({"objective": "density"}, "flattered"),
        ({"objective": "score_at_density", "density_budget": 0.2}, "tenth"),
        ({"objective": "score_at_density", "density_budget": 0.7}, "half"),
        ({"objective": "attention_error"}, "dense"),
        ({"objective": "combined_score", "penalty": 0.1}, "dense"),
        ({"objective": "pareto", "tolerance": 0.02}, "half"),
    ],
)
def test_the_best(arguments: dict[str, Any], best: str) -> None:
    chosen = matrix(*CELLS).best(**arguments)
    assert [found.config for found in chosen.cells] == [best]
    assert best in str(chosen)


def test_the_best_of_each_subset(caplog: pytest.LogCaptureFixture) -> None:
    others = (
        cell("half", 0.3, 0.5, subset="cwe"),
        cell("dense", 0.8, 1.0, dense=None, config=AttentionConfig(), subset="cwe"),
        cell("half", 0.3, 0.5, subset="qa_1"),
    )
    chosen = matrix(*CELLS, *others).best()
    assert [(found.subset, found.config) for found in chosen.cells] == [
        ("vt", "half"),
        ("cwe", "dense"),
    ]
    assert "m ruler/cwe: dense reads 100% of the keys" in caplog.text
    assert "m ruler/qa_1: no cell keeps what density_at_score asks" in caplog.text


@pytest.mark.parametrize(
    ("cells", "arguments", "message"),
    [
        (CELLS, {"objective": "density_at_scores"}, "Did you mean 'density_at_score'"),
        (CELLS, {"tolerance": 2}, "tolerance"),
        (CELLS, {"tolerence": 0.1}, "tolerence"),
        ((cell("half", 0.8, 0.5, dense=None),), {}, "run dense too"),
        (CELLS[4:], {}, "no complete cell that can be deployed"),
    ],
)
def test_no_best(cells: tuple[CellResult, ...], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        matrix(*cells).best(**arguments)
