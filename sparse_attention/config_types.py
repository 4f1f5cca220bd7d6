"""The catalogue of named templates of configurations.

A method's default template comes from its class: a masker reads the first and the newest keys too,
a scorer is alone, an adjustment follows SnapKV.  Only what differs from that is written down here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sparse_attention.config import AttentionConfig, load_config, make_method
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.maskers import (
    MASKERS,
    AdaptiveSampling,
    Local,
    Masker,
    OracleTopK,
    Sink,
)
from sparse_attention.method import Method
from sparse_attention.presses import (
    PRESSES,
    AdaKV,
    Adjustment,
    CriticalKV,
    Decoding,
    ExpectedAttention,
    KeyRerotation,
    KNorm,
    LayerRatios,
    SnapKV,
    StreamingLLM,
)
from sparse_attention.registry import METHODS


@dataclass(frozen=True)
class ConfigType:
    """A named template: methods whose settings are left open."""

    name: str
    summary: str
    methods: tuple[Method, ...]
    other_names: Mapping[str, str] = field(default_factory=dict)
    """Of fields: what papers call them, where a template has one meaning for the name."""

    @property
    def oracle(self) -> bool:
        """Whether a method of it is an oracle; see ``Method.oracle``."""
        return any(method.oracle for method in self.methods)

    @property
    def settings(self) -> set[str]:
        """Names of all settings, other names too."""
        fields = (field for method in self.methods for field in type(method).model_fields)
        return {*fields, *self.other_names}

    def make(self, **settings: Any) -> AttentionConfig:
        """The configuration with ``settings`` in place of the template's.

        A setting is named by its field, or as ``other_names`` has it; ``seed`` goes to every method
        that has one.

        Raises:
            UserError: for an unknown or invalid setting, and one under two names.
        """
        settings = self._by_field(settings)
        return AttentionConfig(
            tuple(
                make_method(
                    type(method),
                    {key: settings.get(key, value) for key, value in method},
                )
                for method in self.methods
            )
        )

    def _by_field(self, named: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in named.items():
            if name not in self.settings:
                raise unknown_name(f"setting of config type {self.name}", name, self.settings)
            own = self.other_names.get(name, name)
            if own in found:
                raise UserError(f"{name} of config type {self.name} is {own}; give one of both.")
            found[own] = value
        return found


_EDGES = (Sink(sink_size=4), Local(window_size=64))


def _by_name(*kinds: ConfigType) -> dict[str, ConfigType]:
    return {kind.name: kind for kind in kinds}


_BASELINES = _by_name(
    ConfigType("dense", "Read all keys", ()),
    ConfigType("sink_masker", "Read the first keys", (Sink(),)),
    ConfigType("local_masker", "Read the newest keys", (Local(),)),
    ConfigType("sink_local", "Read the first and the newest keys (StreamingLLM)", _EDGES),
)
_COMBINATIONS = _by_name(
    ConfigType(
        "adaptive_sampling",
        "Read sink, local, top-k and as many samples as an error bound needs (vAttention)",
        (*_EDGES, OracleTopK(heavy_size=0.02), AdaptiveSampling()),
        {"init_offset": "sink_size", "local_offset": "window_size"},
    ),
    ConfigType(
        "critical_adakv",
        "SnapKV with budgets by head, then weighted by norms of projected values",
        (SnapKV(), AdaKV(), CriticalKV()),
    ),
    ConfigType(
        "ada_expected_attention",
        "Expected attention with budgets by head",
        (ExpectedAttention(epsilon=0.01), AdaKV()),
    ),
    ConfigType("layer_snapkv", "SnapKV with a ratio for each layer", (SnapKV(), LayerRatios())),
    ConfigType(
        "streaming_llm_rerotated",
        "Keep the first and the newest keys, with positions inside the cache",
        (StreamingLLM(), KeyRerotation()),
    ),
    ConfigType(
        "decoding_knorm",
        "Keep keys of small norm, again and again while decoding",
        (KNorm(), Decoding()),
    ),
    ConfigType(
        "snapkv_top_k",
        "SnapKV, then sink, local and the highest true scores of what it kept",
        (SnapKV(), *_EDGES, OracleTopK()),
    ),
)
_EXCEPTIONS = _BASELINES | _COMBINATIONS
METHODS.reserve(_EXCEPTIONS)
_WITHOUT_DEFAULT = {method.name for method in (Sink, Local, LayerRatios, KeyRerotation, Decoding)}
"""Methods that the exceptions above hold under other names."""


_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "double_sparsity": {"group_factor": 2},
    "magic_pig": {"lsh_k": 9, "lsh_l": 200},
    "pq_cache": {"heavy_size": 0.2},
    "quest": {"heavy_size": 0.2, "page_size": 4},
}
"""Where a method's own defaults, which are its paper's, lose the answers of small models in short
contexts: what keeps them, as ``docs/settings.md`` measures."""


@cache
def _default_type(method: type[Method]) -> ConfigType:
    if issubclass(method, Masker):
        before: tuple[Method, ...] = _EDGES
    else:
        before = (SnapKV(),) if issubclass(method, Adjustment) else ()
    settings = _SETTINGS.get(method.name, {})
    return ConfigType(method.name, method.summary(), (*before, method(**settings)))


class _ConfigTypes(Mapping[str, ConfigType]):
    """All config types by name: the exceptions, and the default of every other method."""

    def __getitem__(self, name: str) -> ConfigType:
        if name in _EXCEPTIONS:
            return _EXCEPTIONS[name]
        if name in _WITHOUT_DEFAULT:
            raise KeyError(name)
        return _default_type(METHODS[name])

    def __contains__(self, name: object) -> bool:
        return name in _EXCEPTIONS or (name not in _WITHOUT_DEFAULT and name in METHODS)

    def __iter__(self) -> Iterator[str]:
        names = dict.fromkeys([*_BASELINES, *MASKERS, *PRESSES, *_COMBINATIONS, *METHODS])
        return (name for name in names if name not in _WITHOUT_DEFAULT)

    def __len__(self) -> int:
        return sum(1 for _ in self)


CONFIG_TYPES: Mapping[str, ConfigType] = _ConfigTypes()


def make_config(config_type: str, **settings: Any) -> AttentionConfig:
    """A configuration of a named type.

    Raises:
        UserError: for an unknown type or setting.
    """
    if config_type not in CONFIG_TYPES:
        raise unknown_name("config type", config_type, CONFIG_TYPES)
    return CONFIG_TYPES[config_type].make(**settings)


ConfigLike = AttentionConfig | Method | Sequence[Method] | str | Path | Mapping[str, Any] | None
"""Anything that says one configuration; see ``as_config``."""


def as_config(given: ConfigLike) -> AttentionConfig:
    """The configuration that is meant.

    Args:
        given: a configuration; a method, or methods in their order; the name of a config type; the
            path of a JSON file with one, or what such a file holds; None for dense attention.

    Raises:
        UserError: for an unknown name, a file that cannot be used, and anything else.
    """
    if given is None:
        return AttentionConfig()
    if isinstance(given, AttentionConfig):
        return given
    if isinstance(given, Method):
        return AttentionConfig((given,))
    if isinstance(given, Mapping):
        return AttentionConfig.from_json(given)
    if isinstance(given, Path) or (isinstance(given, str) and _is_path(given)):
        return load_config(given)
    if isinstance(given, str):
        return make_config(given)
    if isinstance(given, tuple | list):
        return AttentionConfig(tuple(given))
    raise UserError(
        "a configuration is an AttentionConfig, a method or a list of methods, the name of a "
        "config type, a JSON file with one or its content, or None for dense attention; got "
        f"{given!r:.200}"
    )


def _is_path(text: str) -> bool:
    return text not in CONFIG_TYPES and (text.endswith(".json") or "/" in text)
