"""The examples of the documentation run and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def example(page: str) -> str:
    """The Python blocks of a page as one program."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL))


def test_the_generate_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(example("generate.md"), "generate.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["4712.", "9035."]
    for line in lines[2:4]:
        density, error, _ = map(float, line.split())
        assert density < 0.2
        assert 0 < error < 1
    assert lines[4] == lines[6] == "['4712.', '9035.']"
    assert lines[5] == "[1.0, 1.0]"
    assert all(0.25 <= float(share) < 0.27 for share in lines[7].strip("[]").split(","))
