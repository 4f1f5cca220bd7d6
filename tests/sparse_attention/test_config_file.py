"""Configurations in files."""

from __future__ import annotations

import json
import os

import pytest

from sparse_attention import CONFIG_TYPES, UserError, load_config, load_configs, make_config


@pytest.mark.parametrize("name", CONFIG_TYPES)
def test_every_form_of_one_configuration_is_read_alike(name, tmp_path):
    config, path = make_config(name), tmp_path / "mine.json"
    document = config.to_json()
    for form, label in (
        (document, "mine"),
        ({"small": document}, "small"),
        ({"best": {"config": document, "loss": [1]}, "format": 1, "trials": []}, "mine"),
        ({"config": {**document, "files_sha256": {}}, "methods_sha256": "0", "format": 1}, "mine"),
        ({"best": document}, "best"),
        ({"config": document}, "config"),
    ):
        path.write_text(json.dumps(form))
        assert load_configs(path) == {label: config}
        assert load_config(str(path)) == config


def test_several_configurations_have_labels(tmp_path):
    path = tmp_path / "config.json"
    configs = {"b": make_config("sink_masker"), "a model/task": make_config("dense")}
    path.write_text(json.dumps({label: config.to_json() for label, config in configs.items()}))
    assert list(load_configs(path).items()) == list(configs.items())
    with pytest.raises(UserError, match=r"config\.json.*2 configurations \('b', 'a model/task'\)"):
        load_config(path)


DENSE = b'{"methods": []}'


@pytest.mark.parametrize("read", [load_config, load_configs])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "is not UTF-8 text"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b'{"methods": [{"name": "sink", "sink_size": ' + b"9" * 5000 + b"}]}", "not JSON.*digits"),
        (b"[]", "holds no configuration but .*methods"),
        (b"{}", "holds no configuration but .*label"),
        (b"null", "holds no configuration but None"),
        (b'"x"', "holds no configuration but 'x'"),
        (b'{"methods": [{"name": "sinc"}]}', "sink"),
        (b'{"methods": [{"name": "sink", "sink_size": 0}]}', "sink_size"),
        (b'{"methods": [{"name": "sink", "sink_size": NaN}]}', "sink_size is nan"),
        (b'{"methods": [{"name": "\\ud800"}]}', r"name holds half a character"),
        (b'{"methods": [{"name": "sink", "\\ud800": 1}]}', r"key .* holds half a character"),
        (
            b'{"methods": [{"name": "hash_attention", "weight_file": "\\ud800"}]}',
            "weight_file holds half",
        ),
        (b'{"methods": 3}', "methods"),
        (b'{"methods": {"methods": []}}', "methods"),
        (b'{"best": null}', "under 'best' no configuration but None"),
        (b'{"best": {"score": 1}}', "under 'best' .*score"),
        (b'{"best": {"config": {"methods": 3}}}', "methods"),
        (b'{"best": {"config": null}}', "under 'best' .*None"),
        (b'{"a": %s, "b": 7}' % DENSE, "under 'b' no configuration but 7"),
        (b'{"a": %s, "b": {"methods": [{"name": "sinc"}]}}' % DENSE, "configuration 'b': .*'sink'"),
        (b'{"a": %s, "b": %s, "a": %s}' % (DENSE, DENSE, DENSE), r"twice.*\['a'\]"),
        (b'{"methods": [], "methods": []}', r"twice.*\['methods'\]"),
        (b'{"methods": [{"name": "sink", "sink_size": 4, "sink_size": 8}]}', "twice.*sink_size"),
        (b'{"": %s}' % DENSE, "label ''"),
        (b'{"\\ud800": %s}' % DENSE, r"key '\\ud800' holds half a character"),
        (b'{"a\\nb": %s}' % DENSE, r"label 'a\\nb'"),
    ],
)
def test_a_bad_file_is_one_clear_error_that_names_it(read, content, message, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read(path)
    assert "config.json" in str(error.value)
    str(error.value).encode()


@pytest.mark.parametrize(
    ("start", "end"),
    [(b"[", b"]"), (b'{"a": ', b"}"), (b'{"methods": [', b"]}"), (b'{"best": {"config": ', b"}}")],
)
def test_no_depth_is_too_much(start, end, tmp_path):
    """What JSON can hold may still be too deep for whatever looks at it."""
    path = tmp_path / "config.json"
    for depth in (*range(1, 80), *range(80, 1200, 40)):
        path.write_bytes(start * depth + b"0" + end * depth)
        with pytest.raises(UserError, match=r"config\.json"):
            load_configs(path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    too_long = tmp_path / ("x" * 256)
    for path in (
        tmp_path / "none.json",
        tmp_path,
        f"{tmp_path}/\0.json",
        tmp_path / "pipe",
        too_long,
    ):
        with pytest.raises(UserError, match=r"configuration file: .*test_what_is_no_file"):
            load_config(path)
