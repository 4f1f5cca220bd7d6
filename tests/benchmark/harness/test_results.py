from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.files import fingerprint, json_line, move_aside, safe_name, write_atomic
from benchmark.provenance import differing_fields
from benchmark.records import Cost, Prediction, six_digits
from benchmark.results import CellFiles, find_results, open_results, subset_folder
from sparse_attention.errors import UserError

IDS = ["a", "b", "c"]
KEY = {"benchmark": {"name": "toy", "options": {"words": 3}}, "config": {"methods": []}}
any_text = st.text(st.characters(codec=None, exclude_categories=()))


def prediction(name: str, text: str = " 7.") -> Prediction:
    return Prediction(name, "task", "0" * 16, "ok", predicted_answer=text, density=0.25)


def cost(name: str, seconds: float = 1.0) -> Cost:
    return Cost(name, seconds, 0.5, 4, 1 << 30, "cpu")


@pytest.fixture
def cell(tmp_path: Path) -> CellFiles:
    files = CellFiles(tmp_path, "some config", KEY)
    files.prepare()
    return files


@given(any_text)
def test_predictions_survive_json(text: str) -> None:
    before = prediction("a", text)
    line = json_line(before.to_json())
    assert line.count(b"\n") == 1
    assert Prediction.from_json(json.loads(line)) == before


@pytest.mark.parametrize(
    "change",
    [
        {"status": "wonderful"},
        {"predicted_answer": None},
        {"density": "0.5"},
        {"prompt_tokens": True},
        {"surplus": 1},
        {"density": float("nan")},
    ],
)
def test_a_line_of_something_else_is_no_prediction(change: dict) -> None:
    with pytest.raises(ValueError, match=r"status|answer|field"):
        Prediction.from_json({**prediction("a").to_json(), **change})


def test_six_digits() -> None:
    assert six_digits(0.123456789) == 0.123457
    assert six_digits(1.23456789e-12) == 1.23457e-12
    assert six_digits(None) is None


def test_append_read_rewrite(cell: CellFiles) -> None:
    cell.append([prediction("c")], [cost("c")])
    cell.append([prediction("a"), prediction("b")], [cost("a"), cost("b")])
    predictions, costs = cell.read(IDS)
    assert set(predictions) == set(IDS)
    cell.rewrite(IDS, predictions, costs)
    lines = (cell.folder / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == IDS
    assert cell.read(IDS) == (predictions, costs)


@settings(max_examples=40)
@given(data=st.data())
def test_a_torn_line_costs_only_itself(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cell = CellFiles(tmp_path_factory.mktemp("cell"), "x", KEY)
    cell.prepare()
    cell.append([prediction("a"), prediction("b"), prediction("c")], [cost("a")])
    path = cell.folder / "predictions.jsonl"
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    predictions, _ = cell.read(IDS)
    whole = content[:cut].count(b"\n")
    assert list(predictions) == IDS[:whole]
    cell.append([prediction(name) for name in IDS[whole:]], [])
    assert path.read_bytes() == content
    assert not list(cell.folder.glob("*.damaged-*"))


@pytest.mark.parametrize(
    "damage",
    [
        b"not json\n",
        b"{}\n",
        b"[]\n",
        b"\xff\xfe\n",
        b"\n",
        json_line({**prediction("a").to_json(), "id": "of another data set"}),
        json_line(prediction("a").to_json()),
        b"[" * 100_000 + b"\n",
    ],
)
def test_damage_is_moved_aside_and_said(
    cell: CellFiles, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    cell.append([prediction("a")], [cost("a")])
    path = cell.folder / "predictions.jsonl"
    content = path.read_bytes() + damage
    path.write_bytes(content)
    predictions, costs = cell.read(IDS)
    assert predictions == {}
    assert set(costs) == {"a"}
    assert "damaged" in caplog.text
    assert (cell.folder / "predictions.jsonl.damaged-1").read_bytes() == content
    path.write_bytes(damage)
    cell.read(IDS)
    assert len(list(cell.folder.glob("predictions.jsonl.damaged-*"))) in (1, 2)


def test_a_cost_may_be_written_twice(cell: CellFiles) -> None:
    cell.append([], [cost("a", 1.0)])
    cell.append([prediction("a")], [cost("a", 2.0)])
    assert cell.read(IDS)[1]["a"].prefill_seconds == 2.0


@pytest.mark.parametrize("foreign", ["{}", "nonsense", None])
def test_a_folder_of_another_key_is_moved_aside(
    cell: CellFiles, foreign: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    cell.append([prediction("a")], [cost("a")])
    key = cell.folder / "key.json"
    if foreign is None:
        key.unlink()
    else:
        key.write_text(foreign)
    cell.prepare()
    assert cell.read(IDS) == ({}, {})
    aside = cell.folder.with_name(f"{cell.folder.name}.damaged-1")
    assert (aside / "predictions.jsonl").exists()
    assert "moved to" in caplog.text


def test_another_setting_is_another_result_and_says_which(
    cell: CellFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    changed = {**KEY, "benchmark": {"name": "toy", "options": {"words": 4}}}
    other = CellFiles(cell.subset_folder, cell.label, changed)
    other.prepare()
    assert other.folder != cell.folder
    assert "benchmark.options.words: 3 there, 4 now" in caplog.text
    (found,) = find_results(cell.subset_folder, KEY)
    assert found.folder == cell.folder
    assert find_results(cell.subset_folder, {**KEY, "config": 1}) == []


@given(st.dictionaries(st.text(), st.integers()), st.dictionaries(st.text(), st.integers()))
def test_differing_fields_are_none_exactly_for_equal_documents(ours: dict, theirs: dict) -> None:
    assert (not list(differing_fields(ours, theirs))) == (ours == theirs)
    assert (fingerprint(ours) == fingerprint(theirs)) == (ours == theirs)


def test_a_second_writer_is_kept_out(cell: CellFiles) -> None:
    cell.lock()
    second = CellFiles(cell.subset_folder, cell.label, KEY)
    with pytest.raises(UserError, match="another process is working on"):
        second.lock()
    cell.unlock()
    second.lock()
    second.unlock()


def test_results_folder(tmp_path: Path) -> None:
    made = open_results(tmp_path / "new" / "results")
    assert open_results(made) == made
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="not a results folder"):
        open_results(foreign)
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]
    with pytest.raises(UserError, match="is a file"):
        open_results(foreign / "thesis.tex")
    with pytest.raises(UserError, match="cannot be written"):
        open_results(Path("/proc/results"))
    (made / "sparse-bench-results.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="format 99"):
        open_results(made)


@given(st.text())
def test_names_are_safe_in_a_path(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe) <= 80
    assert "/" not in safe
    assert not safe.startswith(".")
    assert safe_name(safe) == safe


def test_a_path_as_model_name_stays_inside(tmp_path: Path) -> None:
    folder = subset_folder(tmp_path, "/models/../llama/", "toy", "..")
    assert folder.resolve().is_relative_to(tmp_path.resolve())
    assert len(folder.relative_to(tmp_path).parts) == 3


def test_move_aside_counts(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "x").write_text("")
        assert move_aside(tmp_path / "x").name == f"x.damaged-{number}"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "text")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["x"]
