"""Configurations from JSON files, in every form in which the project writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .config import AttentionConfig
from .errors import UserError

_FORMS = (
    'Valid is a configuration ({"methods": [...]}, as AttentionConfig.to_json gives it), several '
    "by label ({label: configuration, ...}), the file of a finished search, or key.json of a result"
)


def load_config(path: str | Path) -> AttentionConfig:
    """The only configuration in a JSON file; the forms are those of ``load_configs``.

    Raises:
        UserError: naming the file, if it cannot be read or does not hold just one configuration.
    """
    configs = load_configs(path)
    if len(configs) > 1:
        raise UserError(
            f"{str(path)!r} has {len(configs)} configurations ({', '.join(map(repr, configs))}) "
            "where one is expected: give a file with one, or take one of load_configs."
        )
    (config,) = configs.values()
    return config


def load_configs(path: str | Path) -> dict[str, AttentionConfig]:
    """The configurations in a JSON file by label; at least one.

    The file holds one of

    - what ``AttentionConfig.to_json`` gives;
    - an object of several such by label;
    - what a finished search leaves, with its configuration under ``best`` and ``config``;
    - ``key.json`` of a benchmark result, with its configuration under ``config``.

    The label of a configuration that has none is the file's name without its ending.

    Raises:
        UserError: naming the file, what is wrong with it and what is valid.
    """
    try:
        # What can be parsed may still be nested too deeply for everything that looks at it.
        return _configs(_read(Path(path)), Path(path).stem)
    except RecursionError:
        raise UserError(f"{str(path)!r} is not JSON: it is nested too deeply. {_FORMS}.") from None
    except UserError as error:
        raise UserError(f"{str(path)!r} {error}") from None


def _read(path: Path) -> Any:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot be read: {reason}. Give a JSON file. {_FORMS}.") from error
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_without_repetition)
    except UserError:
        raise
    except UnicodeDecodeError as error:
        raise UserError(f"is not JSON: it is not UTF-8 ({error.reason}). {_FORMS}.") from error
    except ValueError as error:
        raise UserError(f"is not JSON: {error}. {_FORMS}.") from error


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise UserError(f"has keys twice in one object: {twice}. Every key may be there once.")
    return found


def _configs(document: Any, stem: str) -> dict[str, AttentionConfig]:
    if not isinstance(document, dict) or not document:
        raise UserError(f"holds no configuration but {document!r:.200}. {_FORMS}.")
    single = _single(document)
    configs = {}
    for label, value in (document if single is None else {stem: single}).items():
        if not label.strip() or not label.isprintable():
            raise UserError(f"has the label {label!r}; a label is printable text, not empty.")
        if not isinstance(value, dict) or "methods" not in value:
            raise UserError(f"has under {label!r} no configuration but {value!r:.200}. {_FORMS}.")
        try:
            configs[label] = AttentionConfig.from_json(value)
        except UserError as error:
            raise UserError(f"has an invalid configuration {label!r}: {error}") from None
    return configs


def _single(document: Mapping[str, Any]) -> Any:
    """The configuration of a document that holds one without a label; None for other documents."""
    if "methods" in document:
        return document
    best, config = document.get("best"), document.get("config")
    if isinstance(best, dict) and "config" in best:
        return best["config"]
    if isinstance(config, dict) and "methods_sha256" in document:
        return {key: value for key, value in config.items() if key != "files_sha256"}
    return None
