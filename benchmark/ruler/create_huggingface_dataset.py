"""Write generated RULER samples as a prepared dataset, one folder of parquet for each length.

Run ``python -m benchmark.ruler.create_huggingface_dataset --help``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from benchmark.embedded import MODEL_NAME
from benchmark.named_models import NAMED_MODELS, named_model
from benchmark.ruler.benchmark import COLUMNS, Ruler
from benchmark.suite.base import Sample
from benchmark.suite.builder import PROGRAM, write_parquet
from sparse_attention.errors import UserError
from sparse_attention.hf.loading import load_tokenizer
from sparse_attention.program import Parser, run_program
from sparse_attention.reading import user_folder

_TOKENIZERS = f"{', '.join(map(repr, NAMED_MODELS))}, a model folder, a GGUF file or a hub name"


def write_dataset(
    folder: Path, ruler: Ruler, tasks: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> Path:
    """Write ``folder/<length>/test-00000-of-00001.parquet`` with ``provenance.json`` beside it.

    All tasks are generated before anything is written.  Returns the parquet file's path.
    """
    samples: list[Sample] = []
    provenance: dict[str, Any] = {}
    for task in tasks:
        samples += ruler.samples(task, tokenizer)
        provenance[task] = ruler.provenance(task, tokenizer)
    record = {"options": ruler.options, "tasks": provenance}
    return write_parquet(folder / str(ruler.options["length"]), samples, COLUMNS, record)


def _load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    try:
        return load_tokenizer(str(named_model(name) or name))
    except UserError as error:
        raise UserError(
            f"cannot load the tokenizer {name!r} ({str(error).rstrip('.')}). Valid: "
            f"{_TOKENIZERS} where there is network."
        ) from error


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmark.ruler.create_huggingface_dataset",
        description="Generate RULER samples for a tokenizer and write them as parquet.",
    )
    add = parser.add_argument
    add("--tokenizer", required=True, help=_TOKENIZERS)
    add("--lengths", required=True, type=int, nargs="+", help="tokens of prompt and answer")
    add("--output", required=True, type=Path, help="folder that gets one folder for each length")
    add("--tasks", nargs="+", help="tasks to write; all that the lexicon serves without")
    add("--samples", type=int, default=100, help="samples of each task (%(default)s)")
    add("--seed", type=int, default=42, help="(%(default)s)")
    add("--lexicon", help="wonderwords or embedded; follows the tokenizer without")
    add("--haystack", help="file with prose for the haystacks; own prose without")
    add("--upstream", help="checkout of RULER whose samples are to be made; own ones without")
    add("--prompts", help="file with another wording")
    add("--squad-file", help="SQuAD's dev-v2.0.json, for qa_1")
    add("--hotpotqa-file", help="HotpotQA's hotpot_dev_distractor_v1.json, for qa_2")
    add(
        "--one-shot",
        action=argparse.BooleanOptionalAction,
        help="solved example in vt and cwe; by default with wonderwords from 2048 tokens on",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 2 for bad input."""
    given = vars(_parser().parse_args(arguments))
    lengths, output, tasks = given.pop("lengths"), given.pop("output"), given.pop("tasks")
    name = given.pop("tokenizer")
    if given["lexicon"] is None:
        given["lexicon"] = "embedded" if name == MODEL_NAME else "wonderwords"

    def write() -> int:
        user_folder(output, "--output")
        rulers = [Ruler(length=length, **given) for length in lengths]
        tokenizer = _load_tokenizer(name)
        for ruler in rulers:
            print(write_dataset(output, ruler, tasks or ruler.supported_subsets, tokenizer))
        return 0

    return run_program(PROGRAM, write)


if __name__ == "__main__":
    sys.exit(main())
