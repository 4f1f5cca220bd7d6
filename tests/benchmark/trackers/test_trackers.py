"""Results in experiment trackers, read back with their own clients."""

from __future__ import annotations

import shutil
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from search_files import KEY, content
from tensorboardX.proto.event_pb2 import Event

from benchmark.console.parser import build_parser
from benchmark.console.selection import select_run
from benchmark.files import fingerprint
from benchmark.report import load_results
from benchmark.report.frames.scan import scan_results
from benchmark.results.journal import append_records
from benchmark.trackers import TRACKERS
from benchmark.trackers.follow import following
from benchmark.trackers.runs import tracked_runs
from benchmark.trackers.track import track_results
from benchmark.tuning.cache import BestConfigCache
from benchmark.tuning.records import TrialRecord
from benchmark.tuning.search_file import Names, journal_stem
from perf import made_results
from perf.made_results import make_results
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    configs = {"dense": AttentionConfig(), "half": make_config("knorm", compression_ratio=0.5)}
    return make_results(tmp_path_factory.mktemp("made") / "results", configs, ["vt"], 4)


@pytest.fixture
def cells(made: Path) -> list[Path]:
    return [cell.path for cell in scan_results(made).cells]


@pytest.fixture
def half(made: Path) -> dict[str, float]:
    frame = load_results(made)
    (row,) = frame[frame["config"] == "half"].to_dict("records")
    return row


def events(folder: Path) -> Iterator[Event]:
    (path,) = folder.glob("events.out.tfevents.*")
    content, place = path.read_bytes(), 0
    while place < len(content):  # length, its checksum, event, its checksum
        (size,) = struct.unpack_from("<Q", content, place)
        yield Event.FromString(content[place + 12 : place + 12 + size])
        place += 16 + size


def test_tensorboard_has_scores_layers_and_settings(
    made: Path, cells: list[Path], half: dict[str, float]
) -> None:
    for _ in range(2):  # what is there already is replaced
        folder = track_results(made, cells, made / "cache", "tensorboard")
    runs = sorted(folder.glob("*/*"))
    assert [run.name.split("-")[0] for run in runs] == ["vt", "vt"]
    found = list(events(runs[1]))
    scalars = {
        (value.tag, event.step): value.simple_value
        for event in found
        for value in event.summary.value
        if value.HasField("simple_value")
    }
    assert scalars["score", 0] == pytest.approx(half["score"])
    assert scalars["dense_difference_low", 0] == pytest.approx(half["dense_difference_low"])
    assert scalars["layer_density", 31] == pytest.approx(half["layer_density"][31])
    text = b"".join(event.SerializeToString() for event in found)
    assert b"knorm compression_ratio=0.5" in text


def test_only_the_cells_of_a_run_are_told(made: Path, tmp_path: Path) -> None:
    results = shutil.copytree(made, tmp_path / "r", ignore=shutil.ignore_patterns("tracking"))
    (cell,) = results.glob("*/*/*/half-*")
    folder = track_results(results, [cell], made / "cache", "tensorboard")
    assert [run.name.rpartition("-")[0] for run in folder.glob("*/*")] == ["vt-half"]


def test_trials_of_the_searches_behind_cells_are_runs_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {name: value for name, value in KEY.items() if name != "tasks"}
    tuned = {**made_results._TUNED, "search": fingerprint(own)[:8]}
    monkeypatch.setattr(made_results, "_TUNED", tuned)
    config = make_config("sink_masker", sink_size=4)
    samples = [made_results._sample("vt", number, 2, "") for number in range(2)]
    found = made_results._answers(samples, "sink", config, "")
    root = make_results(tmp_path / "results", {"dense": AttentionConfig()}, ["vt"], 2)
    ids = frozenset([samples[0].id])
    made_results.write_cell(root, "vt", "sink", config, samples, found, tuned_on=ids)
    cache = BestConfigCache(tmp_path / "cache")
    names = Names(model="made-up", config_type="sink_masker", benchmark="ruler", subset="vt")
    cache.store(names, KEY, content())
    cache.store(names.model_copy(update={"model": "another"}), KEY, content())
    *cells, trial = tracked_runs(scan_results(root), cache.folder)
    assert [run.name for run in cells] == ["vt dense", "vt sink, per task"]
    assert trial.group == f"search {journal_stem(names, KEY)}"
    assert (trial.name, trial.params["sink_size"], trial.params["is_best"]) == ("trial 0", 4, True)
    measured = {"score": 0.5, "density": 0.25, "attention_error": 0.125}
    assert trial.steps == [(4, {"loss": 0.25, **measured})]


def test_what_ends_is_told_while_a_run_goes_on(made: Path, tmp_path: Path) -> None:
    results, cache = tmp_path / "results", tmp_path / "cache"
    told = results / "tracking" / "tensorboard"

    def wait_for(pattern: str) -> list[str]:
        for _ in range(1000):
            if list(told.glob(f"{pattern}/events.out.tfevents.*")):
                break
            time.sleep(0.01)
        return sorted(run.name.rpartition("-")[0] for run in told.glob(pattern))

    with following(results, cache, "tensorboard", pause=0.01):
        shutil.copytree(made, results, ignore=shutil.ignore_patterns("tracking"))
        for path in results.glob("*/*/*/*/metrics.json"):
            path.touch()
        assert wait_for("made-up-ruler/vt-half*") == ["vt-half"]
        journal = cache / "trials" / "made-up_knorm-0123abcd.jsonl"
        journal.parent.mkdir(parents=True)
        append_records(journal, [TrialRecord.from_json(content()["trials"][0])], journal.name)
        assert wait_for(f"search-{journal.stem}/*") == ["trial-0"]


def test_mlflow(made: Path, cells: list[Path], half: dict[str, float]) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    for _ in range(2):
        folder = track_results(made, cells, made / "cache", "mlflow")
    client = tracking.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("made-up ruler")
    runs = {
        run.data.params["config"]: run for run in client.search_runs([experiment.experiment_id])
    }
    assert set(runs) == {"dense", "half"}
    assert runs["half"].data.metrics["score"] == pytest.approx(half["score"])
    layers = client.get_metric_history(runs["half"].info.run_id, "layer_density")
    assert [point.step for point in layers] == list(range(32))


def test_wandb(made: Path, cells: list[Path]) -> None:
    pytest.importorskip("wandb")
    for _ in range(2):
        folder = track_results(made, cells, made / "cache", "wandb")
    files = list(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert sorted(b'"knorm' in path.read_bytes() for path in files) == [False, True]


@pytest.mark.parametrize("name", TRACKERS)
def test_what_is_not_installed_is_said_before_anything_is_computed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for client in (name, "tensorboardX"):
        monkeypatch.setitem(sys.modules, client, None)
    words = ["run", "--models", "embedded", "--benchmarks", "ruler", "--track", name]
    with pytest.raises(UserError, match=rf"pip install 'sparse-bench\[{name}\]'"):
        select_run(build_parser().parse_args(words))
