"""The process of a worker, from its first line on.

Ray puts the working directory before all else on a worker's path, where a file of the user may have
the name of one of these packages.  So this module travels to the worker by value, imports nothing
of them, and puts the path in order before it does.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from typing import Any


class WorkerProcess:
    """The process of an ``EvaluationWorker``, with its methods."""

    def __init__(self, path: Sequence[str], arguments: bytes) -> None:
        """Start a worker with its pickled ``arguments``; ``path`` goes before Python's own."""
        sys.path[:0] = path
        from benchmark.run.worker import EvaluationWorker

        self._worker = EvaluationWorker(*pickle.loads(arguments))

    def load(self, request: Any) -> Any:
        """See ``EvaluationWorker``."""
        return self._worker.load(request)

    def evaluate(self, request: Any) -> Any:
        """See ``EvaluationWorker``."""
        return self._worker.evaluate(request)
