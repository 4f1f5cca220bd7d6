from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.report import load_results
from benchmark.report.facts.caveats import caveats
from benchmark.report.facts.front import front, verdict
from benchmark.report.facts.groups import GroupFacts, group_facts, shades
from benchmark.report.facts.needles import needle_facts
from benchmark.report.facts.searches import importance, survival
from benchmark.report.frames.load import cell_frame
from benchmark.report.frames.scan import scan_results
from benchmark.results.statistics import mean_of_estimates


def groups_of(results: Path) -> list[GroupFacts]:
    scan = scan_results(results)
    return group_facts(cell_frame(scan), {str(cell.path): cell.key for cell in scan.cells})


def test_rows_of_a_group(made: Path) -> None:
    (group,) = groups_of(made)
    assert [one.label for one in group.configurations] == ["dense", "quarter", "half", "top"]
    assert group.methods == ["dense", "knorm", "oracle_top_k"]
    assert group.differs == ""
    own = group.configurations[1]
    first, second = (own.cells[name]["score"] for name in group.subsets)
    assert own.cells[""]["score"] == pytest.approx(mean_of_estimates([first, second]), rel=1e-5)
    assert own.cells[""]["samples"] == 12
    assert sorted(shades(group).items()) == [
        ("dense", 1.0),
        ("half", 1.0),
        ("quarter", 0.0),
        ("top", 1.0),
    ]


def test_the_front_has_no_oracle_and_nothing_that_is_beaten(made: Path) -> None:
    (group,) = groups_of(made)
    found = front(group, "", "density")
    assert all(not one.oracle for one in found)
    places = [(one.cells[""]["density"], one.cells[""]["score"][0]) for one in found]
    assert places == sorted(places)
    for one in group.configurations:
        if not one.oracle:
            density, score = one.cells[""]["density"], one.cells[""]["score"][0]
            assert any(x <= density and y >= score for x, y in places)


def test_what_to_take_keeps_the_score(made: Path) -> None:
    (group,) = groups_of(made)
    chosen = verdict(group)
    kept = [
        one.label
        for one in group.configurations
        if not (one.is_dense or one.oracle) and one.cells[""]["dense_difference"][0] >= -0.02
    ]
    assert (chosen is None) == (not kept)
    if chosen is not None:
        assert chosen.chosen.label in kept


def test_caveats_are_said(made: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(made, tmp_path / "results"))
    for cell in results.glob("made-up/ruler/*/dense-*"):
        shutil.rmtree(cell)
    shutil.rmtree(next(results.glob("made-up/ruler/vt/half-*")))
    (next(results.glob("made-up/ruler/vt/quarter-*")) / "metrics.json").unlink()
    scan = scan_results(results)
    cells = cell_frame(scan)
    (group,) = group_facts(cells, {str(cell.path): cell.key for cell in scan.cells})
    said = " ".join(caveats(group, cells))
    assert "Dense attention was not run" in said
    assert "6 independent contexts" in said
    assert "quarter on vt: not finished" in said
    assert "without a mean: half" in said
    assert "cannot be deployed: top" in said
    assert verdict(group) is None


def test_groups_that_differ_say_in_what(made: Path, tmp_path: Path) -> None:
    from perf.made_results import make_results
    from sparse_attention.config import AttentionConfig

    results = Path(shutil.copytree(made, tmp_path / "results"))
    make_results(results, {"dense": AttentionConfig()}, ["vt"], 4)
    assert [group.differs for group in groups_of(results)] == ["samples 6", "samples 4"]


def trial(number: int, loss: float, rungs: int = 1, **point: object) -> dict[str, object]:
    mean = {"score": 1 - loss, "density": loss, "attention_error": 0.0, "samples": 2}
    steps = [{"losses": [loss], "mean": {**mean, "samples": 2 * (at + 1)}} for at in range(rungs)]
    return {"number": number, "point": point, "rungs": steps, "status": "complete"}


def test_what_decides_the_loss_is_important() -> None:
    trials = [trial(n, 0.1 * (n % 5), size=n % 5, other=n % 3, same=1) for n in range(30)]
    found = importance(trials)
    assert set(found) == {"size", "other"}
    assert found["size"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert importance(trials[:3]) == {}
    assert importance([trial(n, 0.5, size=n) for n in range(9)]) == {}


def test_trials_that_reach_each_rung() -> None:
    trials = [trial(0, 0.1, 3), trial(1, 0.2, 1), trial(2, 0.3, 1), trial(3, 0.3, 0)]
    expected = [
        {"samples": 2, "trials": 3},
        {"samples": 4, "trials": 1},
        {"samples": 6, "trials": 1},
    ]
    assert survival(trials) == expected


def test_needles_by_depth_and_length(made: Path) -> None:
    predictions = load_results(made, "prediction")
    (found,) = needle_facts(predictions)
    assert found["lengths"] == [1024]
    labels = [config["label"] for config in found["configs"]]
    assert labels == ["dense", "quarter", "half", "top"]
    for config in found["configs"]:
        own = predictions[predictions["config"] == config["label"]]
        assert sum(count for *_, count in config["cells"]) == len(own) == 12
        total = sum(mean * count for *_, mean, count in config["cells"])
        assert total / 12 == pytest.approx(own["score"].mean(), abs=1e-5)
    assert needle_facts(predictions.assign(depth=float("nan"))) == []
    several = predictions.assign(references=[["1", "2"]] * len(predictions))
    assert needle_facts(several) == []
