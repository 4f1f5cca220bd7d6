"""Write the dataset as parquet."""

from __future__ import annotations

import sys

from benchmark.suite.builder import main
from colours.benchmark import Colours

if __name__ == "__main__":
    sys.exit(main(Colours))
