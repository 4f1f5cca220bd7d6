"""Libraries that only some metrics need, imported when they are first used."""

from __future__ import annotations

import importlib
from types import ModuleType

from sparse_attention.errors import UserError


def optional_library(name: str, metric: str, extra: str) -> ModuleType:
    """Import a module; ``UserError`` with the way to install it where it is missing.

    Args:
        name: of the module.
        metric: what needs it, for the message.
        extra: the optional dependency group of this project that has it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{metric} needs the library {name.partition('.')[0]}, which is not installed; "
            f"install it with: pip install 'sparse-bench[{extra}]'"
        ) from error
