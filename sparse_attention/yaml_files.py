"""Files of YAML or JSON, whichever their name says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sparse_attention.errors import UserError
from sparse_attention.reading import (
    MAX_DEPTH,
    MIB,
    check_json,
    read_json,
    read_text,
    repeated,
    shown,
)

_LARGEST = MIB // 4
"""Bytes, of what people write by hand; the reader takes 15 seconds for a MiB."""
YAML_ENDINGS = (".yaml", ".yml")


def is_yaml(value: str | Path) -> bool:
    """Whether a name is one of a YAML file."""
    return str(value).lower().endswith(YAML_ENDINGS)


def read_document(value: str | Path, what: str) -> Any:
    """The value in a file of YAML, if its name ends so, else of JSON; both hold what JSON can.

    Raises:
        UserError: as ``parse_json``; and for aliases, with which a few lines become gigabytes.
    """
    if not is_yaml(value):
        return read_json(value, what)
    where = f"{what}: {value}"
    try:
        document = yaml.load(read_text(value, what, _LARGEST), _Loader)
    except UserError:
        raise
    except Exception as error:  # of any class: of '!!bool x' it is a KeyError
        raise UserError(f"{where}: not YAML ({' '.join(str(error).split())}).") from error
    _check_plain(document, where)
    check_json(document, where)
    return document


class _Loader(yaml.SafeLoader):
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("an alias (*name) stands in it; write the value itself")
        if self._depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested too deeply, over {MAX_DEPTH} levels")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            keys = [self.construct_object(key) for key, _ in node.value]
            raise yaml.YAMLError(f"keys stand twice in one mapping: {shown(repeated(keys))}")
        return found


def _check_plain(document: Any, where: str) -> None:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if other := [key for key in value if not isinstance(key, str)]:
                raise UserError(f"{where}: the key {shown(other[0])} is no text; put it in quotes.")
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif value is not None and not isinstance(value, str | int | float):
            raise UserError(f"{where}: {shown(value)} is nothing that JSON has; put it in quotes.")
