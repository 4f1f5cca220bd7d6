from __future__ import annotations

import html.parser
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.report.facts import samples as sample_facts
from benchmark.report.frames.scan import scan_results
from benchmark.report.page.build import page_facts, page_html, write_page
from perf.made_results import make_results
from sparse_attention.config import AttentionConfig

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe \x1b[31m \0 "
    "<!-- \ud800 $x$ | =1+1"
)


class Elements(html.parser.HTMLParser):
    """The tags of a page and what its scripts hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.scripts:
            self.scripts[-1] += data


def facts_of(page: str) -> dict[str, Any]:
    found = json.loads(Elements(page).scripts[1])
    assert isinstance(found, dict)
    return found


def test_a_page_has_everything_and_needs_no_network(made: Path, tmp_path: Path) -> None:
    write_page(scan_results(made), [], tmp_path / "new" / "report.html")
    page = (tmp_path / "new" / "report.html").read_text()
    elements = Elements(page)
    assert [tag for tag, _ in elements.tags].count("script") == 3
    assert not [tag for tag, attributes in elements.tags if {"src", "action"} & set(attributes)]
    facts = facts_of(page)
    (group,) = facts["groups"]
    assert [config["label"] for config in group["configs"]] == ["dense", "quarter", "half", "top"]
    assert set(group["panels"]) == {"", "niah_single_1", "vt"}
    assert [subset["of"] for subset in group["samples"]] == [6, 6]
    sample = group["samples"][1]["samples"][0]
    assert len(sample["answers"]) == 4
    assert sample["references"] == ["1000"]
    half = group["configs"][-1]["cells"][""]
    assert len(half["layer_density"]) == len(half["layer_error"]) == 32
    assert half["layer_density"][0] == pytest.approx(1.5 * half["density"], rel=0.01)
    assert "Few samples" in group["caveats"][0]
    assert facts["left_out"] == []


def test_hostile_text_only_shows(tmp_path: Path) -> None:
    text = HOSTILE + "x" * (1 << 20)
    results = make_results(tmp_path / "r", {HOSTILE[:50]: AttentionConfig()}, ["vt"], 2, text=text)
    page = page_html(page_facts(scan_results(results), []))
    assert len(page) < 6_000_000
    elements = Elements(page)
    assert [tag for tag, _ in elements.tags].count("script") == 3
    assert "img" not in [tag for tag, _ in elements.tags]
    own = page[page.index('id="facts"') :]
    data = own[: own.index("</script>")]
    assert "<" not in data
    assert not re.search("[\0\x1b\u202e\ud800]", json.dumps(facts_of(page), ensure_ascii=False))
    sample = facts_of(page)["groups"][0]["samples"][0]["samples"][0]
    assert "</script>" in sample["question"]
    assert r"\u202e" in sample["question"]
    assert "characters in all" in sample["question"]


def test_answers_are_cut_to_a_bound_and_that_is_said(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.report.page.build.LARGEST", 900)
    (group,) = page_facts(scan_results(made), [])["groups"]
    kept = [(len(subset["samples"]), subset["of"]) for subset in group["samples"]]
    assert all(0 < shown < of == 6 for shown, of in kept)
    assert sample_facts.LARGEST > 1_000_000


@pytest.mark.parametrize("state", ["unfinished", "one sample", "damaged"])
def test_whatever_state_a_folder_is_in_there_is_a_page(
    state: str, made: Path, tmp_path: Path
) -> None:
    if state == "one sample":
        results = make_results(tmp_path / "r", {"dense": AttentionConfig()}, ["vt"], 1)
    else:
        results = Path(shutil.copytree(made, tmp_path / "r"))
        for metrics in results.glob("*/*/*/*/metrics.json"):
            if state == "unfinished":
                metrics.unlink()
            elif "half" in str(metrics):
                metrics.write_text("{}")
    facts = facts_of(page_html(page_facts(scan_results(results), [])))
    said = " ".join(facts["groups"][0]["caveats"])
    if state == "unfinished":
        assert "Nothing here has a score." in said
        assert facts["groups"][0]["verdict"] is None
    elif state == "damaged":
        assert facts["left_out_count"] == 2
        assert "it has no checksum" in facts["left_out"][0]
    else:
        assert "1 independent context in" in said
