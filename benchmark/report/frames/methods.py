"""What a configuration is called beside others, from the JSON that stands in its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sparse_attention.registry import METHODS

DENSE = "dense"
_EVERYWHERE = ("sink", "local")
"""Methods that most configurations have: they name one only where nothing else does."""


def method_names(config: Mapping[str, Any]) -> list[str]:
    """Names of the methods of a configuration, which need not be installed here."""
    methods = config.get("methods")
    found = methods if isinstance(methods, list) else []
    return [str(method.get("name", "?")) for method in found if isinstance(method, dict)]


def family(names: Sequence[str]) -> str:
    """Of methods in a configuration those that tell it from others, joined; else ``dense``."""
    return "+".join([name for name in names if name not in _EVERYWHERE] or names) or DENSE


def needs_all_scores(config: Mapping[str, Any]) -> bool:
    """Whether a method of it is known to be an oracle."""
    return any(name in METHODS and METHODS[name].oracle for name in method_names(config))


def settings_words(config: Mapping[str, Any]) -> str:
    """The methods with the settings that stand in the key, in one line."""
    parts = []
    for method in config.get("methods") or []:
        fields = [f"{name}={value}" for name, value in method.items() if name != "name"]
        parts.append(" ".join([str(method.get("name", "?")), *fields]))
    return " + ".join(parts) or DENSE
