"""Studies: every key is an option, what is wrong is named, what was asked is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.console.main import main
from benchmark.console.parser import build_parser
from benchmark.console.study import with_study, write_study
from sparse_attention.errors import UserError
from sparse_attention.yaml_files import read_document

STUDY = """
models: embedded
benchmarks: [ruler]
tasks: [vt]
configs: [dense, snapkv]
limit: 3
option: [ruler.length=256]
no-attention-error: true
dense_layers: [0, 1]
"""


def _study(tmp_path: Path, text: str) -> str:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    return str(path)


def test_keys_are_options_and_the_command_line_goes_before(tmp_path: Path) -> None:
    parser = build_parser()
    path = _study(tmp_path, STUDY)
    options = parser.parse_args(with_study(parser, ["run", path, "--samples", "7"]))
    assert (options.models, options.subsets, options.max_requests) == (["embedded"], ["vt"], 7)
    assert (options.option, options.measure_error) == (["ruler.length=256"], False)
    assert list(options.dense_layers) == [0, 1]


def test_the_effective_study_asks_for_the_same_again(tmp_path: Path) -> None:
    parser = build_parser()
    for text in (STUDY, STUDY + "command: tune\nper-task: true\ntrials: 4\n"):
        command = "tune" if "tune" in text else "run"
        options = parser.parse_args(with_study(parser, [command, _study(tmp_path, text)]))
        write_study(tmp_path, parser, options)
        again = with_study(parser, [command, str(tmp_path / "study.yaml")])
        assert vars(parser.parse_args(again)) == vars(options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modles: embedded", "unknown key of the study .*'modles'. Did you mean 'models'"),
        ("command: tun", "unknown command of a study 'tun'. Did you mean 'tune'"),
        ("samples: 3\nlimit: 4", "samples and limit are the same"),
        ("a: &x [1]\nb: *x", "an alias"),
        ("models: a\nmodels: b", "keys stand twice"),
        ("limit: [1, 2]", "limit takes one value"),
        ("no-attention-error: 3", "is true or false"),
        ("- 1", "a mapping of options is expected"),
        ("limit: !!python/object/apply:os.system [ls]", "not YAML"),
        ("models: 2020-01-01", "put it in quotes"),
        ("quiet: !!bool x", "not YAML"),
        ("models: !!timestamp x", "not YAML"),
        ("models: " + "[" * 10**5, "nested too deeply, over 64 levels"),
        ("configs: [" + "dense, " * 10**5 + "]", "larger than the 0.25 MiB"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_study(build_parser(), ["validate", _study(tmp_path, text)])


def test_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", _study(tmp_path, STUDY)]) == 0
    assert capsys.readouterr().out == "valid\n"
    assert main(["validate", _study(tmp_path, STUDY.replace("snapkv", "snapvk"))]) == 2
    assert "Did you mean 'snapkv'" in capsys.readouterr().err
    assert main(["validate", "study.json"]) == 2


def test_configurations_of_yaml(tmp_path: Path) -> None:
    path = _study(tmp_path, "methods:\n  - {name: sink, sink_size: 8}\n")
    assert read_document(path, "it") == {"methods": [{"name": "sink", "sink_size": 8}]}
