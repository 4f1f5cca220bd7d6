"""Results in the forms of other tools."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmark.console.main import main
from benchmark.exports import FORMS
from benchmark.exports.cell import plain
from benchmark.exports.formats import export_results
from benchmark.report import load_results
from perf.made_results import make_results
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError

UUID_4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    configs = {
        "dense": AttentionConfig(),
        "half": make_config("knorm", compression_ratio=0.5),
    }
    folder = tmp_path_factory.mktemp("made") / "results"
    return make_results(folder, configs, ["vt"], 4)


def _score(made: Path, config: str) -> float:
    frame = load_results(made)
    return float(frame[frame["config"] == config]["score"].iloc[0])


def test_skylight_has_percentages_and_no_density_of_dense(made: Path, tmp_path: Path) -> None:
    [path], left_out = export_results(made, "skylight", tmp_path)
    lines = {one["baseline"]: one for one in map(json.loads, path.read_text().splitlines())}
    assert not left_out
    assert lines["dense"]["average_density"] is None
    assert 0 < lines["half"]["average_density"] <= 1
    assert lines["half"]["overall_score"] == pytest.approx(100 * _score(made, "half"))


def test_kvpress_folders(made: Path, tmp_path: Path) -> None:
    for folder in export_results(made, "kvpress", tmp_path)[0]:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["press_name"] in ("no_press", "half")
        assert len(pd.read_csv(folder / "predictions.csv")) == 4
        assert json.loads((folder / "metrics.json").read_text()) is not None


def test_every_eval_ever_has_the_mean_of_its_samples(made: Path, tmp_path: Path) -> None:
    paths = export_results(made, "every-eval-ever", tmp_path)[0]
    for record, samples in zip(paths[::2], paths[1::2], strict=True):
        document = json.loads(record.read_text())
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        scores = [line["evaluation"]["score"] for line in lines]
        [result] = document["evaluation_results"]
        assert result["score_details"]["score"] == pytest.approx(sum(scores) / len(scores))
        assert {line["evaluation_id"] for line in lines} == {document["evaluation_id"]}
        details = document["detailed_evaluation_results"]
        assert details["total_rows"] == len(lines) == 4
        assert details["file_path"] == samples.relative_to(tmp_path).as_posix()
        assert re.fullmatch(
            rf"data/ruler/local/made-up/{UUID_4}_samples.jsonl", details["file_path"]
        )


def test_every_eval_ever_is_valid_by_its_own_validator(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validator = pytest.importorskip("every_eval_ever.validator")  # for Python 3.12 and later
    paths = export_results(made, "every-eval-ever", tmp_path)[0]
    monkeypatch.chdir(tmp_path)
    assert validator.main([str(path.relative_to(tmp_path)) for path in paths]) == 0


def test_inspect_logs(made: Path, tmp_path: Path) -> None:
    for path in export_results(made, "inspect", tmp_path)[0]:
        log = json.loads(path.read_text())
        assert (log["version"], log["status"], len(log["samples"])) == (2, "success", 4)
        label = log["eval"]["task_args"]["configuration"]
        mean = log["results"]["scores"][0]["metrics"]["mean"]["value"]
        assert mean == pytest.approx(_score(made, label))


def test_half_characters_are_replaced() -> None:
    assert plain({"a\ud800": ["\udfff", 1]}) == {"a\ufffd": ["\ufffd", 1]}


def test_command(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(made), "--to", "skylight", "-o", str(tmp_path)]) == 0
    assert "leaderboard.jsonl" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"unknown format 'kvpres'\. Did you mean 'kvpress'"):
        export_results(made, "kvpres")
    for form in FORMS:
        with pytest.raises(SystemExit):
            main(["export", "--to", form])
