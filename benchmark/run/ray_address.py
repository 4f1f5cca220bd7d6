"""The cluster that ``RAY_ADDRESS`` names: whether it can be joined, known within seconds."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time

from sparse_attention.errors import UserError

_SECONDS_TO_CONNECT = 4.0
_SECONDS_TO_ANSWER = 14.0
"""From the first question on; a cluster that is well answers within one or two."""
_ADDRESS = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^\[\]/:\s]+)):(?P<port>[0-9]{1,5})")
_ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
_FIND = (
    "from ray._private.services import get_ray_address_from_environment as find; "
    "print(find('auto', None))"
)


def names_cluster() -> bool:
    """Whether ``RAY_ADDRESS`` names a cluster, be it there or not."""
    return os.environ.get("RAY_ADDRESS", "").strip() not in ("", "local")


def find_cluster() -> str | None:
    """HOST:PORT of the cluster that ``RAY_ADDRESS`` names; None: Ray is to be started here.

    Raises:
        UserError: for an address that Ray would wait for without an end, or fail on later.
    """
    if not names_cluster():
        return None
    address, end = os.environ["RAY_ADDRESS"].strip(), time.monotonic() + _SECONDS_TO_ANSWER
    if address.startswith("ray://"):
        raise _refusal(address, "is of Ray's client, which cannot run workers that keep a model")
    if address == "auto":
        try:
            found = _python(end, _FIND)
        except subprocess.SubprocessError as error:
            raise _refusal(address, "finds no cluster on this machine") from error
    else:
        found = address
    parts = _ADDRESS.fullmatch(found)
    if parts is None or not 0 < int(parts["port"]) < 1 << 16:
        raise _refusal(address, "is no address")
    try:
        place = parts["six"] or parts["host"], int(parts["port"])
        left = max(0.1, end - time.monotonic())
        socket.create_connection(place, min(left, _SECONDS_TO_CONNECT)).close()
    except (OSError, UnicodeError) as error:
        raise _refusal(address, f"cannot be reached ({error})") from error
    try:
        _python(end, _ASK, found)
    except subprocess.SubprocessError as error:
        raise _refusal(address, "does not answer as a Ray cluster of this version") from error
    return found


def _python(end: float, code: str, *arguments: str) -> str:
    """What a small program prints before the ``end``.

    A process of its own, because Ray's attempts can neither be stopped nor kept quiet.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        check=True,
        timeout=max(0.1, end - time.monotonic()),
    )
    return done.stdout.strip()


def _refusal(address: str, problem: str) -> UserError:
    return UserError(
        f"RAY_ADDRESS {address!r} {problem}. Valid: HOST:PORT of a Ray cluster that this machine "
        "is part of, or 'auto' for the one that runs here; without RAY_ADDRESS a Ray of its own "
        "is started."
    )
