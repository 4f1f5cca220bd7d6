"""The page of settings has every config type, and the runs behind it draw every method."""

from __future__ import annotations

import re
import sys

import pytest
from contributing import ROOT

from sparse_attention import make_config
from sparse_attention.config_types import CONFIG_TYPES

PAGE = ROOT / "docs" / "settings.md"
COMBINED = {"critical_adakv", "layer_snapkv", "streaming_llm_rerotated", "decoding_knorm"}
"""Of parts that have rows of their own, or, like snapkv_top_k, of a press and a masker."""
LEFT_OUT = {"dense", "sink_masker", "local_masker", "snapkv_top_k", *COMBINED}


@pytest.fixture
def perf(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "perf"))
    for name in ("real_lines", "paper_settings", "paper_files"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import paper_settings
    import real_lines

    return paper_settings, real_lines


def test_every_config_type_has_its_settings(perf) -> None:
    papers, lines = perf
    assert set(papers.SOURCES) == {*CONFIG_TYPES} - LEFT_OUT
    drawn = {line.config_type for line in lines.LINES}
    assert drawn == {*papers.SOURCES} - {"hash_attention"}, "no networks for the model"
    labels = [label for line in lines.LINES for label in line.configs()]
    assert len(set(labels)) == len(labels)
    for source in papers.SOURCES.values():
        if source.config:
            measured = [c for line in lines.LINES for c in line.configs().values()]
            assert source.config in measured


def test_the_page_shows_the_defaults_of_today(perf) -> None:
    papers, _ = perf
    rows = re.findall(r"^\| `(\w+)` \|.*?\|.*?\| (.*?) \|", PAGE.read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == list(papers.SOURCES)
    for name, shown in rows:
        last = make_config(name).methods[-1]
        for setting in shown.split(", "):
            field, _, value = setting.partition(" ")
            if value:
                assert str(getattr(last, field)) == value, name


def test_the_page_shows_what_papers_use_and_the_lines_that_say_so(perf) -> None:
    papers, _ = perf
    page = PAGE.read_text()
    shown = re.findall(r"^\| `(\w+)` \| (.*?) \|.*\|.*\|.*\|.*\|", page, re.MULTILINE)
    assert shown == [(name, source.words) for name, source in papers.SOURCES.items()]
    assert all(source.lines for source in papers.SOURCES.values())
    _, _, lines = page.partition("## What says so")
    found = [line for line in lines.splitlines() if line.startswith("| `")]
    assert found == list(papers.line_rows())
