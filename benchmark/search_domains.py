"""What a parameter of a search may become: the domains of tunable fields, and those of a user."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sparse_attention.config_types import CONFIG_TYPES, ConfigType
from sparse_attention.errors import UserError, explain, unknown_name
from sparse_attention.method import Choices, EachLayer, Method, Range


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


def own_domains(kind: ConfigType, layers: int = 0) -> dict[str, Domain]:
    """Domain of each tunable field of a type, as its methods declare them for so many layers."""
    domains: dict[str, Domain] = {}
    for method in kind.methods:
        domains |= domains_of(type(method), layers)
    return domains


def domains_of(method: type[Method], layers: int) -> dict[str, Domain]:
    """Domain of each tunable field of a method; one for each layer where a field has such."""
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


def with_overrides(
    kind: ConfigType, overrides: Mapping[str, Any], layers: int
) -> dict[str, Domain]:
    """``own_domains`` with what a user gave in their place; ``UserError`` for what is not valid."""
    domains = own_domains(kind, layers)
    for name, value in overrides.items():
        owner, _, field = name.rpartition(".")
        if owner and owner not in CONFIG_TYPES:
            raise unknown_name("config type", owner, CONFIG_TYPES)
        if owner not in ("", kind.name):
            continue
        if field not in kind.settings:
            if owner or not any(field in other.settings for other in CONFIG_TYPES.values()):
                raise unknown_name(f"setting of config type {kind.name}", field, kind.settings)
            continue
        field = kind.other_names.get(field, field)
        for layer in range(layers):
            domains.pop(f"{field}[{layer}]", None)
        domains[field] = _parse_domain(kind, field, value)
    return domains


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
        note: Any = info.annotation
        if info.metadata:
            note = Annotated[note, *info.metadata]
        adapter = TypeAdapter(note, config=ConfigDict(strict=True, allow_inf_nan=False))
        for value in values:
            try:
                adapter.validate_python(value)
            except ValidationError as error:
                problem = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise UserError(
                    f"search space of {method.name}: {field} = {value!r}: {problem}"
                ) from error
