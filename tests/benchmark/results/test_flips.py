"""One byte or field of one file of a results folder, or of a cache, is another: what is read then
is what was written, or it is left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from flips import flipped
from hypothesis import given, settings
from hypothesis import strategies as st
from local_pool import LocalPool
from small_matrix import run_toy
from toy_benchmark import Toy

from benchmark.report.frames.scan import scan_results
from benchmark.report.groups import group_results
from benchmark.report.write import write_report
from benchmark.results.cells import CellFiles
from benchmark.results.journal import append_records, read_records
from benchmark.run.matrix import MatrixResult
from benchmark.tuning.cache import BestConfigCache
from benchmark.tuning.evaluations import Evaluation
from benchmark.tuning.records import TrialRecord, ended_trial
from benchmark.tuning.search_file import Names
from sparse_attention.config_types import make_config

FILES = ("key.json", "predictions.jsonl", "costs.jsonl", "metrics.json")
IDS = [sample.id for sample in Toy().samples("first", None)]


@settings(max_examples=40)
@given(data=st.data(), name=st.sampled_from(FILES))
def test_of_a_results_folder(
    data: st.DataObject, name: str, finished: MatrixResult, tmp_path_factory
) -> None:
    results = tmp_path_factory.mktemp("flipped") / "results"
    shutil.copytree(finished.results_dir, results)
    cell = results / finished.cells[1].folder.relative_to(finished.results_dir)
    key = json.loads((cell / "key.json").read_bytes())
    files = CellFiles(cell.parent, "edges", key)
    assert files.folder == cell
    before = files.read(IDS)
    assert len(before[0]) == len(before[1]) == len(IDS)
    (cell / name).write_bytes(data.draw(flipped((cell / name).read_bytes())))
    found = group_results(scan_results(results))
    (group,) = found.groups
    shown = {row.label: row.metrics["first"].to_json() for row in group.rows.values()}
    expected = {one.config: one.metrics for one in finished.cells}
    assert shown["dense"] == expected["dense"]
    assert shown.get("edges", expected["edges"]) == expected["edges"]
    assert len(shown) + len(found.left_out) == 2
    if name in FILES[1:3]:
        assert len(shown) == 2
    files.prepare()
    for now, then in zip(files.read(IDS), before, strict=True):
        assert now.items() <= then.items()
    metrics = files.read_metrics()
    assert metrics is None or metrics.to_json() == expected["edges"]


def test_of_a_results_folder_s_own_file(finished: MatrixResult, tmp_path: Path) -> None:
    shutil.copytree(finished.results_dir, tmp_path / "results")
    (tmp_path / "results" / "sparse-bench-results.json").write_text('{"format": 4, "format": 4}')
    with pytest.raises(ValueError, match="keys twice in one object"):
        group_results(scan_results(tmp_path / "results"))


@pytest.mark.parametrize("name", FILES)
def test_a_run_makes_up_for_what_is_not_believed(
    name: str, finished: MatrixResult, tiny_model: Path, tmp_path: Path, caplog
) -> None:
    results = tmp_path / "results"
    shutil.copytree(finished.results_dir, results)
    cell = results / finished.cells[1].folder.relative_to(finished.results_dir)
    content = (cell / name).read_bytes()
    numbers = {"0": "1", "5": "6", "3": "4", "7": "8"}
    line = content[: content.find(b"\n", len(content) // 2)]
    place = max(line.rfind(number.encode()) for number in numbers)
    flip = numbers[chr(content[place])].encode()
    (cell / name).write_bytes(content[:place] + flip + content[place + 1 :])
    before = LocalPool.requests
    again = run_toy(tiny_model, results)
    assert again.exit_code == 0
    assert "damaged" in caplog.text or "is not a result of this cell" in caplog.text
    asked = {"key.json": 4, "predictions.jsonl": 1, "costs.jsonl": 1, "metrics.json": 0}[name]
    assert LocalPool.requests - before == asked, "only what is not believed is asked again"
    key = json.loads((cell / "key.json").read_bytes())
    _, costs = CellFiles(cell.parent, "edges", key).read(IDS)
    assert costs.keys() == set(IDS)
    assert all(cost.decode_seconds > 0 for cost in costs.values())
    assert again.cells[1].metrics is not None
    assert again.cells[1].metrics["costs"]["samples"] == len(IDS)
    assert again.cells[1].metrics["score"] == finished.cells[1].metrics["score"]
    assert len(write_report(group_results(scan_results(results)))) == 1


NAMES = Names(model="m", config_type="sink_masker", benchmark="toy", subset="first")
KEY = {
    "objective": {"name": "density"},
    "tasks": {"toy_first": {"format": 4, "tuning_ids": ["a"], "held_out_ids": ["b"]}},
}
MEASURED = {"score": 0.5, "density": 0.25, "attention_error": 0.125, "samples": 4}
ON_TASK = {"losses": [0.25], **MEASURED}
RUNG = {"losses": [0.25], "mean": MEASURED, "tasks": {"toy_first": ON_TASK}}


def trial(number: int) -> dict:
    config = make_config("sink_masker", sink_size=4 + number)
    point = {"sink_size": 4 + number}
    about = {"status": "complete", "reason": "", "rungs": [RUNG]}
    return {"number": number, "point": point, "config": config.to_json(), **about}


def search() -> dict:
    first = trial(0)
    estimate = {"mean": 0.5, "interval": [0.25, 0.75], "level": 0.95, "method": "wilson"}
    estimate |= {"samples": 4, "contexts": 4}
    held_out = {"status": "complete", "score": estimate, "dense_difference": None}
    held_out |= {"density": 0.25, "attention_error": 0.125}
    best = {"config": first["config"], "description": "sink", "point": first["point"], "trial": 0}
    best |= {"loss": [0.25], "feasible": True, "remarks": [], "tuning": MEASURED}
    task = {"tuning": ON_TASK, "best_trial": 0, "loss_to_best": 0.0, "held_out": held_out}
    return {
        "best": {**best, "held_out": {"toy_first": held_out}},
        "tasks": {"toy_first": task},
        "pareto": [0],
        "trials": [first, trial(1)],
    }


@settings(max_examples=40)
@given(data=st.data())
def test_of_a_search(data: st.DataObject, tmp_path_factory) -> None:
    cache = BestConfigCache(tmp_path_factory.mktemp("cache"))
    path = cache.store(NAMES, KEY, search())
    before = cache.get(NAMES, KEY)
    assert before is not None
    path.write_bytes(data.draw(flipped(path.read_bytes())))
    found = cache.get(NAMES, KEY)
    assert found is None or found == before
    assert cache.read_all() in ([], [before])


@settings(max_examples=40)
@given(data=st.data(), kind=st.sampled_from(["trials", "evaluations"]))
def test_of_the_journals_of_a_search(
    data: st.DataObject, kind: str, finished: MatrixResult, tmp_path_factory
) -> None:
    path = tmp_path_factory.mktemp("cache") / f"{kind}.jsonl"
    if kind == "trials":
        parse = ended_trial
        records = [TrialRecord.from_json(trial(number)) for number in range(3)]
    else:
        parse = Evaluation.from_json
        folder = finished.cells[1].folder
        key = json.loads((folder / "key.json").read_bytes())
        predictions, _ = CellFiles(folder.parent, "edges", key).read(IDS)
        answers = list(predictions.values())[:3]
        records = [Evaluation(config="0" * 16, prediction=answer) for answer in answers]
    append_records(path, records, "scope")
    before = read_records(path, parse, "scope")
    assert list(before.values()) == records
    path.write_bytes(data.draw(flipped(path.read_bytes())))
    found = read_records(path, parse, "scope", repeats=True)
    assert found.items() <= before.items()
    assert len(found) >= 1, "the other lines are good"
    path.rename(path.with_name("other.jsonl"))
    assert read_records(path.with_name("other.jsonl"), parse, "another scope") == {}
