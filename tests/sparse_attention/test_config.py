"""Configurations: validation, names, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sparse_attention import CONFIG_TYPES, AttentionConfig, Protocol, UserError, make_config
from sparse_attention.maskers import MASKERS, Local, OracleTopK, RandomSampling, Sink
from sparse_attention.method import Choices, Range, resolve_size
from sparse_attention.registry import METHODS


@pytest.mark.parametrize("name", CONFIG_TYPES)
def test_round_trip_through_json(name):
    config = make_config(name)
    again = AttentionConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert hash(again) == hash(config)
    assert config.describe()


WRITTEN = Path(__file__).with_name("config_types.json")
"""Config types as results and caches of earlier versions know them."""


def test_config_types_keep_their_names_and_settings():
    written = json.loads(WRITTEN.read_bytes())
    assert len(written) == 31
    assert {name: make_config(name).to_json() for name in written} == written


def test_every_method_has_a_config_type():
    used = {method.name for kind in CONFIG_TYPES.values() for method in kind.methods}
    assert used == set(METHODS)
    for name, method in METHODS.items():
        if name in CONFIG_TYPES and name != "adaptive_sampling":
            assert CONFIG_TYPES[name].summary == method.summary()
            assert type(CONFIG_TYPES[name].methods[-1]) is method


def test_settings_reach_their_methods():
    config = make_config("magic_pig", lsh_k=7, sink_size=0.01)
    assert config.methods[0].sink_size == 0.01
    assert config.methods[2].lsh_k == 7
    assert "lsh_k=7" in config.describe()


@pytest.mark.parametrize("value", [0, -1, 1.5, -0.1, 0.0, True, "4", None, float("nan")])
def test_sizes_are_strict(value):
    with pytest.raises(ValidationError):
        Sink(sink_size=value)


@given(st.one_of(st.integers(1, 300), st.floats(1e-6, 1)), st.integers(1, 200))
def test_resolved_sizes_are_between_one_and_all(size, visible):
    import torch

    count = int(resolve_size(size, torch.tensor([visible])))
    assert 1 <= count <= visible
    if isinstance(size, int):
        assert count == min(size, visible)
    else:
        assert abs(count - max(1, min(visible, size * visible))) <= 1


def test_shares_do_not_lose_a_key_to_rounding():
    import torch

    assert int(resolve_size(0.29, torch.tensor([100]))) == 29


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"methods": [{"name": "sinc"}]}, "Did you mean 'sink'"),
        ({"methods": [{"name": "sink", "size": 4}]}, "sink_size"),
        ({"methods": [{"name": "sink", "sink_size": 0}]}, "sink_size = 0.*at least 1"),
        ({"methods": [{"name": "magic_pig", "lsh_k": 99}]}, "lsh_k = 99.*62"),
        ({"methods": [{"name": "magic_pig", "min_hits": 3}]}, "min_hits = 3.*1 or 2"),
        ({"methods": [{"name": "magic_pig", "lsh_l": 1}]}, "lsh_l"),
        ({"methods": [{"name": "adaptive_sampling", "epsilon": 1}]}, "epsilon = 1"),
        ({"methods": [{"name": "adaptive_sampling", "delta": 0}]}, "delta = 0"),
        ({"methods": [{"name": "random_sampling", "sampling_rate": 1.2}]}, "sampling_rate = 1.2"),
        ({"methods": [{"name": "oracle_top_p", "top_p": 0}]}, "top_p = 0.*greater than 0"),
        ({"methods": [{"name": "oracle_top_p", "top_p": 1.1}]}, "top_p = 1.1.*equal to 1"),
        ({"methods": [{"name": "quest", "page_size": 0}]}, "page_size = 0.*equal to 1"),
        ({"methods": [{"name": "quest", "page_size": 2.5}]}, "page_size = 2.5.*integer"),
        ({"methods": [{"name": "quest", "label_bits": 17}]}, "label_bits = 17.*equal to 16"),
        ({"methods": [{"name": "quest", "group_scores": "sum"}]}, "group_scores = 'sum'.*'mean'"),
        ({"methods": [{"name": "double_sparsity", "group_factor": 0}]}, "group_factor = 0.*to 1"),
        ({"methods": [{"name": "double_sparsity", "channels": "v"}]}, "channels = 'v'.*'qk_proj'"),
        ({"methods": [{"name": "double_sparsity", "channel_file": 3}]}, "channel_file = 3.*string"),
        ({"methods": [{"name": "pq_cache", "pq_bits": 13}]}, "pq_bits = 13.*equal to 12"),
        ({"methods": [{"name": "pq_cache", "subspaces": 0}]}, "subspaces = 0.*equal to 1"),
        ({"methods": [{"name": "pq_cache", "kmeans_iter": -1}]}, "kmeans_iter = -1.*equal to 0"),
        ({"methods": [{"name": "pq_cache", "init_offset": -1}]}, "init_offset = -1.*equal to 0"),
        ({"methods": [{"name": "pq_cache", "metric": "l1"}]}, "metric = 'l1'.*'euclidean' or 'ip'"),
        ({"methods": [{"name": "hash_attention", "heavy_size": 0}]}, "heavy_size = 0.*at least 1"),
        ({"methods": [{"name": "hash_attention", "weight_file": "a"}]}, "weight_file.*safetensors"),
        ({"methods": "sink"}, "must be a list"),
        ({"method": []}, '"methods"'),
        ([], '"methods"'),
        ({"methods": [{}]}, '"name"'),
        ({"methods": [{"name": "sink"}, {"name": "sink"}]}, "twice"),
        ({"methods": [{"name": "random_sampling"}, {"name": "sink"}]}, "must be the last"),
    ],
)
def test_bad_documents_are_clear_errors(document, message):
    with pytest.raises(UserError, match=message):
        AttentionConfig.from_json(document)


def test_unknown_names_get_the_nearest_match():
    with pytest.raises(UserError, match="Did you mean 'magic_pig'"):
        make_config("magicpig")
    with pytest.raises(UserError, match="Did you mean 'lsh_k'"):
        make_config("magic_pig", lshk=4)


def test_only_one_sampling_method_and_it_comes_last():
    AttentionConfig((Sink(), Local(), OracleTopK(), RandomSampling()))
    with pytest.raises(UserError, match="random_sampling draws keys at random"):
        AttentionConfig((RandomSampling(), OracleTopK()))


def test_methods_cannot_be_changed_behind_the_validation():
    with pytest.raises(ValidationError):
        Sink().sink_size = 0


@pytest.mark.parametrize("name", MASKERS)
def test_every_method_can_be_tuned_within_its_bounds(name):
    tunable = {
        field: mark
        for field, info in MASKERS[name].model_fields.items()
        for mark in info.metadata
        if isinstance(mark, Choices | Range)
    }
    assert tunable
    for field, mark in tunable.items():
        for value in mark.values:
            MASKERS[name](**{field: value})


def test_protocol_is_validated():
    assert Protocol(dense_layers=(3, 1, 3)).dense_layers == (1, 3)
    with pytest.raises(ValidationError):
        Protocol(sparse_from="start")
    with pytest.raises(ValidationError):
        Protocol(dense_layers=(-1,))


def test_one_key_is_not_all_keys():
    one, everything = (make_config("local_masker", window_size=size) for size in (1, 1.0))
    assert one != everything
    assert len({one, everything}) == 2
    small, whole = (make_config("oracle_top_k", heavy_size=size) for size in (1, 1.0))
    assert small.methods[-1].stacks_with(whole.methods[-1])


def test_a_copy_with_other_settings_is_another_method():
    method = OracleTopK(heavy_size=1)
    known = {method: "one key"}
    for size in (1.0, 2):
        other = method.model_copy(update={"heavy_size": size})
        assert other != method
        assert other not in known
    assert method.model_copy() in known
