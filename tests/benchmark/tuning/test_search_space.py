from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.generic_config_optimizer import (
    ANY_TYPE,
    TYPE_PARAMETER,
    GenericConfigOptimizer,
    is_tunable,
    types_of,
)
from benchmark.tuning.proposals import ALGORITHMS, Proposals
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import CONFIG_TYPES
from sparse_attention.errors import UserError
from sparse_attention.model_facts import ModelProfile

TUNABLE = [name for name in CONFIG_TYPES if is_tunable(name)]
DEPLOYABLE = [name for name in TUNABLE if not CONFIG_TYPES[name].oracle]


def losses_of(config: AttentionConfig) -> tuple[float, ...]:
    return (len(config.describe()) % 11 / 10,)


@pytest.mark.parametrize("config_type", TUNABLE)
@given(data=st.data())
def test_every_point_is_a_configuration_of_the_type(config_type, data):
    space = GenericConfigOptimizer(config_type)
    point = {p.name: data.draw(st.sampled_from(p.values)) for p in space.search_space}
    config = space.config(point)
    names = [method.name for method in CONFIG_TYPES[config_type].methods]
    assert [method.name for method in config.methods] == names
    written = {key: value for method in config.methods for key, value in method}
    assert {name: written[name] for name in point} == point
    assert AttentionConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("config_type", "works"),
    [
        ("magic_pig", {"lsh_k": 9, "lsh_l": 200}),
        ("quest", {"page_size": 8, "heavy_size": 0.3}),
        ("quest", {"page_size": 4, "heavy_size": 0.2}),
    ],
)
def test_settings_that_answer_on_a_small_real_model_are_searched(config_type, works):
    domains = {one.name: one for one in GenericConfigOptimizer(config_type).search_space}
    assert all(domains[name].contains(value) for name, value in works.items())


def test_the_type_itself_can_be_searched():
    space = GenericConfigOptimizer(ANY_TYPE)
    kinds = space.search_space[0]
    assert (kinds.name, set(kinds.values)) == (TYPE_PARAMETER, set(DEPLOYABLE))
    point = {p.name: p.values[0] for p in space.parameters("magic_pig")}
    config = space.config({TYPE_PARAMETER: "magic_pig", **point})
    assert config.methods[-1].name == "magic_pig"
    assert config.methods[-1].lsh_k == point["magic_pig.lsh_k"]


def test_types_that_cannot_run_on_the_model_are_left_out(tmp_path):
    profile = ModelProfile("bare", tmp_path, 2, 4, 2, 16, None)
    kinds = GenericConfigOptimizer(ANY_TYPE, None, profile).search_space[0].values
    assert set(DEPLOYABLE) - set(kinds) == {"double_sparsity", "hash_attention"}
    with pytest.raises(UserError, match="needs a file about the model 'bare'"):
        GenericConfigOptimizer("double_sparsity", None, profile)
    channels = {
        f"model.layers.{layer}.self_attn.qk_proj": [list(range(16))] * 4 for layer in range(2)
    }
    (tmp_path / "channels.json").write_text(json.dumps(channels))
    overrides = {"double_sparsity.channel_file": str(tmp_path / "channels.json")}
    for kind in (ANY_TYPE, "double_sparsity"):
        space = GenericConfigOptimizer(kind, overrides, profile)
        assert any(p.name.endswith("channel_file") for p in space.search_space)


def test_overrides():
    space = GenericConfigOptimizer(
        "oracle_top_k",
        {
            "sink_size": 8,
            "oracle_top_k.window_size": [16, 1, 1.0],
            "heavy_size": {"low": 0.01, "high": 0.16, "log": True},
            "magic_pig.lsh_k": [9],
        },
    )
    domains = {parameter.name: parameter for parameter in space.search_space}
    assert domains["sink_size"].values == (8,)
    assert [*map(repr, domains["window_size"].values)] == ["16", "1", "1.0"]
    steps = domains["heavy_size"].values
    assert steps[0] == pytest.approx(0.01)
    assert steps[-1] == pytest.approx(0.16)
    ratios = {round(b / a, 6) for a, b in pairwise(steps)}
    assert len(ratios) == 1
    assert set(domains) == {"sink_size", "window_size", "heavy_size"}


@pytest.mark.parametrize(
    ("config_type", "overrides", "message"),
    [
        ("magic_pg", {}, "Did you mean 'magic_pig'"),
        ("oracle_top_k", {"hevy_size": [1]}, "Did you mean 'heavy_size'"),
        ("oracle_top_k", {"oracle_topk.heavy_size": [1]}, "Did you mean 'oracle_top_k'"),
        ("oracle_top_k", {"oracle_top_k.lsh_k": [4]}, "lsh_k"),
        ("oracle_top_k", {"heavy_size": [0.1, 1.5]}, "heavy_size = 1.5"),
        ("oracle_top_k", {"heavy_size": []}, "no value"),
        ("oracle_top_k", {"heavy_size": {"low": 0.1}}, "high"),
        ("oracle_top_k", {"heavy_size": {"low": 0.2, "high": 0.1}}, "low <= high"),
        ("oracle_top_k", {"sink_size": {"low": 0, "high": 9}}, "sink_size = 0"),
    ],
)
def test_bad_spaces(config_type, overrides, message):
    with pytest.raises(UserError, match=message):
        GenericConfigOptimizer(config_type, overrides)


def test_each_layer_of_the_model_has_its_own_parameter(tmp_path):
    profile = ModelProfile("bare", tmp_path, 3, 4, 2, 16, None)
    space = GenericConfigOptimizer("layer_snapkv", {"compression_ratio": 0.5}, profile)
    names = [parameter.name for parameter in space.search_space]
    assert [name for name in names if name.startswith("ratios")] == [
        "ratios[0]",
        "ratios[1]",
        "ratios[2]",
    ]
    point = {parameter.name: parameter.values[0] for parameter in space.search_space}
    config = space.config(point | {"ratios[1]": 0.875})
    assert config.methods[1].ratios == (0.0, 0.875, 0.0)
    fixed = GenericConfigOptimizer("layer_snapkv", {"ratios": [[0.5, 0.5, 0.25]]}, profile)
    point = {parameter.name: parameter.values[0] for parameter in fixed.search_space}
    assert fixed.config(point).methods[1].ratios == (0.5, 0.5, 0.25)
    with pytest.raises(UserError, match="2 values, but the model has 3 layers"):
        GenericConfigOptimizer("layer_snapkv", {"ratios": [[0.5, 0.5]]}, profile)
    many = ModelProfile("deep", tmp_path, 40, 4, 2, 16, None)
    for algorithm in ALGORITHMS:
        proposals = Proposals(GenericConfigOptimizer("layer_snapkv", None, many), algorithm, 3, 1)
        found = proposals.next()
        assert found is not None
        assert len(found[2].methods[1].ratios) == 40


def test_a_dense_type_has_nothing_to_search():
    assert not is_tunable("dense")
    assert [kind.name for kind in types_of(ANY_TYPE)] == DEPLOYABLE


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("config_type", ["oracle_top_k", ANY_TYPE])
def test_proposals_are_new_and_repeatable(algorithm, config_type):
    def proposed() -> list[AttentionConfig]:
        proposals = Proposals(GenericConfigOptimizer(config_type), algorithm, 3, 1)
        configs = []
        for _ in range(25):
            number, _, config = proposals.next()
            configs.append(config)
            proposals.tell(number, losses_of(config) if len(configs) % 6 else None)
        return configs

    first = proposed()
    assert len(set(first)) == 25
    assert first == proposed()
    if config_type != ANY_TYPE:
        assert first[0] == CONFIG_TYPES[config_type].make(), "the default settings come first"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_small_space_is_exhausted(algorithm):
    space = GenericConfigOptimizer(
        "magic_pig",
        {
            "sink_size": 4,
            "window_size": [8, 16],
            "lsh_l": [1, 20],
            "lsh_k": 4,
            "center": True,
        },
    )
    proposals = Proposals(space, algorithm, 0, 1)
    found = []
    while (proposal := proposals.next()) is not None:
        found.append(proposal[1])
        proposals.tell(proposal[0], (0.5,))
    # One table cannot be hit twice: of 8 combinations 2 do not go together.
    assert len(found) == 6
    assert all((point["lsh_l"], point["min_hits"]) != (1, 2) for point in found)


def test_what_was_tried_is_not_proposed_again():
    space = GenericConfigOptimizer("local_masker")
    first = Proposals(space, "tpe", 0, 1)
    points = []
    for _ in range(4):
        number, point, config = first.next()
        first.tell(number, losses_of(config))
        points.append(point)
    second = Proposals(space, "tpe", 0, 1)
    for point in points:
        second.replay(point, (0.1,))
    rest = []
    while (proposal := second.next()) is not None:
        rest.append(proposal[1])
    assert len(rest) == 2
    assert not [point for point in rest if point in points]
