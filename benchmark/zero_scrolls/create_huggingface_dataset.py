"""Write ZeroSCROLLS as parquet from upstream's archives or JSON lines.

Run ``python -m benchmark.zero_scrolls.create_huggingface_dataset --help``; the split is an option,
as in ``--option split=test``.
"""

from __future__ import annotations

import sys

from benchmark.suite.builder import main
from benchmark.zero_scrolls.benchmark import ZeroScrolls

if __name__ == "__main__":
    sys.exit(main(ZeroScrolls))
