"""Log messages on standard error."""

from __future__ import annotations

import logging

from rich.logging import RichHandler

from benchmark.run.progress import STDERR
from sparse_attention.program import one_line


class _OneLine(logging.Formatter):
    """Messages name models, labels and files, and repeat what these say."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def set_up_logging(*, quiet: bool) -> None:
    """Show warnings, and unless ``quiet`` what is being done."""
    handler = RichHandler(console=STDERR, show_time=False, show_path=False, show_level=False)
    handler.setFormatter(_OneLine("%(message)s"))
    logger = logging.getLogger("benchmark")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
