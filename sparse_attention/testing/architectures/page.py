"""``docs/models.md``: which architectures of transformers work, and why others do not.

python -m sparse_attention.testing.architectures.page > docs/models.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from sparse_attention.hf.architecture import is_encoder
from sparse_attention.testing.architectures.families import LONG_CONTEXT, WITH_IMAGES
from sparse_attention.testing.architectures.trial import TOLERANCE, Trial, try_architecture

_HEAD = """# Models

Which architectures of transformers {version} work with this library. Made by
`python -m sparse_attention.testing.architectures.page`, which builds each one small, with random
weights in float32, and tries it; give it model types to try these alone.

An architecture **works** if

- our dense path gives the logits of the model's own attention within {tolerance:g} and its greedy
  tokens, for one row, for eight rows over one prefix, and after some of these have ended;
- the prefix, with all states, is bit-identical after that, and is not mixed up with another one;
- a masker that reads everything gives the same tokens, one that does not reads less, and a press
  holds less.

Attention layers are what methods act on: densities, errors and bytes are over the *layers* below,
which keep keys, and `dense_layers` counts these from 0. Other layers are the model's own: *states*
of recurrences and convolutions are frozen with the prefix, and each row goes on from a copy. Layers
that read the keys of an earlier one read what is held there. With latent attention (MLA) the
library holds what the model's cache holds, one vector for each token: all query heads share it as
their only key-value head, and attention errors are those of its weighted sums. Sliding windows and
chunks stay as they are; presses leave them alone. Of models that read images, the language model
reads text.
"""


def table(trials: Iterable[Trial], names: dict[str, str] | None = None) -> str:
    """Rows of a table, Markdown; with names of families in front where they are given."""
    first = "| Family " if names else ""
    lines = [f"{first}| Type | | Layers | States | |", "|" + "---|" * (6 if names else 5)]
    for trial in trials:
        mark = {"works": "works", "refused": "no", "fails": "**fails**"}[trial.outcome]
        kept = f"{trial.layers} of {trial.of_layers}" if trial.outcome == "works" else ""
        family = f"| {names[trial.model_type]} " if names else ""
        states = "yes" if trial.states else ""
        lines.append(f"{family}| `{trial.model_type}` | {mark} | {kept} | {states} | {trial.why} |")
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def is_decoder_only(model_type: str) -> bool:
    """Whether a model of a type reads a sequence from left to right, and nothing else."""
    try:
        config = CONFIG_MAPPING[model_type]()
    except Exception:  # whatever code of an unknown architecture may raise; the trial says it
        return True
    return not (getattr(config, "is_encoder_decoder", False) or is_encoder(config))


def page(trials: Sequence[Trial], others: Sequence[str]) -> str:
    """The page, Markdown; ``others`` are types that are not decoder-only."""
    known = {trial.model_type: trial for trial in trials}
    long = [known[name] for name in LONG_CONTEXT.values()]
    works = sum(trial.outcome == "works" for trial in long)
    images = [known[name] for name in WITH_IMAGES]
    rest = [trial for name, trial in sorted(known.items()) if name not in WITH_IMAGES]
    total = sum(trial.outcome == "works" for trial in rest)
    parts = [
        _HEAD.format(version=transformers.__version__, tolerance=TOLERANCE).rstrip(),
        f"## For long contexts\n\n{works} of {len(long)} work.",
        table(long, {name: family for family, name in LONG_CONTEXT.items()}),
        "## Models that read images",
        table(images),
        f"## All decoder-only architectures\n\n{total} of {len(rest)} work.",
        table(rest),
        "## Not decoder-only\n\n" + ", ".join(f"`{name}`" for name in others) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Print the page, or the trials of the types that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*", help="model types; default: all, as a page")
    wanted = parser.parse_args().types
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    types = wanted or sorted({*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *WITH_IMAGES})
    others = [] if wanted else [name for name in types if not is_decoder_only(name)]
    trials = []
    for name in types:
        if name not in others:
            trials.append(try_architecture(name))
            print(f"{name}: {trials[-1].outcome} {trials[-1].why}", file=sys.stderr, flush=True)
    print(table(trials) if wanted else page(trials, others), end="")


if __name__ == "__main__":
    main()
