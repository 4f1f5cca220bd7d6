"""Whether what a user says about search spaces is about what is searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.generic_config_optimizer import ANY_TYPE, TYPE_PARAMETER, types_of
from sparse_attention.config_types import CONFIG_TYPES
from sparse_attention.errors import UserError, unknown_name


def check_overrides(overrides: Mapping[str, Any], config_types: Sequence[str]) -> None:
    """Check that each domain that a user gave is of a type that is searched.

    Raises:
        UserError: naming one that would be left unused.
    """
    chosen = overrides.get(TYPE_PARAMETER)
    if chosen is not None and ANY_TYPE not in config_types:
        raise UserError(
            f"the search space has {TYPE_PARAMETER!r}, which is searched with the config type "
            f"{ANY_TYPE!r} alone; searched: {', '.join(config_types) or 'none'}."
        )
    kinds = {kind.name: kind for name in config_types for kind in types_of(name, chosen)}
    fields = {field for kind in kinds.values() for field in kind.settings}
    for name in (name for name in overrides if name != TYPE_PARAMETER):
        owner, _, field = name.rpartition(".")
        if owner and owner in CONFIG_TYPES and owner not in kinds:
            raise UserError(
                f"the search space has {name!r}, and {owner} is not searched; searched: "
                f"{', '.join(kinds) or 'none'}."
            )
        if not owner and field not in fields:
            raise unknown_name("field of what is searched", field, fields)
