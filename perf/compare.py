"""Run a program of this folder in two checkouts in turn, and print how the ratios differ.

    python perf/compare.py many_configs --against ../other-checkout --rounds 3 -- --prefix 4096

The programs print their ratios as a line of JSON.  Each round runs both checkouts, the one that
comes first changing from round to round; the last line is the median of this checkout over that of
the other one, by name: above 1 it is dearer here.
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("options", nargs="*", help="of the program, after --")
    arguments = parser.parse_args()
    checkouts = [HERE, arguments.against.resolve()]
    found: dict[Path, list[dict[str, float]]] = {checkout: [] for checkout in checkouts}
    for turn in range(arguments.rounds):
        for checkout in checkouts if turn % 2 else reversed(checkouts):
            found[checkout].append(measure(checkout, arguments.program, arguments.options))
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
