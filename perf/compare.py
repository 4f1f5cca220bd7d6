"""Run a program of this folder in two checkouts in turn, and print how the ratios differ.

    python perf/compare.py many_configs --against ../other-checkout --turns 3 --context 4096

Options that this program does not know go to the other one.  Each turn runs both checkouts, the one
that comes first changing from turn to turn; the last line has the median of this checkout over that
of the other one, by name: above 1 it is dearer here.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent.parent


def measure(checkout: Path, program: str, options: list[str]) -> dict[str, float]:
    """The ratios that a checkout's own program prints."""
    run = subprocess.run(
        [sys.executable, str(checkout / "perf" / f"{program}.py"), *options],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="its name, such as decode_overhead")
    parser.add_argument("--against", type=Path, required=True, help="another checkout")
    parser.add_argument("--turns", type=int, default=3)
    arguments, options = parser.parse_known_args()
    checkouts = [HERE, arguments.against.resolve()]
    found: dict[Path, list[dict[str, float]]] = {checkout: [] for checkout in checkouts}
    for turn in range(arguments.turns):
        for checkout in checkouts if turn % 2 else reversed(checkouts):
            found[checkout].append(measure(checkout, arguments.program, options))
    table = Table("ratio", "here", "there", "here over there")
    over = {}
    for name in found[HERE][0]:
        here, there = (
            statistics.median(one[name] for one in found[checkout]) for checkout in checkouts
        )
        over[name] = here / there
        table.add_row(name, f"{here:.3f}", f"{there:.3f}", f"{over[name]:.3f}")
    Console(stderr=True).print(table)
    print(json.dumps(over))


if __name__ == "__main__":
    main()
