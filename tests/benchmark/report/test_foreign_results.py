"""Results that somebody else made, with checksums that fit: anything may stand in them."""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from flips import flipped
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from benchmark.console.main import main
from benchmark.files import fingerprint
from benchmark.report.frames.scan import scan_results
from benchmark.report.groups import group_results
from benchmark.report.tables import print_group
from benchmark.report.write import write_report
from benchmark.results.seal import seal, unseal
from benchmark.run.matrix import MatrixResult

NASTY = "\x1b[31m\r\n# <script>x</script> ![i](http://127.0.0.1/i.png) \u202e $\\frac{$ |"


def copy(finished: MatrixResult, results: Path) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A copy of the results; the folder of a cell, its key and its metrics."""
    shutil.copytree(finished.results_dir, results)
    cell = results / finished.cells[1].folder.relative_to(finished.results_dir)
    key = json.loads((cell / "key.json").read_bytes())
    return cell, key, unseal(json.loads((cell / "metrics.json").read_bytes()), fingerprint(key))


def replace(cell: Path, key: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Write other content, with the checksums and names that it must have."""
    (cell / "key.json").write_text(json.dumps(key))
    (cell / "metrics.json").write_text(json.dumps(seal(metrics, fingerprint(key))))
    cell.rename(cell.with_name(f"{cell.name[:-8]}{fingerprint(key)[:8]}"))


@settings(max_examples=10)
@given(data=st.data(), name=st.sampled_from(["key", "metrics"]))
def test_whatever_stands_there_nothing_raises(
    data: st.DataObject, name: str, finished: MatrixResult, tmp_path_factory
) -> None:
    cell, key, metrics = copy(finished, tmp_path_factory.mktemp("foreign") / "results")
    documents = {"key": key, "metrics": metrics}
    text = data.draw(flipped(json.dumps(documents[name]).encode()))
    try:
        documents[name] = json.loads(text)
        replace(cell, **documents)
    except (ValueError, TypeError):  # no JSON, or none that has a checksum
        return
    found = group_results(scan_results(cell.parents[3]))
    assert 1 <= sum(len(group.rows) for group in found.groups) <= 2
    out = io.StringIO()
    for group in found.groups:
        print_group(group, Console(file=out, width=120))
    assert "\x1b" not in out.getvalue()
    write_report(found)


def test_names_are_shown_and_not_obeyed(
    finished: MatrixResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    cell, key, metrics = copy(finished, Path("results"))
    names = ("model", "benchmark", "subset", "config", "description")
    metrics |= {name: f"{NASTY}{name}" for name in names}
    metrics["remarks"] = [NASTY]
    metrics["tuning"] = {"mode": NASTY, "search": NASTY, "description": f"{NASTY}tuning"}
    replace(cell, key, metrics)
    (cell.parent / NASTY.replace("/", "")[:100]).mkdir()
    assert main(["report", "results"]) == 0
    shown = capsys.readouterr()
    text = (cell.parents[1] / "report.md").read_text()
    for output in (shown.out, shown.err, text):
        assert all(char.isprintable() for char in output if char not in "\n")
        assert not re.search(r"^\s*# <", output, re.MULTILINE)
    assert r"\x1b[31m\r\n# <script>x</script>" in shown.out
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html
    assert set(re.findall(r'src="([^"]*)"', html)) == {
        path.name for path in cell.parents[1].glob("scores-*.png")
    }
    assert html.count("<h1>") == 2


def test_what_is_logged_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", NASTY]) == 2
    logging.getLogger("benchmark").warning("model %s: %s", NASTY, "a\nb")
    shown = capsys.readouterr().err
    assert r"\x1b" in shown
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "\u202e" not in shown
