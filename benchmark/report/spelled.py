"""Configurations with the settings that decide what they read, defaults too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.search_domains import domains_of
from sparse_attention.config import AttentionConfig
from sparse_attention.errors import UserError
from sparse_attention.method import Method


def spelled_out(document: Mapping[str, Any], otherwise: str) -> str:
    """A configuration, from JSON, with every field that can be tuned and all that are no default.

    ``otherwise`` where its methods are not installed here, whose defaults are not known then.
    """
    try:
        config = AttentionConfig.from_json({"methods": document.get("methods")})
    except UserError:
        return otherwise
    return " + ".join(map(_method, config.methods)) or "dense"


def _method(method: Method) -> str:
    tunable = domains_of(type(method), layers=0)
    said = method.describe().split()[1:]
    names = {part.partition("=")[0] for part in said}
    parts = [f"{key}={value}" for key, value in method if key in tunable or key in names]
    return " ".join([method.name, *parts])
