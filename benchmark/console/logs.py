"""What is said on standard error while a command works."""

from __future__ import annotations

import logging
import sys

from sparse_attention.program import one_line

_OURS = ("benchmark", "sparse_attention")


class _OneLine(logging.Formatter):
    """Messages name models, labels and files, and repeat what these say."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


class _StandardError(logging.Handler):
    """Whatever standard error is by then: who calls this command from Python may replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # such as a reader that has gone, without whom the work goes on
            self.handleError(record)


def is_quiet(verbosity: str) -> bool:
    """Whether progress is not shown."""
    return verbosity in ("error", "warning")


def set_up_logging(verbosity: str) -> None:
    """Show log messages of this level and above; with ``debug`` those of libraries too."""
    handler = _handler()
    if verbosity == "debug":
        logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers = [] if verbosity == "debug" else [handler]
        logger.setLevel(verbosity.upper())


def _handler() -> logging.Handler:
    """On a terminal, lines that go with bars; elsewhere with time and level, and not wrapped."""
    if not sys.stderr.isatty():
        lines = _StandardError()
        form = "%(asctime)s %(levelname)s %(message)s"
        lines.setFormatter(_OneLine(form, "%Y-%m-%d %H:%M:%S"))
        return lines
    from rich.logging import RichHandler

    from benchmark.run.progress import STDERR

    handler = RichHandler(console=STDERR, show_time=False, show_path=False, show_level=False)
    handler.setFormatter(_OneLine("%(message)s"))
    return handler
