"""The tables of the README are as a terminal shows them."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_printed_tables_are_whole() -> None:
    assert BLOCKS
    for block in BLOCKS:
        assert "…" not in block
        assert all(len(line) <= 120 for line in block.splitlines())
        heading = block[: block.index("───")]
        assert {"density", "bytes"} <= set(heading.split()), "what is read stands beside it"
