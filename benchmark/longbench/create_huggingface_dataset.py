"""Write LongBench and LongBench-E as parquet from upstream's ``data.zip``, unpacked.

Run ``python -m benchmark.longbench.create_huggingface_dataset --help``.
"""

from __future__ import annotations

import sys

from benchmark.longbench.benchmark import LongBench
from benchmark.suite.builder import main

if __name__ == "__main__":
    sys.exit(main(LongBench))
