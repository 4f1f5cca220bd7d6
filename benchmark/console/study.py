"""Studies: YAML files whose keys are the options of a command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmark.files import write_if_changed
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.reading import shown
from sparse_attention.yaml_files import is_yaml, read_document

COMMAND = "command"
EFFECTIVE = "study.yaml"
_STUDIES = ("run", "tune")
_NOT_OPTIONS = frozenset(("help",))
_REPEATED = argparse._AppendAction
_FLAGS = (argparse._StoreTrueAction, argparse._StoreFalseAction, argparse._StoreConstAction)


def with_study(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """Arguments in which a study is replaced by the options that stand in it.

    Options that follow the study's name on the command line take the place of its own.

    Raises:
        UserError: if it cannot be read, or a key or value of it means nothing.
    """
    if len(arguments) < 2 or arguments[0] not in (*_STUDIES, "validate"):
        return list(arguments)
    command, path, *rest = arguments
    if not is_yaml(path):
        if command == "validate" and not path.startswith("-"):
            raise UserError(f"study: {shown(path)}: a name that ends in .yaml or .yml is expected.")
        return list(arguments)
    study = read_document(path, "study")
    if not isinstance(study, dict):
        raise UserError(f"study: {path}: a mapping of options is expected, not {shown(study)}.")
    kind = study.pop(COMMAND, "run" if command == "validate" else command)
    if kind not in _STUDIES:
        raise unknown_name(f"{COMMAND} of a study", kind, _STUDIES)
    if command not in (kind, "validate"):
        raise UserError(f"study: {path} is one for 'sparse-bench {kind}', not {command!r}.")
    actions = _actions(parser, kind)
    by_key = {_key(name): action for action in actions for name in action.option_strings}
    given = {text.partition("=")[0] for text in rest}
    found: list[str] = []
    seen: dict[int, str] = {}
    for key, value in study.items():
        action = by_key.get(key.replace("_", "-"))
        if action is None:
            raise unknown_name(f"key of the study {path}", key, by_key)
        if id(action) in seen:
            raise UserError(f"study: {path}: {seen[id(action)]} and {key} are the same; keep one.")
        seen[id(action)] = key
        if not given.intersection(action.option_strings):
            found += _words(action, key, value)
    return [kind, *found, *rest]


def write_study(
    results: Path, parser: argparse.ArgumentParser, options: argparse.Namespace
) -> None:
    """Write what was asked for beside its results, as a study that asks for it again."""
    study: dict[str, Any] = {COMMAND: options.command}
    for action in _actions(parser, options.command):
        value = getattr(options, action.dest, None)
        if value is None or value == action.default:
            continue
        if isinstance(action, _FLAGS):
            if value != action.const:
                continue
            value = True
        study[_key(action.option_strings[0])] = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(study, allow_unicode=False, sort_keys=False)
    write_if_changed(results / EFFECTIVE, text.encode())


def _actions(parser: argparse.ArgumentParser, command: str) -> list[argparse.Action]:
    [commands] = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    own = commands.choices[command]._actions
    return [one for one in own if one.option_strings and one.dest not in _NOT_OPTIONS]


def _key(option: str) -> str:
    return option.lstrip("-")


def _words(action: argparse.Action, key: str, value: Any) -> list[str]:
    """A key and its value as they would stand on the command line."""
    option = next(name for name in action.option_strings if name.startswith("--"))
    if value is None:
        raise UserError(f"study: {key} has no value; leave the key away for its default.")
    if isinstance(action, argparse.BooleanOptionalAction):
        return [option if _truth(key, value) else action.option_strings[-1]]
    if isinstance(action, _FLAGS):
        return [option] if _truth(key, value) else []
    if isinstance(value, Mapping):
        raise UserError(f"study: {key} = {shown(value)}: a value or a list is expected.")
    values = [_text(one) for one in (value if isinstance(value, list) else [value])]
    if isinstance(action, _REPEATED):
        return [f"{option}={one}" for one in values]
    if action.nargs in ("*", "+"):
        for one in values:
            if one.startswith("-"):
                raise UserError(f"study: {key}: {shown(one)} begins with a dash; put ./ before it.")
        return [option, *values]
    if len(values) != 1:
        raise UserError(f"study: {key} takes one value, got {shown(value)}.")
    return [f"{option}={values[0]}"]


def _truth(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"study: {key} is true or false, not {shown(value)}.")
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool | dict | list):
        raise UserError(f"study: {shown(value)}: a text or a number is expected.")
    return str(value)
