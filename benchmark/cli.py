"""The console command ``sparse-bench``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from benchmark.cli_parser import build_parser

BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    options = build_parser().parse_args(arguments)
    # Only now, because it takes seconds, which the help need not.
    from pydantic import ValidationError

    from benchmark import commands
    from sparse_attention.config import explain
    from sparse_attention.errors import UserError

    _set_up_logging(quiet=getattr(options, "quiet", False))
    command = {"run": commands.run, "ls": commands.list_choices, "report": commands.report}
    try:
        return command[options.command](options)
    except ValidationError as error:
        return _complain(explain(error))
    except UserError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print(
            "sparse-bench: interrupted; what was answered is kept, run again to go on.",
            file=sys.stderr,
        )
        return INTERRUPTED


def _complain(message: str) -> int:
    print(f"sparse-bench: error: {message}", file=sys.stderr)
    return BAD_INPUT


def _set_up_logging(*, quiet: bool) -> None:
    from rich.logging import RichHandler

    from benchmark.progress import STDERR

    handler = RichHandler(console=STDERR, show_time=False, show_path=False, show_level=False)
    logger = logging.getLogger("benchmark")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
