"""Write questions of your own as parquet.

Run ``python -m benchmark.custom.create_huggingface_dataset --help``.
"""

from __future__ import annotations

import sys

from benchmark.custom.benchmark import Custom
from benchmark.suite.builder import main

if __name__ == "__main__":
    sys.exit(main(Custom))
