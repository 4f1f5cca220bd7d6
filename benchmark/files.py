"""Files: atomic writes, canonical JSON, names that are safe in a path, locks."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sparse_attention.errors import UserError

logger = logging.getLogger(__name__)

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What file systems without locks say, such as NFS without lockd, Lustre and some of FUSE."""

_CANONICAL = json.JSONEncoder(allow_nan=False, sort_keys=True, separators=(",", ":"))


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` is, at any moment, absent, as it was, or complete.

    What a killed process left of such a write is removed by the next one in the same folder.
    """
    _remove_leftovers(path.parent)
    descriptor, temporary = _temporary_beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, content: bytes) -> None:
    """``write_atomic``, leaving a file that already has this content untouched."""
    if path.exists() and path.read_bytes() == content:
        _remove_leftovers(path.parent)
    else:
        write_atomic(path, content)


def _temporary_beside(path: Path) -> tuple[int, str]:
    """A new file, locked for as long as it is open: then it is no leftover."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with suppress(OSError):  # of file systems without locks, where nothing is removed either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, name
        os.close(descriptor)  # somebody took it for a leftover before it was locked


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(".*.tmp"):
        with abandoned(path) as nobodys:
            if nobodys:
                path.unlink(missing_ok=True)


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether the process that locked a file has gone; within the block nobody else can lock it.

    False where that cannot be known.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def json_document(value: Any) -> bytes:
    """A JSON document for people to read; the same bytes for the same value."""
    return json.dumps(value, allow_nan=False, indent=2).encode() + b"\n"


def canonical_json(value: Any) -> str:
    """The one text of a JSON value: keys sorted, no white space, in ASCII.

    Lone surrogates and NUL in a model's text survive in it.  Raises ``ValueError`` for NaN and
    infinities, which are not JSON.
    """
    return _CANONICAL.encode(value)


def text_sha256(text: str) -> str:
    """Hex SHA-256 of a text in ASCII."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def fingerprint(value: Any) -> str:
    """Hex SHA-256 of a JSON value, independent of the order of its keys."""
    return text_sha256(canonical_json(value))


def safe_name(name: str) -> str:
    """``name`` as one component of a path; not injective, so never the only key of a result."""
    cleaned = re.sub(r"[^A-Za-z0-9._=+-]+", "-", name).strip(".-")
    return cleaned[-80:].lstrip(".-") or "unnamed"


def distinct_name(name: str) -> str:
    """``name`` as one component of a path that no other name has: hashed where it was cleaned."""
    cleaned = safe_name(name)
    if cleaned == name:
        return name
    return f"{cleaned[-69:].lstrip('.-')}-{fingerprint(name)[:10]}"


def try_lock(path: Path) -> ExitStack | None:
    """An exclusive lock, held until the stack is closed or the process ends.

    None if somebody else has it.  On a file system that has no locks the work goes on without one,
    and that is said.  Raises ``UserError`` if the file cannot be locked for another reason.
    """
    # A soft lock, which filelock would fall back to, stays behind when its process is killed.
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    held = ExitStack()
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise UserError(f"{path} cannot be locked: {error.strerror}.") from error
        _say_that_nothing_is_locked(str(error.strerror))
    else:
        held.callback(lock.release)
    return held


@cache
def _say_that_nothing_is_locked(cause: str) -> None:
    logger.warning(
        "the file system has no locks (%s): let no other run use the same folders meanwhile", cause
    )


def move_aside(path: Path) -> Path:
    """Rename a file or folder that cannot be trusted to ``<name>.damaged-<n>``; the new path."""
    target = name_aside(path)
    path.rename(target)
    return target


def name_aside(path: Path) -> Path:
    """A name beside ``path`` that is free, for what cannot be trusted."""
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return target


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
