"""Checksums beside what is written, so that a value that was changed later is not believed.

A sealed document has one more field, ``check``: the first 16 hex digits of the SHA-256 of the JSON
text ``[scope, document]`` without white space and with sorted keys, the document without that
field.  The scope says to what it belongs, so that a line that was moved to another cell is found
too.  It is no signature: whoever wants to can write a valid one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.files import fingerprint

_CHECK = "check"


def seal(document: Mapping[str, Any], scope: str) -> dict[str, Any]:
    """The document with its checksum."""
    return {**document, _CHECK: _checksum(document, scope)}


def unseal(sealed: object, scope: str) -> dict[str, Any]:
    """The document without its checksum; ``ValueError`` if that is missing or of another one."""
    if not isinstance(sealed, dict):
        raise ValueError("not a JSON object")
    document = {name: value for name, value in sealed.items() if name != _CHECK}
    if _CHECK not in sealed:
        raise ValueError("it has no checksum")
    if sealed[_CHECK] != _checksum(document, scope):
        raise ValueError("its checksum is that of another content")
    return document


def _checksum(document: Mapping[str, Any], scope: str) -> str:
    return fingerprint([scope, document])[:16]
