"""Prompt wording: a data file that a user can replace, checked when it is read.

The file is JSON with the keys of ``prompts.json`` beside this module.  Its strings are Python
format strings whose fields are plain names; ``_FIELDS`` says which names a string must and may
hold.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_attention.errors import UserError, unknown_name
from sparse_attention.reading import MIB, decoded, parse_json, read_bytes

_WHAT = "prompt file"
_NEVER_EMPTY = ("noise", "fwe.blank")
"""What samples are filled with."""
DEFAULT_PATH = Path(__file__).with_name("prompts.json")

_NIAH = "type types query"
_QUESTION = ("query", "type types")
# key of the string: (fields it must hold, further fields it may hold)
_FIELDS: dict[str, tuple[str, str]] = {
    "version": ("", ""),
    "noise": ("", ""),
    "value_types.numbers.type": ("", ""),
    "value_types.numbers.types": ("", ""),
    "value_types.uuids.type": ("", ""),
    "value_types.uuids.types": ("", ""),
    "niah.needle": ("key value", "type types"),
    "niah.line_joiner": ("", ""),
    "niah.single.context": ("haystack", _NIAH),
    "niah.single.question": _QUESTION,
    "niah.single.answer_prefix": ("", _NIAH),
    "niah.multivalue.context": ("haystack", _NIAH),
    "niah.multivalue.question": _QUESTION,
    "niah.multivalue.answer_prefix": ("", _NIAH),
    "niah.multiquery.context": ("haystack", _NIAH),
    "niah.multiquery.question": _QUESTION,
    "niah.multiquery.answer_prefix": ("", _NIAH),
    "vt.context": ("haystack", "value"),
    "vt.assign": ("value variable", ""),
    "vt.copy": ("source target", ""),
    "vt.line_joiner": ("", ""),
    "vt.question": ("value", ""),
    "vt.answer_prefix": ("", "value"),
    "vt.example": ("prompt answers", ""),
    "vt.example_answer": ("answer", "number"),
    "vt.example_joiner": ("", ""),
    "cwe.context": ("words", ""),
    "cwe.entry": ("word", "number"),
    "cwe.question": ("", ""),
    "cwe.answer_prefix": ("", ""),
    "cwe.example": ("prompt answers", ""),
    "cwe.example_answer": ("answer", "number"),
    "cwe.example_joiner": ("", ""),
    "fwe.context": ("words", ""),
    "fwe.blank": ("", ""),
    "fwe.question": ("", ""),
    "fwe.answer_prefix": ("", ""),
    "qa.context": ("documents", "query"),
    "qa.document": ("text", "number"),
    "qa.document_joiner": ("", ""),
    "qa.question": ("query", ""),
    "qa.answer_prefix": ("", "query"),
}


@dataclass(frozen=True)
class Prompts:
    """The strings of a prompt file by dotted key, e.g. ``niah.single.question``."""

    strings: Mapping[str, str]
    sha256: str
    """Of the file's bytes."""

    def text(self, name: str, /, **fields: object) -> str:
        """Return the string ``name`` with its fields filled in; surplus fields are ignored."""
        return self.strings[name].format(**fields)

    @property
    def version(self) -> str:
        """The file's own name for its wording."""
        return self.strings["version"]


def load_prompts(path: str | Path | None = None) -> Prompts:
    """Read and check a prompt file, the project's own by default.

    Raises ``UserError`` for a file that is missing or no JSON, and for a string that is missing,
    unknown, malformed or without a field that it needs; the message names the string's key.
    """
    file = DEFAULT_PATH if path is None else Path(path)
    content = read_bytes(file, _WHAT, MIB)
    tree = parse_json(decoded(content, file, _WHAT), f"{_WHAT} {file}")
    strings = dict(_flatten(tree, file))
    for key in strings:
        if key not in _FIELDS:
            raise unknown_name(f"string in the prompt file {file}:", key, _FIELDS)
    for key, (required, optional) in _FIELDS.items():
        if key not in strings:
            raise UserError(f"the prompt file {file} lacks the string {key!r}.")
        if key in _NEVER_EMPTY and not strings[key].strip():
            raise UserError(f"the prompt file {file} has no text in the string {key!r}.")
        check_fields(file, key, strings[key], set(required.split()), set(optional.split()))
    return Prompts(strings, hashlib.sha256(content).hexdigest())


def _flatten(tree: Any, file: Path, prefix: str = "") -> list[tuple[str, str]]:
    if not isinstance(tree, dict):
        raise UserError(
            f"the prompt file {file} must hold nested JSON objects of strings, "
            f"found {type(tree).__name__} at {prefix.rstrip('.') or 'the top'}."
        )
    pairs: list[tuple[str, str]] = []
    for name, value in tree.items():
        if isinstance(value, str):
            pairs.append((prefix + name, value))
        else:
            pairs += _flatten(value, file, f"{prefix}{name}.")
    return pairs


def check_fields(file: Path, key: str, text: str, required: set[str], optional: set[str]) -> None:
    """Raise ``UserError`` for a format string without a field it needs, or with another one."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UserError(f"{file}: the string {key!r} is malformed: {error}.") from error
    found = {name for _, name, _, _ in parts if name is not None}
    valid = ", ".join(f"{{{name}}}" for name in sorted(required | optional)) or "no placeholder"
    for name in sorted(required - found):
        raise UserError(f"{file}: the string {key!r} lacks the placeholder {{{name}}}.")
    # Exact names only: a format string could otherwise reach attributes of the values.
    for name in sorted(found - required - optional):
        raise UserError(f"{file}: unknown placeholder {{{name}}} in {key!r}; it may hold {valid}.")
    if any(spec or conversion for _, name, spec, conversion in parts if name is not None):
        raise UserError(f"{file}: the string {key!r} may not hold a format specification.")
