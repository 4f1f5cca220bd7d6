from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmark import files
from benchmark.files import (
    distinct_name,
    fingerprint,
    move_aside,
    safe_name,
    try_lock,
    write_atomic,
)
from benchmark.results.cells import CellFiles, find_results, open_results, subset_folder
from benchmark.results.key import differing_fields
from benchmark.results.records import Cost, Prediction, Record, six_digits
from benchmark.results.seal import seal, sealed_line, unseal, unsealed_line
from benchmark.tuning.evaluations import Evaluation
from benchmark.tuning.records import TrialRecord
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError

IDS = ["a", "b", "c"]
KEY = {"benchmark": {"name": "toy", "options": {"words": 3}}, "config": {"methods": []}}
SCOPE = fingerprint(KEY)
any_text = st.text(st.characters(codec=None, exclude_categories=()))


def prediction(name: str, text: str = " 7.") -> Prediction:
    return Prediction(
        id=name,
        task="task",
        context="0" * 16,
        question="How many?",
        answer_prefix="There are",
        references=["7", "seven"],
        status="ok",
        reason="",
        detail="",
        predicted_answer=text,
        thought=None,
        thought_tokens=0,
        answer_tokens=2,
        finish_reason="stop",
        density=0.25,
        attention_error=1e-3,
        union_density=0.5,
        selection_share=0.0,
        kept_share=1.0,
        prompt_tokens=100,
        removed_tokens=0,
        prompt_sha256="0" * 64,
        prompt="A text. How many? There are",
        score=None,
    )


def cost(name: str, seconds: float = 1.0) -> Cost:
    return Cost(
        id=name,
        prefill_seconds=seconds,
        decode_seconds=0.5,
        rows=4,
        peak_memory_bytes=1 << 30,
        device="cpu",
    )


@pytest.fixture
def cell(tmp_path: Path) -> CellFiles:
    files = CellFiles(tmp_path, "some config", KEY)
    files.prepare()
    return files


def _line(value: object) -> bytes:
    """A line of JSON as other programs, and earlier versions, write it."""
    return json.dumps(value).encode() + b"\n"


@given(any_text)
def test_predictions_survive_json(text: str) -> None:
    before = prediction("a", text)
    line = sealed_line(before.to_json(), SCOPE)
    assert line.count(b"\n") == 1
    assert Prediction.from_json(unsealed_line(line, SCOPE)) == before
    assert unseal(json.loads(line), SCOPE) == before.to_json()
    assert (
        Prediction.from_json(unsealed_line(_line(seal(before.to_json(), SCOPE)), SCOPE)) == before
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": "wonderful"}, "status"),
        ({"status": ["ok"]}, "status"),
        ({"reason": 17}, "reason"),
        ({"reason": "because"}, "reason"),
        ({"finish_reason": "x"}, "finish_reason"),
        ({"predicted_answer": None}, "answer"),
        ({"predicted_answer": 7}, "predicted_answer"),
        ({"reason": "error"}, "reason"),
        ({"status": "failed", "predicted_answer": None}, "reason"),
        ({"status": "failed", "reason": "error"}, "answer"),
        ({"density": "0.5"}, "density"),
        ({"density": -1}, "density"),
        ({"density": 1.5}, "density"),
        ({"density": True}, "density"),
        ({"density": float("nan")}, "density"),
        ({"attention_error": float("inf")}, "attention_error"),
        ({"kept_share": 10**400}, "kept_share"),
        ({"layer_density": [0.5, 1.5]}, "layer_density"),
        ({"layer_density": [0.5] * 513}, "layer_density"),
        ({"layer_error": [float("inf")]}, "layer_error"),
        ({"prompt_tokens": True}, "prompt_tokens"),
        ({"prompt_tokens": 3.0}, "prompt_tokens"),
        ({"prompt_tokens": -3}, "prompt_tokens"),
        ({"prompt_sha256": "0" * 63}, "prompt_sha256"),
        ({"prompt_sha256": "G" * 64}, "prompt_sha256"),
        ({"prompt_sha256": None}, "hash of the prompt"),
        ({"score": 1.01}, "score"),
        ({"id": None}, "id"),
        ({"surplus": 1}, "surplus"),
        ({"\ud800": 1}, "record"),
    ],
)
def test_a_line_of_something_else_is_no_prediction(change: dict, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Prediction.from_json({**prediction("a").to_json(), **change})


@pytest.mark.parametrize("record", [prediction("a"), cost("a")])
def test_every_field_of_a_record_is_needed(record: Record) -> None:
    document = record.to_json()
    assert list(document) == list(type(record).model_fields)
    for field in document:
        rest = {name: value for name, value in document.items() if name != field}
        if field in ("depth", "excerpt", "layer_density", "layer_error"):
            # Lines that were written before these can still be read.
            type(record).from_json(rest)
            continue
        with pytest.raises(ValueError, match=field):
            type(record).from_json(rest)
    for other in (None, 3, "x", [], [document]):
        with pytest.raises(ValueError, match="record"):
            type(record).from_json(other)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rows": True}, "rows"),
        ({"rows": 0}, "rows"),
        ({"decode_seconds": float("nan")}, "decode_seconds"),
        ({"prefill_seconds": -1.0}, "prefill_seconds"),
        ({"peak_memory_bytes": 1.0}, "peak_memory_bytes"),
        ({"device": 0}, "device"),
    ],
)
def test_a_line_of_something_else_is_no_cost(change: dict, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Cost.from_json({**cost("a").to_json(), **change})


def test_an_unanswered_sample_has_a_reason() -> None:
    about = {"id": "a", "task": "t", "context": "0", "question": "q", "answer_prefix": ""}
    about["references"] = []
    skipped = Prediction.unanswered("skipped", "prompt_too_long", "300 tokens", **about)
    assert Prediction.from_json(json.loads(_line(skipped.to_json()))) == skipped
    with pytest.raises(ValueError, match="reason"):
        Prediction.unanswered("failed", "", "", **about)


EVALUATION = {"config": "0" * 16, "prediction": prediction("a").to_json()}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"config": 3}, "config"),
        ({"surplus": 3}, "surplus"),
        ({"prediction": None}, "prediction"),
        ({"prediction": {**prediction("a").to_json(), "reason": 17}}, r"prediction\.reason"),
        ({"prediction": {"id": "a"}}, r"prediction\.task"),
    ],
)
def test_a_line_of_something_else_is_no_evaluation(change: dict, field: str) -> None:
    assert Evaluation.from_json(EVALUATION).to_json() == EVALUATION
    with pytest.raises(ValueError, match=field):
        Evaluation.from_json({**EVALUATION, **change})


MEASURED = {
    "score": 0.5,
    "density": 0.25,
    "attention_error": 0.125,
    "bytes_read": 0.5,
    "dense_difference": -0.25,
    "dense_error": 0.125,
    "samples": 4,
}
RUNG = {
    "losses": [0.625],
    "mean": MEASURED,
    "tasks": {"toy_first": {"losses": [0.625], **MEASURED}},
}
TRIAL = {
    "number": 0,
    "point": {"sink_size": 4},
    "config": make_config("sink_masker").to_json(),
    "status": "complete",
    "reason": "",
    "rungs": [RUNG],
}


def test_a_trial_survives_json() -> None:
    trial = TrialRecord.from_json(TRIAL)
    assert trial.losses == (0.625,)
    assert len(trial.id) == 16
    assert trial.to_json() == TRIAL


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"number": True}, "number"),
        ({"number": -1}, "number"),
        ({"status": "wonderful"}, "status"),
        ({"config": {"methods": [{"name": "sinc"}]}}, "sink"),
        ({"rungs": []}, "rung"),
        ({"rungs": [{**RUNG, "losses": []}]}, "losses"),
        ({"rungs": [{**RUNG, "losses": [float("nan")]}]}, "losses"),
        ({"rungs": [{**RUNG, "mean": {**MEASURED, "score": 2}}]}, "score"),
        ({"rungs": [{**RUNG, "mean": {**MEASURED, "density": -1}}]}, "density"),
        ({"rungs": [{**RUNG, "tasks": {"toy_first": MEASURED}}]}, "losses"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_a_line_of_something_else_is_no_trial(change: dict, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        TrialRecord.from_json({**TRIAL, **change})


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
        _line(prediction("b").to_json()),
        _line({**prediction("b").to_json(), "check": "0" * 16}),
        _line(seal(prediction("b").to_json(), "another cell")),
        _line(seal({**prediction("b").to_json(), "density": 1.5}, SCOPE)),
        _line(seal(prediction("of another data set").to_json(), SCOPE)),
        _line(seal(prediction("b").to_json(), SCOPE)).replace(b'{"id"', b'{"id": "a", "id"'),
        b"[" * 100_000 + b"\n",
        b"9" * 5_000 + b"\n",
    ],
)
def test_a_damaged_line_is_not_believed_and_that_is_said(
    cell: CellFiles, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a", "c"]
    cell.append([prediction(name) for name in names], [cost(name) for name in names])
    path = cell.folder / "predictions.jsonl"
    first, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + damage + last)
    predictions, costs = cell.read(IDS)
    assert predictions == {name: prediction(name) for name in names}
    assert set(costs) == set(names)
    assert "1 of 3 lines are damaged (line 2: " in caplog.text
    assert "kept as predictions.jsonl.damaged-1" in caplog.text
    assert (cell.folder / "predictions.jsonl.damaged-1").read_bytes() == first + damage + last
    assert path.read_bytes() == first + last
    caplog.clear()
    assert cell.read(IDS) == (predictions, costs)
    assert not caplog.text


def test_of_two_lines_of_a_sample_neither_is_believed(
    cell: CellFiles, caplog: pytest.LogCaptureFixture
) -> None:
    cell.append([prediction("a"), prediction("b"), prediction("a", " 8.")], [])
    assert set(cell.read(IDS)[0]) == {"b"}
    assert "sample 'a' for the second time" in caplog.text


def test_a_checksum_is_that_of_the_canonical_content() -> None:
    text = '["scope",{"a":1,"b":[0.5,null]}]'
    sealed = {"b": [0.5, None], "a": 1, "check": hashlib.sha256(text.encode()).hexdigest()[:16]}
    assert seal({"b": [0.5, None], "a": 1}, "scope") == sealed
    assert unseal(sealed, "scope") == {"b": [0.5, None], "a": 1}
    for other in ({**sealed, "a": 1.0}, {**sealed, "c": 1}, {"a": 1}, [], "x", None):
        with pytest.raises(ValueError, match=r"checksum|object"):
            unseal(other, "scope")


def test_what_is_no_file_is_moved_aside(cell: CellFiles, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(cell.folder / "predictions.jsonl")
    (cell.folder / "costs.jsonl").mkdir()
    (cell.folder / "metrics.json").symlink_to("/dev/zero")
    assert cell.read(IDS) == ({}, {})
    assert cell.read_metrics() is None
    for message in ("it is a pipe", "it is a folder", "belongs to the system"):
        assert message in caplog.text


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
    caplog.set_level(logging.INFO, logger="benchmark")
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


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_the_work_goes_on_and_that_is_said_once(
    cell: CellFiles,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    files._say_that_nothing_is_locked.cache_clear()
    for _ in range(2):
        cell.lock()
        cell.unlock()
    assert caplog.text.count(f"the file system has no locks ({os.strerror(code)})") == 1


def test_a_lock_that_may_not_be_taken_is_a_message(
    cell: CellFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match="cannot be locked: Operation not permitted"):
        cell.lock()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import sys, time; from pathlib import Path; from benchmark.files import try_lock; "
        "lock = try_lock(Path(sys.argv[1])); print(lock is not None, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], env=environment, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert try_lock(path) is None
        holder.kill()
        holder.wait()
    lock = try_lock(path)
    assert lock is not None
    lock.close()


def test_results_folder(tmp_path: Path) -> None:
    made = open_results(tmp_path / "new" / "results")
    assert open_results(made) == made
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="not a results folder"):
        open_results(foreign)
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]
    with pytest.raises(UserError, match="is not a folder"):
        open_results(foreign / "thesis.tex")
    with pytest.raises(UserError, match="belongs to the system"):
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


@given(st.text(), st.text())
@example("top 1", "top-1")
@example("小", "大")
@example("x" * 81, "y" + "x" * 80)
def test_different_labels_have_different_folders(one: str, other: str) -> None:
    names = distinct_name(one), distinct_name(other)
    assert (names[0] == names[1]) == (one == other)
    for name in names:
        assert safe_name(name) == name, "it is found again under its own name"


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
