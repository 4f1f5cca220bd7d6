"""Search spaces made from the methods themselves.

A tunable field of a method carries its choices or its range (``sparse_attention.search``); a config
type's search space is that of all its methods.  The config type ``sparse_attention`` stands for all
others: the search then also chooses the type, and the parameters of the others do not apply.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import CONFIG_TYPES, ConfigType
from sparse_attention.errors import UserError, explain, unknown_name
from sparse_attention.method import Choices, EachLayer, Method, Range
from sparse_attention.model_facts import ModelProfile
from sparse_attention.registry import METHODS

ANY_TYPE = "sparse_attention"
"""The config type under which the type itself is searched."""
METHODS.reserve([ANY_TYPE])
TYPE_PARAMETER = "config_type"


class SearchRange(BaseModel):
    """A range as a user writes it: ``{"low": 16, "high": 256, "log": true}``; both ends included.

    Two ints make a range of ints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    low: int | float
    high: int | float
    log: bool = False


Domain = tuple[Any, ...] | SearchRange
"""What a parameter may become: some values, or a range."""


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search space."""

    name: str
    """``field``, or ``config_type.field`` where the type is searched too; with the number of the
    layer, ``field[0]``, where each layer of the model has its own value."""
    domain: Domain

    def contains(self, value: Any) -> bool:
        """Whether the parameter can become ``value``."""
        if isinstance(self.domain, SearchRange):
            return isinstance(value, int | float) and self.domain.low <= value <= self.domain.high
        return any(type(value) is type(item) and value == item for item in self.domain)

    @property
    def values(self) -> tuple[Any, ...]:
        """All values, or at most eight spread over a range: the grid of a grid search."""
        if not isinstance(self.domain, SearchRange):
            return self.domain
        low, high = self.domain.low, self.domain.high
        scale, unscale = (math.log, math.exp) if self.domain.log else (float, float)
        points = [
            unscale(scale(low) + (scale(high) - scale(low)) * place / (_GRID_POINTS - 1))
            for place in range(_GRID_POINTS)
        ]
        if isinstance(low, int) and isinstance(high, int):
            return tuple(dict.fromkeys(min(max(round(point), low), high) for point in points))
        return tuple(dict.fromkeys(min(max(point, low), high) for point in points))


_GRID_POINTS = 8
"""Values of a range in a grid, whose size is the product over all parameters."""


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
        domains = {kind.name: _with_overrides(kind, overrides, layers) for kind in kinds}
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
            return tuple(kind for kind in kinds if _own_domains(kind))
        names = [chosen] if isinstance(chosen, str) else list(chosen)
        for name in names:
            if name not in CONFIG_TYPES:
                raise unknown_name("config type", name, CONFIG_TYPES)
            if not _own_domains(CONFIG_TYPES[name]):
                raise UserError(f"config type {name!r} has nothing to search.")
        return tuple(CONFIG_TYPES[name] for name in dict.fromkeys(names))
    if config_type not in CONFIG_TYPES:
        raise unknown_name("config type", config_type, [*CONFIG_TYPES, ANY_TYPE])
    return (CONFIG_TYPES[config_type],)


def is_tunable(config_type: str) -> bool:
    """Whether a config type has anything to search; ``UserError`` for an unknown one."""
    return any(_own_domains(kind) for kind in types_of(config_type))


def _own_domains(kind: ConfigType, layers: int = 0) -> dict[str, Domain]:
    """Domain of each tunable field of a type, as its methods declare them for so many layers."""
    domains: dict[str, Domain] = {}
    for method in kind.methods:
        domains |= _domains_of(type(method), layers)
    return domains


def own_parameters(method: type[Method]) -> tuple[Parameter, ...]:
    """The tunable fields of a method, in their order; those with a value for each layer are not."""
    return tuple(Parameter(*item) for item in _domains_of(method, layers=0).items())


def _domains_of(method: type[Method], layers: int) -> dict[str, Domain]:
    domains: dict[str, Domain] = {}
    for field, info in method.model_fields.items():
        for note in info.metadata:
            if isinstance(note, Choices):
                domains[field] = note.values
            elif isinstance(note, Range):
                domains[field] = SearchRange(low=note.low, high=note.high, log=note.log)
            elif isinstance(note, EachLayer):
                domains |= {f"{field}[{layer}]": note.values for layer in range(layers)}
    return domains


def _with_overrides(
    kind: ConfigType, overrides: Mapping[str, Any], layers: int
) -> dict[str, Domain]:
    domains = _own_domains(kind, layers)
    fields = {field for method in kind.methods for field in type(method).model_fields}
    for name, value in overrides.items():
        owner, _, field = name.rpartition(".")
        if owner and owner not in CONFIG_TYPES:
            raise unknown_name("config type", owner, CONFIG_TYPES)
        if owner not in ("", kind.name):
            continue
        if field not in fields:
            if owner or not _is_field_somewhere(field):
                raise unknown_name(f"setting of config type {kind.name}", field, fields)
            continue
        for layer in range(layers):
            domains.pop(f"{field}[{layer}]", None)
        domains[field] = _parse_domain(kind, field, value)
    return domains


def _is_field_somewhere(field: str) -> bool:
    methods = [method for kind in CONFIG_TYPES.values() for method in kind.methods]
    return any(field in type(method).model_fields for method in methods)


def _parse_domain(kind: ConfigType, field: str, value: Any) -> Domain:
    """The domain that a user gave; every value in it, or both ends, must be valid by itself."""
    if isinstance(value, Mapping):
        try:
            found = SearchRange(**value)
        except ValidationError as error:
            raise UserError(f"search space of {field}: {explain(error)}") from error
        if found.low > found.high or (found.log and found.low <= 0):
            raise UserError(
                f"search space of {field}: {dict(value)} must have low <= high, and low > 0 for log"
            )
        _check_values(kind, field, (found.low, found.high))
        return found
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    # By type too: 1 is one key and 1.0 all of them.
    distinct = {(type(item), repr(item)): item for item in (value if listed else (value,))}
    values = tuple(distinct.values())
    if not values:
        raise UserError(f"search space of {field}: no value is given")
    _check_values(kind, field, values)
    return values


def _check_values(kind: ConfigType, field: str, values: Sequence[Any]) -> None:
    """Check each value by itself; whether values go together is seen when they meet."""
    for method in kind.methods:
        info = type(method).model_fields.get(field)
        if info is None:
            continue
        note = Annotated[info.annotation, *info.metadata]  # type: ignore[name-defined]
        adapter = TypeAdapter(note, config=ConfigDict(strict=True, allow_inf_nan=False))
        for value in values:
            try:
                adapter.validate_python(value)
            except ValidationError as error:
                problem = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise UserError(
                    f"search space of {method.name}: {field} = {value!r}: {problem}"
                ) from error
