"""Calibration files: tensors in safetensors, with the model that they belong to.

A file lies beside the model (in its folder, under the method's default name) or is named in the
method's settings.  A process reads and checks a file once.  Only safetensors and JSON are read: a
pickle can run code when it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter
from safetensors import SafetensorError, safe_open

from sparse_attention.errors import UserError
from sparse_attention.model_facts import ModelProfile
from sparse_attention.reading import parse_json, user_file, user_folder, user_path, validated

if TYPE_CHECKING:
    from torch import Tensor

_FORMAT = "sparse_attention calibration 1"
_WHAT = "calibration file"
_PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")


class _Header(BaseModel):
    """What a file says about itself, as texts."""

    model_config = ConfigDict(strict=True)

    format: str
    method: str
    settings: str
    model: str


class _Model(BaseModel):
    """``ModelProfile.to_json``; what is not named here is only compared."""

    model_config = ConfigDict(extra="allow")

    weights: list[float] | None = None


_SETTINGS: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
_MODEL: TypeAdapter[_Model | None] = TypeAdapter(_Model | None)


@dataclass(frozen=True)
class CalibrationFile:
    """A file that was read."""

    path: Path
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    """What the method wrote beside them."""
    model: Mapping[str, Any] | None
    """``ModelProfile.to_json`` of the model; None where the file does not say."""


def check_suffix(value: str | None, suffixes: tuple[str, ...]) -> str | None:
    """``value``, the name of a file in a method's settings.

    Raises:
        ValueError: if it is a pickle or another format that is not read.
    """
    if value is not None and not value.endswith(suffixes):
        pickle = value.endswith(_PICKLES)
        reason = "a pickle can run code when it is opened and is never read; " if pickle else ""
        raise ValueError(f"{reason}valid are files ending in {' or '.join(suffixes)}")
    return value


def find_file(given: str | None, default: str, method: str, profile: ModelProfile) -> Path:
    """The file that a method uses on a model: the one given, or ``default`` beside the model.

    Raises:
        UserError: if there is none.
    """
    program = f"python -m sparse_attention.calibration.{method}"
    make = f"make it with: {program} --model {profile.name} --text TEXT"
    if given is not None:
        path = user_path(given, f"file for {method}")
        if not path.exists():
            raise UserError(f"{method}: there is no file {given!r}; {make} --output {given}")
        return path
    if profile.folder is None or not (profile.folder / default).is_file():
        raise UserError(
            f"{method} needs a file about the model {profile.name!r}, and there is no {default} "
            f"beside the model; {make} --output FILE, and name the file in the settings"
        )
    return profile.folder / default


def check_model(file: CalibrationFile, method: str, profile: ModelProfile) -> None:
    """Raise ``UserError`` if the file is of another model than ``profile``."""
    difference = None if file.model is None else profile.difference(file.model)
    if difference:
        raise UserError(
            f"{method}: {file.path} was made for another model than {profile.name!r}: {difference}"
        )


def write_file(
    path: Path,
    method: str,
    tensors: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    model: ModelProfile | None,
) -> None:
    """Write a calibration file; ``model`` is None where it is not known.

    Raises:
        UserError: if the name does not end in .safetensors or the file cannot be written.
    """
    from safetensors.torch import save_file  # needs torch, which names of methods do not

    path = output_file(path)
    about = {
        "format": _FORMAT,
        "method": method,
        "settings": json.dumps(dict(settings), sort_keys=True),
        "model": json.dumps(None if model is None else model.to_json()),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Copies, because the format has no tensors that share memory.
        copies = {name: _plain_copy(tensor) for name, tensor in tensors.items()}
        save_file(copies, path, about)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {path}: {error}") from error


def output_file(path: Path) -> Path:
    """The path of a calibration file to write.

    Raises:
        UserError: if it does not end in .safetensors, or no file can be there.
    """
    if path.suffix != ".safetensors":
        raise UserError(f"calibration files end in .safetensors, got {str(path)!r}")
    user_folder(path.parent, _WHAT)
    return user_file(path, _WHAT) if path.exists() else user_path(path, _WHAT)


def _plain_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


@lru_cache(maxsize=16)
def read_file(path: Path, method: str) -> CalibrationFile:
    """Read a calibration file of a method.

    Raises:
        UserError: if it is not one, with the reason.
    """
    if path.suffix in _PICKLES:
        raise UserError(f"{path} is a pickle, which can run code when it is opened; not read")
    path = user_file(path, _WHAT)
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError) as error:
        # AttributeError: a type of numbers that this torch has not.
        raise UserError(f"{path} is not a calibration file (safetensors): {error}") from error
    if about.get("format") != _FORMAT:
        raise UserError(
            f"{path} is not a calibration file of this library: its format is "
            f"{about.get('format')!r}, not {_FORMAT!r}"
        )
    header = validated(TypeAdapter(_Header), about, f"{path}, header")
    if header.method != method:
        raise UserError(f"{path} is for the method {header.method!r}, not {method!r}")
    place = f"{path}, settings"
    settings = validated(_SETTINGS, parse_json(header.settings, place), place)
    place = f"{path}, model"
    model = validated(_MODEL, parse_json(header.model, place), place)
    return CalibrationFile(path, tensors, settings, None if model is None else model.model_dump())
