"""The page of peers says how every masker that is compared did, and why those that differ do."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from contributing import ROOT

from sparse_attention.errors import UserError


@pytest.fixture
def attention_hub(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "perf" / "peers"))
    monkeypatch.delitem(sys.modules, "attention_hub", raising=False)
    import attention_hub

    return attention_hub


def test_the_page_has_every_masker_that_is_compared(attention_hub) -> None:
    page = (ROOT / "docs" / "peers.md").read_text().partition("## sparse-attention-hub")[2]
    rows = re.findall(r"^\| (\w[\w ]*) \| (.*)", page, re.MULTILINE)
    compared = attention_hub.pairs(Path("channels.json"), Path("networks.safetensors"))
    measured = {name: row for name, row in rows if re.match(r"[01]\.\d{5}", row)}
    assert [*measured] == [pair.label for pair in compared]
    for pair in compared:
        assert measured[pair.label].startswith("1.0") == pair.same, pair.label
    explained = {name for name, row in rows if name not in ("masker", *measured) or "](" in row}
    assert explained == {pair.label.split()[0] for pair in compared if not pair.same}


def test_what_is_no_checkout_is_refused(attention_hub, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkout of sparse-attention-hub.*git clone"):
        attention_hub.check_checkout(tmp_path)
    base = tmp_path / "sparse_attention_hub/sparse_attention/research_attention/maskers/base.py"
    base.parent.mkdir(parents=True)
    base.touch()
    assert attention_hub.check_checkout(tmp_path) == tmp_path.resolve()
