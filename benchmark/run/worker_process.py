"""The processes that Ray starts for a run, from their first line on.

Ray puts the working directory before all else on a worker's path, where a file of the user may have
the name of one of these packages.  So this module travels to the worker by value, imports nothing
of them, and puts the path in order before it does.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from typing import Any


class WorkerProcess:
    """The process of an ``EvaluationWorker``, with its methods."""

    def __init__(self, path: Sequence[str], visible: str | None, arguments: bytes) -> None:
        """Start a worker.

        Args:
            path: goes before Python's own.
            visible: ``CUDA_VISIBLE_DEVICES``; None leaves what Ray says.
            arguments: of ``EvaluationWorker``, pickled.
        """
        sys.path[:0] = path
        # Before CUDA starts; from then on the worker's first GPU is number 0.
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
        from benchmark.run.worker import EvaluationWorker

        self._worker = EvaluationWorker(*pickle.loads(arguments))

    def where(self) -> Any:
        """Facts of the machine: that they come says that this process has started."""
        from benchmark.run.node_facts import gather_facts

        return gather_facts([])

    def load(self, request: Any) -> Any:
        """See ``EvaluationWorker``."""
        return self._worker.load(request)

    def evaluate(self, request: Any) -> Any:
        """See ``EvaluationWorker``."""
        return self._worker.evaluate(request)


def report(path: Sequence[str], models: bytes) -> Any:
    """``node_facts.gather_facts`` of pickled models, in a process without GPUs of its own."""
    sys.path[:0] = path
    # Ray hides them from what asks for none; here they are only counted.
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    from benchmark.run.node_facts import gather_facts

    return gather_facts(pickle.loads(models))
