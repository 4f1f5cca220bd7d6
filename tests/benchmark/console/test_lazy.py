"""Names, summaries and cached files need none of the packages that take long to import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.console import lazy

PROGRAM = """
import sys, time
from benchmark.console.main import main
model = ["--models", "m", "--benchmarks"]
for command in (
    ["ls"], ["best"], ["tune", "--help"],
    ["run", *model, "ruler", "--sampels", "3"],
    ["run", *model, "rulr"],
    ["run", *model, "ruler", "--subsets", "vvt"],
    ["tune", *model, "ruler", "--configs", "magic_pg"],
    ["run", "--models", "./nowhere", "--benchmarks", "ruler"],
    ["run", "--models", "no/such model", "--benchmarks", "ruler"],
):
    try:
        code = main(command)
    except SystemExit as ended:
        code = ended.code
    print("code", code, file=sys.stderr)
used = time.process_time()
parts = {"torch._C", "numpy.linalg", "pandas.core", "pyarrow.lib", "transformers", "ray"}
print(parts & set(sys.modules), file=sys.stderr)
print(used, file=sys.stderr)
"""


def test_no_command_of_names_waits_for_them(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"}
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    *lines, parts, used = shown.stderr.splitlines()
    assert [line for line in lines if line.startswith("code")] == [
        f"code {code}" for code in (0, 1, 0, 2, 2, 2, 2, 2, 2)
    ]
    assert "lsh_k: default 10, an integer >= 1 and <= 62" in shown.stdout
    assert "niah_single_2" in shown.stdout
    for meant in ("--samples", "ruler", "vt", "magic_pig"):
        assert f"Did you mean {meant!r}" in shown.stderr
    assert "model './nowhere': nowhere is not a folder" in shown.stderr
    assert "unknown model 'no/such model'" in shown.stderr
    assert parts == "set()"
    # All of them together take about 1 s of a processor of 2020, torch alone 3 s.
    assert float(used) < 2


@pytest.fixture
def package(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A heavy package, ``weighty``, that writes down when its code runs."""
    folder = site / "weighty"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from pathlib import Path\n"
        "with (Path(__file__).parent / 'runs').open('a') as file: file.write('x')\n"
        "from weighty.part import value\n"
    )
    (folder / "part.py").write_text("import weighty\nvalue = 7\n")
    monkeypatch.setattr(lazy, "HEAVY", ("weighty", "nowhere_to_be_found"))
    return folder


def test_a_package_runs_when_something_of_it_is_asked_for(package: Path, site: Path) -> None:
    (site / "user.py").write_text("import weighty\ndef value(): return weighty.value\n")
    lazy.put_off_imports()
    import user  # type: ignore[import-not-found]
    import weighty  # type: ignore[import-not-found]

    inspect.getmodule(inspect.currentframe())  # looks at every module
    assert not (package / "runs").exists()
    assert user.value() == 7
    assert user.weighty is weighty is sys.modules["weighty"]
    assert type(weighty) is type(sys)
    assert weighty.__path__ == [str(package)]
    lazy.put_off_imports()
    lazy.load_imports()
    assert (package / "runs").read_text() == "x"


@pytest.mark.parametrize("statement", ["import weighty.part", "from weighty import value"])
def test_a_part_of_a_package_runs_it(package: Path, statement: str) -> None:
    lazy.put_off_imports()
    exec(statement)
    assert (package / "runs").read_text() == "x"


def test_everything_that_was_put_off_can_be_loaded(package: Path) -> None:
    lazy.put_off_imports()
    lazy.load_imports()
    assert (package / "runs").read_text() == "x"
    assert sys.modules["weighty"].value == 7


def test_a_package_that_fails_is_not_kept(package: Path) -> None:
    (package / "__init__.py").write_text("raise OSError('no library')")
    lazy.put_off_imports()
    with pytest.raises(OSError, match="no library"):
        lazy.load_imports()
    assert "weighty" not in sys.modules
