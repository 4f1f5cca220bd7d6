"""What the maskers of sparse-attention-hub choose; runs apart, with nothing of ours.

    python attention_hub_side.py JOB.json OUT.npz

A job names a checkout, a file with queries, keys and values of attention operations, and for each
label the maskers in their order, by module, class of their configuration and arguments.  Writes the
masks, float (heads, keys), 0 where a key is not read and else the probability with which it was
drawn, and the outputs, float (heads, channels), of each operation and label.

Only the files of the maskers are imported: the packages around them would import transformers, in
the version that they need, and Ray.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

_ROOT = "sparse_attention_hub.sparse_attention"
_MASKERS = f"{_ROOT}.research_attention.maskers"
_PACKAGES = (
    *("sparse_attention_hub", _ROOT, f"{_ROOT}.utils", f"{_ROOT}.research_attention", _MASKERS),
    *(f"{_MASKERS}.fixed", f"{_MASKERS}.fixed.implementations"),
    *(f"{_MASKERS}.fixed.implementations.utils", f"{_MASKERS}.sampling"),
    f"{_MASKERS}.sampling.implementations",
)
_NETWORKS = "networks"
"""The argument that stands for HashAttention's networks, which are among the tensors."""


def prepare_imports(checkout: Path) -> None:
    """Let the files of the checkout be imported without what their packages import."""
    for name in _PACKAGES:
        package = ModuleType(name)
        package.__path__ = [str(checkout / name.replace(".", "/"))]
        sys.modules[name] = package
    ray = ModuleType("ray")
    ray.tune = SimpleNamespace(  # type: ignore[attr-defined]  # search spaces are not asked for
        **{name: lambda *given, **named: None for name in ("grid_search", "choice", "uniform")}
    )
    sys.modules["ray"] = ray


def build(wanted: dict[str, Any], tensors: Any) -> Any:
    """A masker from its module, the class of its configuration and its arguments."""
    module = importlib.import_module(f"{_MASKERS}.{wanted['module']}")
    arguments = dict(wanted["arguments"])
    if arguments.pop(_NETWORKS, False):
        arguments["hat_weights"] = networks(tensors)
    base = importlib.import_module(f"{_MASKERS}.base")
    return base.ResearchMasker.create_masker_from_config(
        getattr(module, wanted["config"])(**arguments)
    )


def networks(tensors: Any) -> dict[int, dict[str, list[torch.Tensor]]]:
    """HashAttention's networks by layer, as its configuration takes them."""
    found: dict[int, dict[str, list[torch.Tensor]]] = {}
    for name in sorted(tensors.files):
        kind, layer, part, *_ = [*name.split("/"), "", ""]
        if kind == "network":
            found.setdefault(int(layer), {}).setdefault(part, []).append(
                torch.from_numpy(tensors[name])
            )
    return found


def given(function: Any, **arguments: Any) -> Any:
    """Call a function with those of the arguments that it knows; they differ between revisions."""
    known = inspect.signature(function).parameters
    return function(**{name: value for name, value in arguments.items() if name in known})


def main() -> None:
    """Run a job."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    prepare_imports(Path(job["checkout"]))
    mask_type = importlib.import_module(f"{_ROOT}.utils.mask").Mask
    attention = importlib.import_module(f"{_ROOT}.utils.mask_attention_utils")
    tensors = np.load(job["tensors"])
    module = torch.nn.Identity().eval()
    found: dict[str, np.ndarray] = {}
    for label, wanted in job["maskers"].items():
        maskers = [build(one, tensors) for one in wanted]
        for prompt in range(job["prompts"]):
            memory: dict[Any, Any] = {}
            for layer in range(job["layers"]):
                name = f"{prompt}/{layer}"
                queries, keys, values = (
                    torch.from_numpy(tensors[f"{part}/{name}"])[None]
                    for part in ("queries", "keys", "values")
                )
                operation = {
                    "module": module,
                    "queries": queries,
                    "keys": keys,
                    "values": values,
                    "attention_mask": None,
                    "sinks": None,
                    "scaling": job["scaling"],
                    "dropout": 0.0,
                }
                mask = given(
                    mask_type.create_empty_mask,
                    shape=(1, queries.shape[1], 1, keys.shape[2]),
                    dtype=torch.float32,
                    device=keys.device,
                )
                for masker in maskers:
                    mask = masker.add_mask(
                        **{key: operation[key] for key in ("keys", "queries", "values")},
                        **{key: operation[key] for key in ("attention_mask", "scaling", "dropout")},
                        sparse_meta_data=memory,
                        previous_mask=mask,
                        layer_idx=layer,
                    )
                output = given(
                    attention.get_masked_attention_output, **operation, sparse_attention_mask=mask
                )
                found[f"mask/{label}/{name}"] = mask.get_dense_mask()[0, :, 0].numpy()
                found[f"output/{label}/{name}"] = output[0, 0].numpy()
    np.savez_compressed(sys.argv[2], **found)


if __name__ == "__main__":
    main()
