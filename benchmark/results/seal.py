"""Checksums beside what is written, so that a value that was changed later is not believed.

A sealed document has one more field, ``check``: the first 16 hex digits of the SHA-256 of the JSON
text ``[scope, document]`` without white space and with sorted keys, the document without that
field.  The scope says to what it belongs, so that a line that was moved to another cell is found
too.  It is no signature: whoever wants to can write a valid one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.files import canonical_json, text_sha256
from sparse_attention.reading import decoded, parse_json

_CHECK = "check"
_LAST = f',"{_CHECK}":"'
"""What stands before the checksum of a sealed line, and never within a text of JSON."""


def seal(document: Mapping[str, Any], scope: str) -> dict[str, Any]:
    """The document with its checksum."""
    return {**document, _CHECK: _checksum(canonical_json(document), scope)}


def unseal(sealed: object, scope: str) -> dict[str, Any]:
    """The document without its checksum; ``ValueError`` if that is missing or of another one."""
    if not isinstance(sealed, dict):
        raise ValueError("not a JSON object")
    document = {name: value for name, value in sealed.items() if name != _CHECK}
    if _CHECK not in sealed:
        raise ValueError("it has no checksum")
    if sealed[_CHECK] != _checksum(canonical_json(document), scope):
        raise ValueError("its checksum is that of another content")
    return document


def sealed_line(document: Mapping[str, Any], scope: str) -> bytes:
    """A line of JSON, with the checksum last; the document has fields."""
    text = canonical_json(document)
    return f'{text[:-1]}{_LAST}{_checksum(text, scope)}"}}\n'.encode("ascii")


def unsealed_line(line: bytes, scope: str) -> Any:
    """The document in a sealed line; ``ValueError`` if it cannot be believed."""
    text = decoded(line, "it", "text")
    start, _, end = text.rpartition(_LAST)
    document = f"{start}}}"
    # Of a line as we write it, no text has to be made again from what was read.
    if document.isascii() and end.rstrip("\n") == f'{_checksum(document, scope)}"}}':
        return parse_json(document, "text", any_text=True)
    return unseal(parse_json(text, "text", any_text=True), scope)


def _checksum(document: str, scope: str) -> str:
    return text_sha256(f"[{canonical_json(scope)},{document}]")[:16]
