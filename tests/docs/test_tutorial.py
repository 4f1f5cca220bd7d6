"""The tutorial runs from its first cell to its last, on any results."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from perf.made_results import make_results
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"


def test_the_tutorial_comes_to_a_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = {
        "dense": AttentionConfig(),
        "quarter": make_config("knorm", compression_ratio=0.25),
        "most": make_config("knorm", compression_ratio=0.9),
        "top": make_config("oracle_top_k", heavy_size=0.6),
    }
    make_results(tmp_path / "results", configs, ["niah_single_1", "vt"], 12)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    notebook = nbformat.read(TUTORIAL, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    decision = json.loads((tmp_path / "decision.json").read_text())
    (method,) = decision["methods"]
    assert (method["name"], method["compression_ratio"]) == ("knorm", 0.25)


def test_the_tutorial_is_kept_as_it_ran() -> None:
    notebook = nbformat.read(TUTORIAL, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    texts = json.dumps(notebook)
    assert not [word for word in ("/home/", "/tmp/", "/root/", '"stderr"') if word in texts]
