"""The folder of a Ray that is started here: short enough for its sockets, and gone with the run."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmark.files import abandoned
from sparse_attention.errors import UserError

_PREFIX = "sparse-bench-ray-"
_MADE_HERE = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")
_LOCK = ".held-by-the-run"
"""File that is locked while the run lives; without it, a folder is not ours to remove."""
_LONGEST = 107 - len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.12")
"""Bytes of a folder's path: the system takes paths of sockets up to 107."""


def open_ray_folder() -> tuple[Path, ExitStack]:
    """A new folder; closing the stack removes it.

    Folders that killed runs of this user left are removed too.

    Raises:
        UserError: if there is no place for it.
    """
    tried = []
    for place in _places():
        _remove_leftovers(place)
        if len(os.fsencode(place / _PREFIX)) + 8 > _LONGEST:
            tried.append(f"{place} (too long)")
            continue
        try:
            return _make(place)
        except OSError as error:
            tried.append(f"{place} ({error.strerror})")
    raise UserError(
        "Ray needs a folder for temporary files whose path is short "
        f"(at most {_LONGEST - len(_PREFIX) - 9} bytes) and that can be written; tried "
        f"{', '.join(tried)}. Let TMPDIR name one."
    )


def _places() -> Iterator[Path]:
    named = os.environ.get("TMPDIR")
    places = [named, "/tmp", "/var/tmp", "/dev/shm"]
    yield from dict.fromkeys(Path(place).absolute() for place in places if place)


def _make(place: Path) -> tuple[Path, ExitStack]:
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    stack = ExitStack()
    stack.callback(_remove, folder)
    held = stack.enter_context((folder / _LOCK).open("wb"))
    with suppress(OSError):  # without locks the folder stays if the run is killed
        fcntl.flock(held, fcntl.LOCK_EX)
    return folder, stack


def _remove_leftovers(place: Path) -> None:
    with suppress(OSError):
        for folder in place.glob(f"{_PREFIX}*"):
            own = _MADE_HERE.fullmatch(folder.name) and folder.stat().st_uid == os.geteuid()
            if own and not folder.is_symlink():
                with abandoned(folder / _LOCK) as nobodys:
                    if nobodys:
                        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, its lock at last: what a dying process keeps there goes the next time."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path, ignore_errors=True)
                if not path.is_dir():
                    path.unlink(missing_ok=True)
        if [path.name for path in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()
