"""Whether the client of a tracker is there, found out before anything is computed."""

from __future__ import annotations

from importlib.util import find_spec

from benchmark.trackers import TRACKERS
from sparse_attention.errors import UserError, unknown_name

_CLIENTS = {"tensorboard": "tensorboardX"}
"""Modules that are imported under another name than the tracker's."""


def check_tracker(name: str) -> None:
    """Raises ``UserError`` for an unknown tracker, or one whose client is not installed."""
    if name not in TRACKERS:
        raise unknown_name("tracker", name, TRACKERS)
    client = _CLIENTS.get(name, name)
    try:
        found = find_spec(client)
    except ValueError:  # of a module that was made unimportable
        found = None
    if found is None:
        raise UserError(
            f"tracker {name}: the package {client} is not installed; "
            f"pip install 'sparse-bench[{name}]' brings it."
        )
