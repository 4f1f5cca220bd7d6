"""Configurations from JSON files: of one configuration, or of what a search has found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .config import AttentionConfig
from .errors import UserError


def load_config(path: str | Path) -> AttentionConfig:
    """The configuration in a JSON file.

    The file holds what ``AttentionConfig.to_json`` gives, or an object that has it under ``best``
    and ``config``, as searches write their results.

    Raises:
        UserError: naming the file, if it cannot be read or holds no valid configuration.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not JSON ({error})"
        raise UserError(
            f"cannot read a configuration from {str(path)!r}: {reason}. Give a JSON file as "
            "AttentionConfig.to_json or a search writes it."
        ) from error
    try:
        return AttentionConfig.from_json(_configuration(document))
    except UserError as error:
        raise UserError(f"{str(path)!r}: {error}") from None


def _configuration(document: Any) -> Any:
    """The configuration inside a search's result; any other document as it is."""
    if not isinstance(document, dict) or "best" not in document:
        return document
    best = document["best"]
    if not isinstance(best, dict) or "config" not in best:
        raise UserError(f'"best" must be an object with "config", got {best!r:.200}')
    return best["config"]
