from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmark.files import fingerprint
from benchmark.report import load_results
from benchmark.report.frames.columns import CELL, PREDICTION
from benchmark.results.key import FORMAT
from benchmark.results.records import Cost, Prediction
from benchmark.run.matrix import MatrixResult
from sparse_attention.errors import UserError


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


def cell_of(results: Path, label: str) -> Path:
    (found,) = results.glob(f"made-up/ruler/vt/{label}-*")
    return found


def test_cells_are_rows_with_the_documented_columns(finished: MatrixResult) -> None:
    frame = load_results(finished.results_dir)
    assert list(frame.columns) == list(CELL)
    assert list(frame["config"]) == ["dense", "edges"]
    assert list(frame["method"]) == ["dense", "sink+local"]
    expected = finished.to_frame().set_index("config")
    got = frame.set_index("config")
    shared = ["score", "score_low", "score_high", "dense_difference", "density", "attention_error"]
    pd.testing.assert_frame_equal(
        got[shared].reset_index(drop=True), expected.loc[got.index, shared].reset_index(drop=True)
    )
    assert (got["bytes_read"] == got["union_density"] + got["selection_share"]).all()
    assert frame.attrs["left_out"] == []


def test_predictions_are_rows_with_their_costs(finished: MatrixResult) -> None:
    frame = load_results(finished.results_dir, level="prediction")
    assert list(frame.columns) == list(PREDICTION)
    assert set(Prediction.model_fields) | set(Cost.model_fields) <= set(PREDICTION)
    assert len(frame) == 16
    cells = load_results(finished.results_dir).set_index("config")
    means = frame.groupby("config")["score"].mean()
    assert means.to_dict() == pytest.approx(cells["score"].to_dict())
    assert (frame["rows"] == 2).all()
    assert frame["references"].map(len).eq(1).all()


@pytest.mark.parametrize(("part", "rows"), [("made-up", 8), ("made-up/ruler/vt", 4)])
def test_a_part_of_a_folder(made: Path, part: str, rows: int) -> None:
    assert len(load_results(made / part)) == rows
    cell = next((made / "made-up/ruler/vt").glob("half-*"))
    for place in (cell, cell / "key.json"):
        if place.is_dir():
            assert list(load_results(place)["config"]) == ["half"]


def test_what_is_half_done_has_counts_and_no_score(results: Path) -> None:
    cell = cell_of(results, "half")
    (cell / "metrics.json").unlink()
    lines = (cell / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    (cell / "predictions.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:40])
    row = load_results(results).query("status == 'unfinished'").iloc[0]
    assert (row["config"], row["samples"], row["answered"], row["missing"]) == ("half", 6, 2, 4)
    assert pd.isna(row["score"])
    assert 0 < row["density"] < 1
    predictions = load_results(cell, "prediction")
    assert len(predictions) == 2
    assert predictions.attrs["left_out"] == []


def test_what_is_damaged_is_left_out_and_said(results: Path, caplog) -> None:
    metrics = cell_of(results, "half") / "metrics.json"
    metrics.write_text(metrics.read_text().replace("knorm", "norm"))
    lines = cell_of(results, "top") / "predictions.jsonl"
    lines.write_text(lines.read_text().replace('"score":1.0', '"score":0.5', 1))
    with caplog.at_level(logging.WARNING):
        cells = load_results(results)
        predictions = load_results(results, "prediction")
    assert len(cells) == 7
    (sentence,) = cells.attrs["left_out"]
    assert "half" in sentence
    assert "checksum" in sentence
    assert sentence in caplog.text
    assert len(predictions) == 7 * 6 - 1
    assert any("1 lines" in sentence for sentence in predictions.attrs["left_out"])


def test_earlier_formats_are_read(results: Path) -> None:
    cell = cell_of(results, "half")
    key = {**json.loads((cell / "key.json").read_text()), "format": FORMAT - 1}
    (cell / "key.json").write_text(json.dumps(key))
    lines = (cell / "predictions.jsonl").read_text().splitlines()
    earlier = [json.loads(line) for line in lines]
    for record in earlier:
        del record["question"], record["check"]
    (cell / "predictions.jsonl").write_text("\n".join(map(json.dumps, earlier)))
    cell.rename(cell.with_name(f"half-{fingerprint(key)[:8]}"))
    cells = load_results(results)
    assert sorted(cells["format"].unique()) == [FORMAT - 1, FORMAT]
    assert cells.query(f"format < {FORMAT}")["score"].notna().all()
    predictions = load_results(results, "prediction").query("subset == 'vt' and config == 'half'")
    assert len(predictions) == 6
    assert predictions["question"].isna().all()
    document = json.loads(next(results.glob("*/*/vt/half-*/metrics.json")).read_text())
    del document["counts"]
    next(results.glob("*/*/vt/half-*/metrics.json")).write_text(json.dumps(document))
    again = load_results(results)
    assert len(again) == 7
    assert "with other fields" in again.attrs["left_out"][0]


def test_folders_that_are_no_results(tmp_path: Path, made: Path) -> None:
    with pytest.raises(UserError, match="it is empty"):
        load_results(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="it holds other files"):
        load_results(tmp_path)
    with pytest.raises(UserError, match=r"results folders in it: .*results"):
        load_results(made.parent)
    with pytest.raises(UserError, match="no results folder"):
        load_results(tmp_path / "absent")
    with pytest.raises(UserError, match=r"unknown level 'cells'.*'cell'"):
        load_results(made, "cells")  # type: ignore[arg-type]
