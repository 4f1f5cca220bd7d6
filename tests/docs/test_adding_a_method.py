"""Following CONTRIBUTING.md is enough to add a method, here and in another package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from contributing import ROOT, apply_edits, install, toy_source, toy_test

MODULE = Path("sparse_attention/maskers/every_nth.py")
CONTRACT = Path("tests/sparse_attention/maskers/test_contract.py")
NEEDED = ("benchmark", "sparse_attention", "docs", "perf", "tests/support", "pyproject.toml")


def run(folder: Path, *arguments: str, path: tuple[Path, ...] = ()) -> str:
    """What a Python program prints in a folder; it must end well."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (*path, folder)))
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which CONTRIBUTING.md was followed."""
    root = tmp_path_factory.mktemp("project")
    unwanted = shutil.ignore_patterns("__pycache__", "images", "sample_data")
    for name in NEEDED:
        source, target = ROOT / name, root / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=unwanted)
        else:
            shutil.copy(source, target)
    (root / CONTRACT).parent.mkdir(parents=True)
    shutil.copy(ROOT / CONTRACT, root / CONTRACT)
    changed = apply_edits(root)
    assert len({*changed, MODULE}) == 3, "a method is three files"
    (root / MODULE).write_text(toy_source(), encoding="utf-8")
    return root


PROGRAM = f"""
import runpy, sys
import pytest
code = pytest.main(["-p", "no:cacheprovider", "-v", "-k", "every", "{CONTRACT}"])
from benchmark.console.main import main
from benchmark.generic_config_optimizer import is_tunable
from method_table import CURVES
main(["ls"])
print([len(curve.configs) for curve in CURVES if curve.name == "every_nth"])
print("searched:", is_tunable("every_nth"))
runpy.run_path("docs/build_method_pages.py", run_name="__main__")
sys.exit(code)
"""
"""One process, because most of its time is that of imports."""


@pytest.fixture(scope="module")
def shown(patched: Path) -> str:
    assert not (patched / "docs/methods/every_nth.md").exists()
    return run(patched, "-c", PROGRAM, path=(patched / "perf", patched / "tests/support"))


def test_the_contract_runs_on_it(shown):
    assert re.search(r"test_full_budget_is_dense\[\S*every_nth\S*\] PASSED", shown)
    assert "test_every_method_is_in_the_suite PASSED" in shown
    assert shown.count("[every_nth] PASSED") >= 5


@pytest.mark.usefixtures("shown")
def test_its_page_is_built(patched):
    page = (patched / "docs/methods/every_nth.md").read_text(encoding="utf-8")
    assert "| `step` | an integer >= 1 | `8` | 2, 4, 8, 16, 32 | Distance between" in page
    assert "[every_nth](every_nth.md)" in (patched / "docs/methods/README.md").read_text()


def test_it_is_listed_searched_and_drawn(shown):
    assert "  every_nth: Read every step-th key of the sequence" in shown
    assert "(sink + local + every_nth)" in shown
    assert "\n[5]\nsearched: True\n" in shown


def test_the_files_are_as_the_project_wants_them(patched):
    run(patched, "-m", "ruff", "check", "--quiet", str(MODULE), str(MODULE.parent / "__init__.py"))
    run(patched, "-m", "ruff", "format", "--check", str(MODULE), "tests/support/methods.py")


def test_a_package_runs_the_contract_with_what_is_shown(tmp_path):
    entry = "[sparse_bench.methods]\nevery_nth = my_package.every_nth:EveryNth\n"
    install(tmp_path, "my_package", {"every_nth": toy_source()}, entry)
    (tmp_path / "test_mine.py").write_text(toy_test(), encoding="utf-8")
    program = (
        "import pytest, sys; from benchmark.console.main import main;"
        "main(['ls', 'methods']); sys.exit(pytest.main(sys.argv[1:]))"
    )
    words = ("-v", "-p", "no:cacheprovider", "test_mine.py")
    shown = run(tmp_path, "-c", program, *words, path=(ROOT,))
    assert re.search(r"TestEveryNth::test_full_budget_is_dense\[\S*every_nth\S*\] PASSED", shown)
    assert "FAILED" not in shown
    assert "every_nth: Read every step-th key" in shown
