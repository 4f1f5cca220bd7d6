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

import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse_attention.errors import UserError, first_line
from sparse_attention.learned.files import output_file, write_file
from sparse_attention.learned.hash_networks import ACTIVATIONS, METHOD, Network, network_tensors
from sparse_attention.program import Parser, run_program
from sparse_attention.reading import shown, user_file

_PROGRAM = "convert_hash_weights"
_TRAINED = re.compile(
    r"(\d{1,4})\.learning_to_hash_transformation_([qk])\.(\d{1,4})\.(\d{1,4})\.(weight|bias)"
)
_SIDES = {"q": "query", "k": "key"}
_MOST_NUMBERS = 2**30
"""Of all tensors together: some three times what a model of 80 layers and 64 heads needs.  A tensor
can claim any size without having it, when its elements share their memory."""


def convert(document: Any) -> dict[str, Tensor]:
    """The tensors of a file from published weights in one of the two layouts.

    Raises:
        UserError: if it is neither, tensors are missing, or one is not of plain, finite numbers.
    """
    if not isinstance(document, Mapping) or not document:
        raise UserError("the weights are not a dictionary of tensors")
    numbers = 0
    for name, tensor in _all_tensors(document, ""):
        _check_tensor(name, tensor)
        numbers += tensor.numel()
        if numbers > _MOST_NUMBERS:
            raise UserError(f"the weights have more than {_MOST_NUMBERS} numbers, at {name}")
    try:
        if all(isinstance(name, str) and _TRAINED.fullmatch(name) for name in document):
            networks = _from_trained(document)
        else:
            networks = _from_matrices(document)
        tensors: dict[str, Tensor] = {}
        for (layer, side), network in sorted(networks.items()):
            for weight, bias in network:
                if (weight.ndim, bias.ndim) != (3, 2):
                    shapes = tuple(weight.shape), tuple(bias.shape)
                    raise ValueError(f"layer {layer} has matrices and biases of shapes {shapes}")
            tensors |= network_tensors(layer, side, network)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"the weights have neither of the known layouts, or tensors are missing: {error!r}"
        ) from error
    return tensors


def _all_tensors(value: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    """Tensors in dictionaries and lists as deep as the known layouts are, with their places."""
    if isinstance(value, Tensor):
        yield place, value
    elif place.count("/") < 3:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from _all_tensors(inner, f"{place}/{key}")
        elif isinstance(value, list | tuple):
            for number, inner in enumerate(value):
                yield from _all_tensors(inner, f"{place}/{number}")


def _check_tensor(name: str, tensor: Tensor) -> None:
    problem = None
    if tensor.layout != torch.strided or tensor.is_nested:
        problem = "is sparse or nested; store it dense (tensor.to_dense())"
    elif tensor.device.type == "meta":
        problem = "has no numbers, only a shape (it is on the device 'meta')"
    elif not tensor.is_floating_point():
        problem = f"has numbers of the type {tensor.dtype}, not floating-point ones"
    elif tensor.numel() <= _MOST_NUMBERS and not tensor.isfinite().all():
        problem = "has numbers that are not finite"
    if problem:
        raise UserError(f"the weights cannot be converted: {shown(name)} {problem}")


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
                torch.stack([document[f"{start}.{head}.{place}.weight"].mT for head in heads]),
                torch.stack([document[f"{start}.{head}.{place}.bias"] for head in heads]),
            )
            for place in sorted({place for _, place in found})
        )
    return networks


def _from_matrices(document: Mapping[Any, Any]) -> dict[tuple[int, str], Network]:
    return {
        (int(layer), side): tuple(
            (_tensor(matrix), _tensor(bias))
            for matrix, bias in zip(
                networks[f"{side}_matrix"], networks[f"{side}_bias"], strict=True
            )
        )
        for layer, networks in document.items()
        for side in ("query", "key")
    }


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{shown(value)} is not a tensor")
    return value


def _load(path: Path) -> Any:
    user_file(path, "weights")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the age of the format
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails anywhere in the reader, in any way
        raise UserError(
            f"{path} does not open as tensors in plain containers, and anything else could run "
            f"code: {first_line(error)}"
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    parser = Parser(prog=_PROGRAM, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path, help="the published file")
    parser.add_argument("output", type=Path, help="FILE.safetensors to write")
    parser.add_argument("--activation", choices=sorted(ACTIVATIONS), default="silu")
    options = parser.parse_args(arguments)

    def work() -> int:
        output = output_file(options.output)
        tensors = convert(_load(options.weights))
        settings = {"activation": options.activation, "source": options.weights.name}
        write_file(output, METHOD, tensors, settings, None)
        print(f"wrote {output}: {len(tensors)} tensors")
        return 0

    return run_program(_PROGRAM, work)


if __name__ == "__main__":
    sys.exit(main())
