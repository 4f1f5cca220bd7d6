"""The cluster that ``RAY_ADDRESS`` names: whether it can be joined, known within seconds."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

from sparse_attention.errors import UserError

_SECONDS_TO_CONNECT = 5.0
_SECONDS_TO_ANSWER = 14.0
"""Together below 20 s; a cluster that is well answers within one."""
_ADDRESS = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^\[\]/:\s]+)):(?P<port>[0-9]{1,5})")
_ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
_FIND = (
    "from ray._private.services import get_ray_address_from_environment as find; "
    "print(find('auto', None))"
)


def find_cluster() -> str | None:
    """HOST:PORT of the cluster that ``RAY_ADDRESS`` names; None: Ray is to be started here.

    Raises:
        UserError: for an address that Ray would wait for without an end, or fail on later.
    """
    address = os.environ.get("RAY_ADDRESS", "").strip()
    if address in ("", "local"):
        return None
    if address.startswith("ray://"):
        raise _refusal(address, "is of Ray's client, which cannot run workers that keep a model")
    if address == "auto":
        try:
            found = _python(_FIND)
        except subprocess.SubprocessError as error:
            raise _refusal(address, "finds no cluster on this machine") from error
    else:
        found = address
    parts = _ADDRESS.fullmatch(found)
    if parts is None or not 0 < int(parts["port"]) < 1 << 16:
        raise _refusal(address, "is no address")
    try:
        place = parts["six"] or parts["host"], int(parts["port"])
        socket.create_connection(place, _SECONDS_TO_CONNECT).close()
    except (OSError, UnicodeError) as error:
        raise _refusal(address, f"cannot be reached ({error})") from error
    try:
        _python(_ASK, found)
    except subprocess.SubprocessError as error:
        raise _refusal(address, "does not answer as a Ray cluster of this version") from error
    return found


def _python(code: str, *arguments: str) -> str:
    """What a small program prints.

    A process of its own, because Ray's attempts can neither be stopped nor kept quiet.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        check=True,
        timeout=_SECONDS_TO_ANSWER,
    )
    return done.stdout.strip()


def _refusal(address: str, problem: str) -> UserError:
    return UserError(
        f"RAY_ADDRESS {address!r} {problem}. Valid: HOST:PORT of a Ray cluster that this machine "
        "is part of, or 'auto' for the one that runs here; without RAY_ADDRESS a Ray of its own "
        "is started."
    )
