"""Presses in configurations: validation, order, JSON, what a search may try."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from sparse_attention import AttentionConfig, Protocol, UserError, make_config
from sparse_attention.maskers import Local, Sink
from sparse_attention.method import Choices, EachLayer, Range
from sparse_attention.presses import PRESSES, LayerRatios, SnapKV
from sparse_attention.presses.base import kept_count


@pytest.mark.parametrize("name", PRESSES)
def test_every_press_can_be_tuned_within_its_bounds(name):
    tunable = {
        field: mark
        for field, info in PRESSES[name].model_fields.items()
        for mark in info.metadata
        if isinstance(mark, Choices | EachLayer | Range)
    }
    assert tunable or name == "key_rerotation"
    for field, mark in tunable.items():
        for value in mark.values:
            PRESSES[name](**{field: (value,) * 4 if isinstance(mark, EachLayer) else value})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"name": "snap_kv"}, "Did you mean 'snapkv'"),
        ({"name": "snapkv", "ratio": 0.5}, "compression_ratio"),
        ({"name": "snapkv", "compression_ratio": 1}, "compression_ratio = 1.*less than 1"),
        ({"name": "snapkv", "compression_ratio": -0.1}, "compression_ratio = -0.1.*equal to 0"),
        ({"name": "knorm", "compression_ratio": "0.5"}, "compression_ratio = '0.5'"),
        ({"name": "snapkv", "observation_window": 0}, "observation_window = 0.*equal to 1"),
        ({"name": "snapkv", "kernel_size": 4}, "kernel_size = 4.*odd"),
        ({"name": "streaming_llm", "n_sink": -1}, "n_sink = -1"),
        ({"name": "expected_attention", "n_future_positions": 0}, "n_future_positions = 0"),
        ({"name": "expected_attention", "epsilon": -1}, "epsilon = -1"),
        ({"name": "pyramidkv", "beta": 0.5}, "beta = 0.5.*equal to 1"),
        ({"name": "lagkv", "lag": 1}, "lag = 1.*equal to 2"),
    ],
)
def test_bad_fields_name_field_value_and_range(document, message):
    with pytest.raises(UserError, match=message):
        AttentionConfig.from_json({"methods": [document]})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["sink", "snapkv"], "presses come before maskers"),
        (["adakv"], "adakv changes what a press before it keeps"),
        (["key_rerotation", "knorm"], "key_rerotation changes"),
        (["knorm", "key_rerotation", "snapkv"], "must be the last press, snapkv comes after"),
        (["snapkv", "adakv", "knorm"], "knorm cannot come after it"),
        (["snapkv", "adakv", "decoding"], "decoding cannot come after it"),
        (["observed_attention", "decoding"], "observed_attention ranks keys by what it saw"),
        (["knorm", "decoding", "key_rerotation"], "decoding must be the last"),
        (["snapkv", "snapkv"], "twice"),
        (
            ["snapkv", "criticalkv", "adakv"],
            "adakv changes how many keys are kept, on which criticalkv depends; put it first: "
            "snapkv, adakv, criticalkv",
        ),
        (["snapkv", "adakv", "layer_ratios"], "put it first: snapkv, layer_ratios, adakv"),
        (["knorm", "snapkv", "criticalkv", "layer_ratios"], "snapkv, layer_ratios, criticalkv"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(names, message):
    with pytest.raises(UserError, match=message):
        AttentionConfig.from_json({"methods": [{"name": name} for name in names]})


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("criticalkv", "first_stage", 1.5),
        ("adakv", "alpha_safeguard", -0.2),
        ("chunkkv", "chunk_length", 0),
        ("decoding", "target_size", 0),
        ("decoding", "interval", True),
        ("layer_ratios", "ratios", [0.5, 1.0]),
    ],
)
def test_bad_fields_of_adjustments(name, field, value):
    with pytest.raises(UserError, match=f"{name}: {field}"):
        AttentionConfig.from_json({"methods": [{"name": "knorm"}, {"name": name, field: value}]})


@pytest.mark.parametrize(
    "names",
    [
        ["snapkv", "adakv", "criticalkv"],
        ["snapkv", "layer_ratios", "adakv", "criticalkv"],
        ["knorm", "criticalkv", "snapkv", "chunkkv", "adakv"],
        ["snapkv", "layer_ratios", "criticalkv", "decoding"],
    ],
)
def test_orders_in_which_budgets_are_known_when_they_are_used(names):
    config = AttentionConfig.from_json({"methods": [{"name": name} for name in names]})
    assert [press.name for press in config.presses] == names


def test_layer_ratios_survive_json():
    config = AttentionConfig((SnapKV(), LayerRatios(ratios=(0.5, 0.25)), Sink(), Local()))
    again = AttentionConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert again.presses == config.methods[:2]
    assert again.maskers == config.methods[2:]


def test_settings_reach_press_and_maskers():
    config = make_config("snapkv_top_k", compression_ratio=0.75, window_size=9, heavy_size=3)
    assert config.presses[0].compression_ratio == 0.75
    assert config.maskers[1].window_size == 9
    with pytest.raises(UserError, match="Did you mean 'compression_ratio'"):
        make_config("snapkv", compresion_ratio=0.5)


def test_a_configuration_asks_for_what_its_presses_need():
    assert not make_config("knorm").needs
    assert not make_config("magic_pig").needs
    both = make_config("snapkv", observation_window=16).needs | make_config("tova").needs
    assert both.last_queries == 16
    assert both.covers(make_config("tova").needs)
    assert not both.covers(make_config("snapkv", observation_window=17).needs)
    assert not both.covers(make_config("observed_attention").needs)


def test_counts_do_not_lose_a_key_to_rounding():
    assert [kept_count(length, 0.9) for length in (10, 100, 1000, 1)] == [1, 10, 100, 1]
    assert all(kept_count(n, 0.0) == n for n in range(1, 50))


def test_the_question_can_only_be_seen_where_it_is_read_densely():
    assert Protocol(sparse_from="generation", press_sees_question=True).press_sees_question
    with pytest.raises(ValidationError, match="sparse_from"):
        Protocol(press_sees_question=True)
