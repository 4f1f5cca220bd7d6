"""Search spaces made from the methods themselves.

A tunable field of a method carries its choices or its range (``sparse_attention.search``); a config
type's search space is that of all its methods.  The config type ``sparse_attention`` stands for all
others: the search then also chooses the type, and the parameters of the others do not apply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.search_domains import (
    Domain,
    Parameter,
    SearchRange,
    domains_of,
    own_domains,
    with_overrides,
)
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import CONFIG_TYPES, ConfigType
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.method import Method
from sparse_attention.model_facts import ModelProfile
from sparse_attention.registry import METHODS

ANY_TYPE = "sparse_attention"
"""The config type under which the type itself is searched."""
METHODS.reserve([ANY_TYPE])
TYPE_PARAMETER = "config_type"


class GenericConfigOptimizer:
    """The search space of a config type, and the way from its points to configurations."""

    def __init__(
        self,
        config_type: str,
        overrides: Mapping[str, Any] | None = None,
        profile: ModelProfile | None = None,
    ) -> None:
        """Collect the tunable fields of a type.

        Args:
            config_type: a config type, or ``sparse_attention`` for all of them.
            overrides: other domains, by ``field`` or ``config_type.field``: a list of values, one
                value (the field is then fixed), or a range as of ``SearchRange``.  Any field of
                the type's methods may be named, also one that is not tunable by itself.  Those of
                other config types are left to them.  ``config_type`` names the types that the
                search for a type chooses from; by default all but oracles.
            profile: of the model to search for.  Where the type is searched too, types that cannot
                run on it are left out: those of methods that need a file about it which is not
                there.  Fields with a value for each layer are searched with a profile only.

        Raises:
            UserError: for an unknown type or field, values that are not valid, or a type that
                cannot run on the model.
        """
        self.config_type = config_type
        overrides = dict(overrides or {})
        kinds = types_of(config_type, overrides.pop(TYPE_PARAMETER, None))
        layers = 0 if profile is None else profile.layers
        domains = {kind.name: with_overrides(kind, overrides, layers) for kind in kinds}
        if profile is not None:
            kinds = tuple(kind for kind in kinds if self._runs(kind, domains[kind.name], profile))
        self._types = kinds
        self.parameters_of: Mapping[str, tuple[Parameter, ...]] = {
            kind.name: tuple(
                Parameter(self._parameter_name(kind.name, field), domain)
                for field, domain in domains[kind.name].items()
            )
            for kind in self._types
        }
        """Parameters that apply to each config type."""

    @property
    def searches_type(self) -> bool:
        """Whether the config type is a parameter too."""
        return self.config_type == ANY_TYPE

    @property
    def search_space(self) -> tuple[Parameter, ...]:
        """All parameters, the config type first where it is searched."""
        kinds = [Parameter(TYPE_PARAMETER, tuple(self.parameters_of))] if self.searches_type else []
        return (*kinds, *(p for parameters in self.parameters_of.values() for p in parameters))

    def parameters(self, config_type: str) -> tuple[Parameter, ...]:
        """The parameters that apply when the search has chosen ``config_type``."""
        return self.parameters_of[config_type]

    def config(self, point: Mapping[str, Any]) -> AttentionConfig:
        """The configuration at a point of the space, validated as if a person had written it.

        Raises:
            UserError: if the values do not go together.
        """
        kind = CONFIG_TYPES[point[TYPE_PARAMETER] if self.searches_type else self.config_type]
        settings: dict[str, Any] = {}
        for parameter in self.parameters_of[kind.name]:
            field, by_layer, _ = parameter.name.rpartition(".")[2].partition("[")
            value = point[parameter.name]
            settings[field] = (*settings.get(field, ()), value) if by_layer else value
        return kind.make(**settings)

    def to_json(self) -> dict[str, Any]:
        """The space as JSON values: what a cached result depends on."""
        return {
            parameter.name: parameter.domain.model_dump()
            if isinstance(parameter.domain, SearchRange)
            else list(parameter.domain)
            for parameter in self.search_space
        }

    def _runs(self, kind: ConfigType, domains: Mapping[str, Domain], profile: ModelProfile) -> bool:
        """Whether a type can run on a model, with what is fixed in the space."""
        fixed = {
            field: domain[0]
            for field, domain in domains.items()
            if isinstance(domain, tuple) and len(domain) == 1
        }
        try:
            kind.make(**fixed).for_model(profile)
        except UserError:
            if not self.searches_type:
                raise
            return False
        return True

    def _parameter_name(self, config_type: str, field: str) -> str:
        return f"{config_type}.{field}" if self.searches_type else field


def types_of(config_type: str, chosen: str | Sequence[str] | None = None) -> tuple[ConfigType, ...]:
    """The config types that a search of ``config_type`` chooses from.

    Args:
        config_type: one, or ``sparse_attention`` for several.
        chosen: which these are; None for all but oracles, which cannot be deployed.

    Raises:
        UserError: if there is no such type, or nothing to search in it.
    """
    if config_type == ANY_TYPE:
        if chosen is None:
            kinds = (kind for kind in CONFIG_TYPES.values() if not kind.oracle)
            return tuple(kind for kind in kinds if own_domains(kind))
        names = [chosen] if isinstance(chosen, str) else list(chosen)
        for name in names:
            if name not in CONFIG_TYPES:
                raise unknown_name("config type", name, CONFIG_TYPES)
            if not own_domains(CONFIG_TYPES[name]):
                raise UserError(f"config type {name!r} has nothing to search.")
        return tuple(CONFIG_TYPES[name] for name in dict.fromkeys(names))
    if config_type not in CONFIG_TYPES:
        raise unknown_name("config type", config_type, [*CONFIG_TYPES, ANY_TYPE])
    return (CONFIG_TYPES[config_type],)


def is_tunable(config_type: str) -> bool:
    """Whether a config type has anything to search; ``UserError`` for an unknown one."""
    return any(own_domains(kind) for kind in types_of(config_type))


def own_parameters(method: type[Method]) -> tuple[Parameter, ...]:
    """The tunable fields of a method, in their order; those with a value for each layer are not."""
    return tuple(Parameter(*item) for item in domains_of(method, layers=0).items())
