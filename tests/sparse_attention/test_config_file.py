"""Configurations in files."""

from __future__ import annotations

import json

import pytest

from sparse_attention import CONFIG_TYPES, UserError, load_config, make_config


@pytest.mark.parametrize("name", CONFIG_TYPES)
def test_a_configuration_and_a_searchs_result_are_read_alike(name, tmp_path):
    config, path = make_config(name), tmp_path / "config.json"
    path.write_text(json.dumps(config.to_json()))
    assert load_config(path) == config
    path.write_text(json.dumps({"best": {"config": config.to_json(), "score": 1}, "model": "m"}))
    assert load_config(str(path)) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "methods"),
        (b"null", "methods"),
        (b'{"methods": [{"name": "sinc"}]}', "sink"),
        (b'{"methods": [{"name": "sink", "sink_size": 0}]}', "sink_size"),
        (b'{"best": null}', "best"),
        (b'{"best": {"score": 1}}', "best"),
        (b'{"best": {"config": {"methods": 3}}}', "methods"),
    ],
)
def test_a_bad_file_is_one_clear_error_that_names_it(content, message, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_config(path)
    assert "config.json" in str(error.value)


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            load_config(path)
