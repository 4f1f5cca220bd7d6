"""Methods that other packages and scripts add."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from contributing import ROOT, install, toy_source

from benchmark.console.main import main
from benchmark.generic_config_optimizer import GenericConfigOptimizer, is_tunable
from benchmark.results.key import config_document
from sparse_attention import (
    CONFIG_TYPES,
    AttentionConfig,
    UserError,
    load_config,
    make_config,
    register_method,
)
from sparse_attention.maskers import MASKERS, Masker, OracleTopK
from sparse_attention.presses import PRESSES, Scorer
from sparse_attention.registry import METHODS

ENTRY = "[sparse_bench.methods]\n{name} = {value}\n"


@pytest.fixture(autouse=True)
def _only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(METHODS, "_registered", dict(METHODS._registered))


@pytest.fixture
def strides(site: Path) -> Path:
    """A package with the toy method, installed."""
    entry = ENTRY.format(name="every_nth", value="strides.every_nth:EveryNth")
    install(site, "strides", {"every_nth": toy_source()}, entry)
    return site


def broken(folder: Path, name: str, source: str, value: str = "broken.method:Method") -> None:
    install(folder, "broken", {"method": source}, ENTRY.format(name=name, value=value))


@pytest.mark.usefixtures("strides")
def test_an_installed_method_is_used_by_name(tmp_path):
    assert "every_nth" in METHODS
    assert "every_nth" in CONFIG_TYPES
    assert list(METHODS)[-1] == "every_nth"
    assert "strides" not in sys.modules, "names are known without an import"
    config = make_config("every_nth", step=4, window_size=16)
    assert config.describe() == "sink + local window_size=16 + every_nth step=4"
    document = config.to_json()
    assert AttentionConfig.from_json(document) == config
    (tmp_path / "mine.json").write_text(str(document).replace("'", '"'))
    assert load_config(tmp_path / "mine.json") == config
    with pytest.raises(UserError, match="every_nth: step = 0"):
        make_config("every_nth", step=0)
    assert is_tunable("every_nth")
    space = GenericConfigOptimizer("every_nth").search_space
    assert [parameter.name for parameter in space] == ["sink_size", "window_size", "step"]
    everything = GenericConfigOptimizer("sparse_attention").parameters("every_nth")
    assert "every_nth.step" in [parameter.name for parameter in everything]


@pytest.mark.usefixtures("strides")
def test_it_answers_and_is_listed(tmp_path, capsys):
    assert main(["ls"]) == 0
    shown = capsys.readouterr().out
    assert "every_nth: Read every step-th key of the sequence" in shown
    assert "    step: default 8, an integer >= 1" in shown
    assert "(sink + local + every_nth)" in shown


def test_names_are_gone_without_the_package(strides, monkeypatch):
    assert "every_nth" in METHODS
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(strides)])
    assert "every_nth" not in METHODS
    with pytest.raises(UserError, match="unknown config type 'every_nth'"):
        make_config("every_nth")


def test_results_depend_on_the_code_of_the_package(strides):
    key = config_document(make_config("every_nth"))
    assert set(key) == {"methods", "sources_sha256"}
    assert len(key["sources_sha256"]["every_nth"]) == 64
    assert "sources_sha256" not in config_document(make_config("quest"))
    program = (
        "from benchmark.results.key import config_document; from sparse_attention import "
        "make_config; print(config_document(make_config('every_nth'))['sources_sha256'])"
    )

    module = strides / "strides" / "every_nth.py"
    module.write_text(module.read_text().replace("step == 0", "step == 1"))
    environment = {"PYTHONPATH": f"{strides}:{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    told = subprocess.check_output(command, env=environment, text=True, cwd=strides).strip()
    assert told != str(key["sources_sha256"])
    assert told.startswith("{'every_nth': '")


GOOD = '''
from sparse_attention.maskers import Masker, OracleTopK
from sparse_attention.method import Method as Base
from sparse_attention.presses import Press


class Method(OracleTopK):
    """Reads.

    Cost: none.

    Fails: never.

    Source: none.
    """

    name = "mine"
'''
"""A method with nothing wrong, to be spoilt."""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class", "import no_such_module\n\nclass", "import failed: ModuleNotFoundError"),
        ("class", "raise SystemExit('no')\n\nclass", "import failed: SystemExit: no"),
        ("class Method", "class Other", "import failed: AttributeError"),
        ("class Method(OracleTopK)", "class Method(Base)", "not a subclass of Masker, Scorer or"),
        ("class Method(OracleTopK)", "class Method(Press)", "not a subclass of Masker, Scorer or"),
        ("class Method(OracleTopK)", "class Method(Masker)", "does not implement propose"),
        ('name = "mine"', "pass", "its name is 'oracle_top_k' and must be that of the entry point"),
        ('name = "mine"', 'name = "Mine!"', "its name is 'Mine!' and must be made of lower-case"),
        ('name = "mine"', "name = 7", "its name is 7 and must be made of lower-case"),
        ('name = "mine"', 'name = "yours"', "must be that of the entry point, 'mine'"),
        ("    Cost: none.\n\n", "", "has the sections Fails, Source and needs"),
        ('"mine"\n', '"mine"\n    model_config = {"frozen": False}\n', "without frozen"),
        ('"mine"\n', '"mine"\n    model_config = {"extra": "allow"}\n', 'without extra="forbid"'),
        ('"mine"\n', '"mine"\n    more: int\n', "fields have no default: more"),
        ('"mine"\n', '"mine"\n    stacked = frozenset({"gone"})\n', "stacked names fields"),
    ],
)
def test_what_cannot_be_used_says_why(site, tmp_path, capsys, old, new, message):
    assert old in GOOD
    broken(site, "mine", GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        make_config("mine")
    text = str(caught.value)
    assert "entry point 'mine = broken.method:Method' (package broken)" in text
    assert message in text
    assert "Valid is a concrete subclass of Masker, Scorer or Adjustment" in text
    with pytest.raises(UserError, match="entry point 'mine"):
        AttentionConfig.from_json({"methods": [{"name": "mine"}]})
    assert make_config("quest"), "others are not concerned"
    assert main(["ls", "methods"]) == 2
    shown = capsys.readouterr()
    assert set(METHODS) - {"mine"} <= {line.strip().split(":")[0] for line in shown.out.split("\n")}
    assert "mine:" not in shown.out
    assert shown.err == f"sparse-bench: error: {text}\n"
    command = ["run", "--models", "embedded", "--benchmarks", "ruler", "--configs", "mine"]
    assert main([*command, "--results-dir", str(tmp_path / "results")]) == 2
    assert capsys.readouterr().err == f"sparse-bench: error: {text}\n"


def test_the_method_to_be_spoilt_is_good(site):
    broken(site, "mine", GOOD)
    assert make_config("mine", heavy_size=0.1).methods[-1].heavy_size == 0.1
    assert not METHODS.complaints()


@pytest.mark.parametrize("value", ["broken.method", "broken.method:Method:more", "a b"])
def test_a_reference_of_another_form(site, value):
    broken(site, "mine", GOOD, value)
    with pytest.raises(UserError, match=r"is not of the form package\.module:Class"):
        make_config("mine")


@pytest.mark.parametrize("name", ["quest", "snapkv", "sink_local", "dense", "sparse_attention"])
def test_names_of_the_project_cannot_be_taken(site, name, capsys):
    before = {kind: CONFIG_TYPES[kind] for kind in CONFIG_TYPES}
    broken(site, name, GOOD.replace('"mine"', f'"{name}"'))
    assert {kind: CONFIG_TYPES[kind] for kind in CONFIG_TYPES} == before
    assert main(["ls", "config-types"]) == 2
    shown = capsys.readouterr()
    assert f"'{name}' is taken by this project" in shown.err
    assert all(f"  {kind}: " in shown.out for kind in before)
    taken = type("Taken", (OracleTopK,), {"name": name, "__doc__": OracleTopK.__doc__})
    with pytest.raises(UserError, match=f"named '{name}' exists already"):
        register_method(taken)


@pytest.mark.usefixtures("strides")
def test_two_packages_with_one_name(site):
    broken(site, "every_nth", GOOD.replace('"mine"', '"every_nth"'))
    with pytest.raises(UserError, match="several packages offer the name 'every_nth'"):
        make_config("every_nth")
    taken = type("Taken", (OracleTopK,), {"name": "every_nth", "__doc__": OracleTopK.__doc__})
    with pytest.raises(UserError, match="exists already"):
        register_method(taken)


def test_a_registered_method_is_used_by_name():
    def define(default: int) -> type[Masker]:
        @register_method
        class Mine(OracleTopK):
            __doc__ = OracleTopK.__doc__
            name = "mine"
            heavy_size: int = default

        return Mine

    assert define(3) is METHODS["mine"]
    assert make_config("mine").methods[-1].heavy_size == 3
    # A cell of a notebook that is run again.
    assert define(5) is METHODS["mine"]
    assert make_config("mine").methods[-1].heavy_size == 5
    assert AttentionConfig.from_json(make_config("mine").to_json()) == make_config("mine")
    other = type("Other", (OracleTopK,), {"name": "mine", "__doc__": OracleTopK.__doc__})
    with pytest.raises(UserError, match="exists already"):
        register_method(other)
    with pytest.raises(UserError, match="does not implement rank"):
        register_method(type("Odd", (Scorer,), {"name": "odd", "__doc__": OracleTopK.__doc__}))


def test_tables_of_the_project_hold_its_own_alone(strides):
    assert set(METHODS) == {*MASKERS, *PRESSES, "every_nth"}
