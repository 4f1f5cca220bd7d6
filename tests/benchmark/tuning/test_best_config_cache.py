from __future__ import annotations

import json
import logging
import multiprocessing
from pathlib import Path

import pytest
from search_files import KEY, TASK, content

from benchmark.results.key import FORMAT
from benchmark.results.seal import seal, unseal
from benchmark.tuning.cache import BestConfigCache
from benchmark.tuning.search_file import Names
from sparse_attention.config_types import make_config

NAMES = Names(model="some/model", config_type="magic_pig", benchmark="ruler", subset="vt")


def test_a_result_is_found_again_under_the_documented_name(tmp_path: Path):
    cache = BestConfigCache(tmp_path / "new")
    assert cache.get(NAMES, KEY) is None
    path = cache.store(NAMES, KEY, content())
    assert path.name == "some-model_magic_pig_ruler_vt.json"
    found = cache.get(NAMES, KEY)
    assert found is not None
    assert found.config == make_config("sink_masker", sink_size=4)
    for_all = Names(model="some/model", config_type="magic_pig", benchmark=None, subset=None)
    other = cache.store(for_all, KEY, content(5))
    assert other.name == "some-model_magic_pig_global.json"
    assert [result.names.task for result in cache.read_all()] == ["global", "ruler_vt"]


def test_another_setting_is_a_miss_that_names_the_field(tmp_path: Path, caplog):
    caplog.set_level(logging.INFO, "benchmark")
    cache = BestConfigCache(tmp_path)
    cache.store(NAMES, KEY, content())
    changed = {**KEY, "num_samples": 20}
    assert cache.get(NAMES, changed) is None
    assert "num_samples: 10 there, 20 now" in caplog.text
    cache.store(NAMES, changed, content(9))
    for key, size in ((KEY, 4), (changed, 9)):
        found = cache.get(NAMES, key)
        assert found is not None, "the older result is kept"
        assert found.config == make_config("sink_masker", sink_size=size)
    assert (tmp_path / "some-model_magic_pig_ruler_vt.json").exists()


def test_a_search_by_answers_of_an_earlier_format_is_named_and_kept(tmp_path: Path, caplog):
    cache = BestConfigCache(tmp_path)
    keys = [{**KEY, "tasks": {"ruler_vt": {**TASK, "format": number}}} for number in (2, FORMAT)]
    path = cache.store(NAMES, keys[0], content(1))
    old = path.read_bytes()
    assert cache.get(NAMES, keys[1]) is None
    assert f"{path.name} was found with answers of format 2" in caplog.text
    cache.store(NAMES, keys[1], content(2))
    assert old in [found.read_bytes() for found in tmp_path.glob("*.json")]
    for key, size in zip(keys, (1, 2), strict=True):
        found = cache.get(NAMES, key)
        assert found is not None
        assert found.config == make_config("sink_masker", sink_size=size)


def test_a_file_of_another_format_is_named_once_and_kept(tmp_path: Path, caplog):
    cache = BestConfigCache(tmp_path)
    path = cache.store(NAMES, KEY, content())
    text = path.read_text().replace('"format": 2', '"format": 1')
    path.write_text(text)
    assert cache.get(NAMES, KEY) is None
    assert cache.store(NAMES, KEY, content()) != path
    assert cache.read_all()[0].config == make_config("sink_masker", sink_size=4)
    assert caplog.text.count("has format 1, this version reads format 2") == 1
    assert path.read_text() == text


def test_names_that_fall_together_are_told_apart(tmp_path: Path):
    cache = BestConfigCache(tmp_path)
    twin = NAMES.model_copy(update={"model": "some-model"})
    assert twin.stem == NAMES.stem
    cache.store(NAMES, KEY, content(1))
    cache.store(twin, KEY, content(2))
    cache.store(NAMES, {**KEY, "num_samples": 3}, content(3))
    for names, size in ((NAMES, 1), (twin, 2)):
        found = cache.get(names, KEY)
        assert found is not None
        assert found.config == make_config("sink_masker", sink_size=size)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"format": 2', '"format": 3'),
        lambda text: text.replace('"sink_size": 4', '"sink_size": 5'),
        lambda text: text.replace('"methods": [', '"methods": [], "others": [', 1),
        lambda text: text.replace('"created"', '"created": "", "created"'),
        lambda text: text.replace('"check"', '"unchecked"'),
        lambda text: text.replace("sink_size", "sink_sise"),
        lambda text: text.replace('"magic_pig"', "3"),
        lambda text: text.replace('"model"', '"modell"'),
        lambda text: text.replace('"created": "', '"created": 3, "at": "'),
        lambda text: text.replace('"config": {', '"config": 3, "other": {'),
        lambda text: "{" * 100_000,
    ],
)
def test_a_damaged_file_is_reported_and_not_trusted(tmp_path: Path, damage, caplog):
    cache = BestConfigCache(tmp_path)
    path = cache.store(NAMES, KEY, content())
    text = damage(path.read_text())
    path.write_text(text)
    assert cache.get(NAMES, KEY) is None
    assert cache.read_all() == []
    assert path.name in caplog.text
    again = cache.store(NAMES, KEY, content())
    assert cache.get(NAMES, KEY) is not None
    assert again != path, "the foreign file stays"
    assert path.read_text() == text


def _store(folder: str, number: int) -> None:
    BestConfigCache(folder).store(NAMES, {**KEY, "num_samples": number}, content(number))


def test_processes_do_not_lose_each_others_results(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_store, args=(str(tmp_path), n)) for n in range(1, 6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 5
    found = BestConfigCache(tmp_path).find(NAMES)
    assert sorted(result.key["num_samples"] for result in found) == [1, 2, 3, 4, 5]
    assert all(json.loads(path.read_text()) for path in tmp_path.glob("*.json"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"best": {**content()["best"], "trial": 1}}, "the winner is not trial 1"),
        ({"best": {**content()["best"], "config": {"methods": []}}}, "the winner is not trial 0"),
        ({"best": {**content()["best"], "held_out": {}}}, "not measured on all tasks"),
        ({"pareto": [7]}, "the front has trials that were not measured"),
        ({"trials": []}, "the winner is not trial 0"),
        ({"key": {**KEY, "tasks": {}}}, "tasks that are not in the key"),
        ({"key": {**KEY, "objective": {"name": 3}}}, "key.objective.name = 3"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_a_file_that_fits_its_checksum_must_fit_together(tmp_path: Path, change, message, caplog):
    cache = BestConfigCache(tmp_path)
    path = cache.store(NAMES, KEY, content())
    document = unseal(json.loads(path.read_text()), "search")
    path.write_text(json.dumps(seal({**document, **change}, "search")))
    assert cache.read_all() == []
    assert message in caplog.text
