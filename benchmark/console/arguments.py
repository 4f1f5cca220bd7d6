"""Arguments that several commands share, and the words that explain them."""

from __future__ import annotations

import argparse
from functools import partial

from benchmark.console.fields import add_field
from benchmark.executor_config import AdapterConfig, RequestConfig
from benchmark.objectives import ObjectiveName
from benchmark.trackers import TRACKERS
from benchmark.tuning.settings import OptimizationConfig
from sparse_attention.prompt import PromptSettings
from sparse_attention.protocol import Protocol

_NO_ERROR = "do not compare attention outputs with dense ones (faster)"
VERBOSITY = {
    "error": "what failed",
    "warning": "warnings too",
    "info": "and progress",
    "debug": "and all that libraries say",
}


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults in the help where there is one, examples as they are written."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def add_command(
    commands: argparse._SubParsersAction, name: str, what: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Add a command; ``what`` it does is its line in the list and begins its own help."""
    return commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=epilog,
        formatter_class=HelpFormatter,
    )


def add_selection(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the arguments that select models, benchmarks and configurations from files."""
    what = parser.add_argument_group("what to run")
    what.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="MODEL",
        help="'embedded' (ships with the project), 'smollm2' (from a package), a folder, a GGUF "
        "file, or a name on the Hugging Face hub",
    )
    what.add_argument(
        "--benchmarks",
        nargs="+",
        required=True,
        metavar="NAME",
        help="what to ask; see 'sparse-bench ls benchmarks'",
    )
    what.add_argument(
        "--subsets",
        "--tasks",
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
        help="JSON or YAML file with one configuration, named after the file, or with several "
        "by name, or of a finished search; may be repeated",
    )
    what.add_argument(
        "--option",
        action="append",
        metavar="BENCHMARK.NAME=VALUE",
        default=argparse.SUPPRESS,
        help="option of a benchmark, such as ruler.length=8192; may be repeated",
    )
    return what


def add_samples(what: argparse._ArgumentGroup) -> None:
    """Add how many samples are asked."""
    add_field(
        what,
        RequestConfig,
        "max_requests",
        "--samples",
        "--max-requests",
        "--limit",
        default="all, or what the benchmark generates",
    )


def add_search(
    parser: argparse.ArgumentParser, trials: str, objective: ObjectiveName | None = None
) -> None:
    """Add the arguments of a search: fields of ``OptimizationConfig``.

    Args:
        parser: to add to.
        trials: name of the argument for the number of trials.
        objective: the default, where it is not the field's.
    """
    search = parser.add_argument_group("how to search")
    add = partial(add_field, search, OptimizationConfig)
    add("num_samples", trials)
    if objective is not None:
        parser.set_defaults(optimization_metric=objective)
    add("optimization_metric", "--objective", default=objective)
    add(
        "use_per_task_config",
        "--per-task",
        action=argparse.BooleanOptionalAction,
        help="the best settings for each task, or one for all tasks, the best on average "
        "(default: one for all)",
    )
    for field in ("penalty", "density_budget", "tolerance", "held_out"):
        add(field)
    add("max_tuning_samples", default="all that are not held out")
    add("search_algorithm")
    add("scheduler")
    add(
        "search_space",
        default="none; may be repeated",
        action="append",
        type=str,
        metavar="FIELD=JSON",
    )
    add("max_concurrent_trials")
    add("timeout_per_trial", default="none", metavar="SECONDS")
    add("time_limit", default="none", metavar="SECONDS")
    add("seed")
    add("cache_dir", metavar="DIR")
    add("enabled", "--no-optimization", help="no search: default settings")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how models are asked, where, and with what."""
    how = parser.add_argument_group("how to ask")
    own = "the benchmark's own policy"
    add_field(how, Protocol, "sparse_from", "--protocol")
    add_field(how, Protocol, "dense_layers", default="none", metavar="LAYER")
    add_field(how, Protocol, "press_sees_question", "--question-aware", default="no")
    add_field(how, PromptSettings, "truncation", default=own, metavar="POLICY")
    add_field(how, PromptSettings, "max_prompt_tokens", default="the model's positions")
    add_field(how, AdapterConfig, "max_positions", default="what the model was made for")
    add_field(how, PromptSettings, "chat_template", default=own)
    add_field(how, PromptSettings, "thinking")
    add_field(how, AdapterConfig, "max_new_tokens", default="the benchmark's")
    add_field(how, AdapterConfig, "measure_error", "--no-attention-error", help=_NO_ERROR)
    add_field(how, AdapterConfig, "error_every")
    where = parser.add_argument_group("where and with what")
    where.add_argument(
        "--results-dir", "--output-path", default="results", metavar="DIR", help="results folder"
    )
    where.add_argument(
        "--track",
        choices=TRACKERS,
        default=argparse.SUPPRESS,
        help="also write the results, and the trials of searches, for an experiment tracker, into "
        "the results folder and nowhere else (wandb: offline)",
    )
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
        "--workers",
        "--num-workers",
        dest="num_workers",
        type=int,
        metavar="N",
        default=argparse.SUPPRESS,
        help="worker processes (default: as many as there are GPUs for, two on a CPU; in a "
        "cluster as many as find room, also on nodes that join later)",
    )
    where.add_argument(
        "--gpus-per-worker",
        type=int,
        metavar="N",
        default=argparse.SUPPRESS,
        help="GPUs of each worker, over which a model that is larger than one is spread "
        "(default: 1)",
    )
    where.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        default=argparse.SUPPRESS,
        help="work on a Ray cluster: HOST:PORT of its head, or auto for the one that runs here "
        "(default: the variable RAY_ADDRESS, else this machine alone)",
    )
    for field in ("max_rows", "dtype"):
        add_field(where, AdapterConfig, field)
    add_field(where, AdapterConfig, "revision", default="the main branch")
    add_field(where, AdapterConfig, "trust_remote_code", default="no")
    add_verbosity(where)


def add_verbosity(parser: argparse._ActionsContainer) -> None:
    """Add what is said on standard error besides errors."""
    either = parser.add_mutually_exclusive_group()
    words = "; ".join(f"{level}: {what}" for level, what in VERBOSITY.items())
    either.add_argument(
        "--verbosity",
        choices=tuple(VERBOSITY),
        default="info",
        help=f"what is said on standard error. {words}",
    )
    either.add_argument(
        "--quiet",
        action="store_const",
        const="warning",
        dest="verbosity",
        default="info",
        help="no progress, warnings only: --verbosity warning",
    )
