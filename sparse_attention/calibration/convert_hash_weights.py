"""Convert published HashAttention weights to the safetensors that this library reads.

    python -m sparse_attention.calibration.convert_hash_weights weights.pt weights.safetensors

Published weights are pickles.  They are opened by ``torch.load(weights_only=True)``, which makes
tensors and plain containers and refuses everything else, so that no code of the file runs.  Two
layouts are known:

- ``{"{layer}.learning_to_hash_transformation_{q|k}.{head}.{0,2,4}.{weight|bias}": tensor}`` with
  weights (d_out, d_in), as they were trained;
- ``{layer: {"query_matrix": [...], "query_bias": [...], "key_matrix": [...], "key_bias": [...]}}``
  with a tensor (heads, d_in, d_out) or (heads, d_out) for each layer of the networks.

The files do not say for which model they are; their layers and shapes are checked when they are
used.
"""

from __future__ import annotations

import argparse
import pickle
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse_attention.errors import UserError
from sparse_attention.learned.files import write_file
from sparse_attention.learned.hash_networks import ACTIVATIONS, METHOD, Network, network_tensors

_TRAINED = re.compile(r"(\d+)\.learning_to_hash_transformation_([qk])\.(\d+)\.(\d+)\.(weight|bias)")
_SIDES = {"q": "query", "k": "key"}


def convert(document: Any) -> dict[str, Tensor]:
    """The tensors of a file from published weights in one of the two layouts.

    Raises:
        UserError: if it is neither, or tensors are missing.
    """
    if not isinstance(document, Mapping) or not document:
        raise UserError("the weights are not a dictionary of tensors")
    try:
        if all(isinstance(name, str) and _TRAINED.fullmatch(name) for name in document):
            networks = _from_trained(document)
        else:
            networks = _from_matrices(document)
        tensors: dict[str, Tensor] = {}
        for (layer, side), network in sorted(networks.items()):
            tensors |= network_tensors(layer, side, network)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"the weights have neither of the known layouts, or tensors are missing: {error!r}"
        ) from error
    return tensors


def _from_trained(document: Mapping[str, Tensor]) -> dict[tuple[int, str], Network]:
    places: dict[tuple[int, str], set[tuple[int, int]]] = {}
    for name in document:
        layer, side, head, place, _ = _TRAINED.fullmatch(name).groups()  # type: ignore[union-attr]
        places.setdefault((int(layer), side), set()).add((int(head), int(place)))
    networks = {}
    for (layer, side), found in places.items():
        start = f"{layer}.learning_to_hash_transformation_{side}"
        heads = sorted({head for head, _ in found})
        networks[layer, _SIDES[side]] = tuple(
            (
                torch.stack([document[f"{start}.{head}.{place}.weight"].T for head in heads]),
                torch.stack([document[f"{start}.{head}.{place}.bias"] for head in heads]),
            )
            for place in sorted({place for _, place in found})
        )
    return networks


def _from_matrices(document: Mapping[Any, Any]) -> dict[tuple[int, str], Network]:
    return {
        (int(layer), side): tuple(
            (torch.as_tensor(matrix), torch.as_tensor(bias))
            for matrix, bias in zip(
                networks[f"{side}_matrix"], networks[f"{side}_bias"], strict=True
            )
        )
        for layer, networks in document.items()
        for side in ("query", "key")
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path, help="the published file")
    parser.add_argument("output", type=Path, help="FILE.safetensors to write")
    parser.add_argument("--activation", choices=sorted(ACTIVATIONS), default="silu")
    options = parser.parse_args(arguments)
    try:
        try:
            document = torch.load(options.weights, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{options.weights} does not open as tensors in plain containers, and anything "
                f"else could run code: {first}"
            ) from error
        tensors = convert(document)
        settings = {"activation": options.activation, "source": options.weights.name}
        write_file(options.output, METHOD, tensors, settings, None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {options.output}: {len(tensors)} tensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
