"""Changes to files of JSON, as a strategy of hypothesis: of one byte, or of one field."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

_VALUES: list[Any] = [
    *(None, True, 0, 1, -1, 0.5, 1.5, 1e300, 10**30, "", "ok", "dense", "\ud800", "\x1b[31m"),
    *([], {}, [[]], {"name": "sink"}, [0.0, 1.0]),
]


@st.composite
def flipped(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` with one byte changed, removed or added, or with one JSON field changed."""
    if draw(st.booleans()):
        place = draw(st.integers(0, len(content) - 1))
        new = bytes(draw(st.lists(st.integers(0, 255), max_size=2)))
        return content[:place] + new + content[place + 1 :]
    is_lines = content.startswith(b'{"')
    lines = content.splitlines(keepends=True) if is_lines else [content]
    number = draw(st.integers(0, len(lines) - 1))
    document = json.loads(lines[number])
    holder, name = draw(st.sampled_from(list(_places(document))))
    change = draw(st.sampled_from(["value", "type", "remove", "repeat"]))
    old = holder[name]
    if change == "remove":
        del holder[name]
    elif change == "type" and isinstance(old, int | float):
        holder[name] = str(old) if draw(st.booleans()) else old + 1
    else:
        holder[name] = draw(st.sampled_from(_VALUES))
    text = json.dumps(document)
    if change == "repeat":
        text = text.replace("{", f'{{"{draw(st.sampled_from(list(document)))}": 0, ', 1)
    lines[number] = text.encode() + b"\n"
    return b"".join(lines)


def _places(value: Any) -> Any:
    """Every container with each name or number of what it holds."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in items:
        yield value, name
        if isinstance(inner, dict | list):
            yield from _places(inner)
