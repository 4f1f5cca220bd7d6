"""Make the files beside the embedded model that double sparsity and HashAttention need.

    python -m benchmark.embedded_training.calibrate

Writes the calibration text, which is of the kind that the model was trained on and holds no sample
of the benchmark, and runs the two programs of ``sparse_attention.calibration`` on it.  To be run
again whenever the model changes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

from benchmark.embedded import MODEL_PATH
from benchmark.embedded_training.training_text import training_sequence
from sparse_attention.calibration import double_sparsity, hash_attention
from sparse_attention.learned import channels, hash_networks
from sparse_attention.program import Parser, number_between, run_program

LENGTH = 768
"""Tokens of a block of text."""
BLOCKS = 96


def calibration_text(sequences: int, length: int, seed: int) -> str:
    """Contexts and answered questions, one after the other."""
    rng = Random(f"calibration {seed}")
    texts = []
    for _ in range(sequences):
        sequence = training_sequence(length, rng)
        segments = [part for q in sequence.questions for pair in q.segments for part in pair]
        texts.append(sequence.context + "".join(segments))
    return "".join(texts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    parser = Parser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=MODEL_PATH, help="folder (the model's)")
    parser.add_argument(
        "--steps", type=number_between(1, 10**6), default=1500, help="of learning the hashes"
    )
    parser.add_argument("--share", default="0.05", help="of the keys that count as heavy")
    options = parser.parse_args(arguments)
    return run_program("calibrate", lambda: _calibrate(options))


def _calibrate(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "training_text.txt"
        text.write_text(calibration_text(BLOCKS, LENGTH, seed=0), encoding="utf-8")
        common = ["--model", str(MODEL_PATH), "--text", str(text), "--length", str(LENGTH)]
        output = ["--output", str(options.output / channels.DEFAULT_NAME)]
        code = double_sparsity.main([*common, *output])
        if code:
            return code
        output = ["--output", str(options.output / hash_networks.DEFAULT_NAME)]
        small = ["--hidden", "64", "--depth", "2", "--steps", str(options.steps)]
        small += ["--share", options.share]
        return hash_attention.main([*common, *output, *small])


if __name__ == "__main__":
    sys.exit(main())
