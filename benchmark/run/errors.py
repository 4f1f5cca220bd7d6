"""What ends a run though its input is not to blame."""

from __future__ import annotations


class RunStopped(RuntimeError):
    """The run cannot go on: the message says why and what to do; what was answered is kept."""
