"""The devices of a run, with all that can be known of them checked before any work starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import torch

from benchmark.executor_config import AdapterConfig
from benchmark.run.cluster import check_nodes, cluster_devices, living_nodes
from benchmark.run.devices import Devices, choose_devices
from benchmark.run.model_size import model_size
from benchmark.run.models import ModelSource
from benchmark.run.ray_address import names_cluster
from benchmark.run.system_memory import total_memory
from sparse_attention.errors import UserError

_BESIDE = 1 << 30
"""Bytes that a worker needs besides the weights: Python, torch, a small context."""


def find_devices(
    gpu_ids: Sequence[int] | None, num_workers: int | None, gpus_per_worker: int | None
) -> Devices:
    """Devices of the cluster that ``RAY_ADDRESS`` names, which is joined, else of this machine.

    See ``choose_devices`` and ``cluster_devices``.
    """
    choose = cluster_devices if names_cluster() else choose_devices
    return choose(gpu_ids, num_workers, gpus_per_worker)


def check_devices(
    devices: Devices, models: Sequence[ModelSource], settings: AdapterConfig
) -> Devices:
    """The devices with the memory that workers need for the largest of the models.

    Raises:
        UserError: if there is no room for it, or a node of the cluster cannot work for this run.
    """
    sizes = {model.name: model_size(model, settings.dtype, devices.kind) for model in models}
    weights = {name: size.weights for name, size in sizes.items() if size is not None}
    name = max(weights, key=lambda each: weights[each], default="")
    largest = weights.get(name, 0)
    if devices.visible is not None:
        if devices.kind == "cpu":
            _check_fit(name, largest, total_memory(torch.device("cpu")), "the memory here")
        else:
            _check_fit(name, largest, _smallest_group(devices), f"{devices.gpus} GPU(s) here")
        return devices
    if devices.kind == "cpu":
        memory = max(node.memory for node in living_nodes())
        _check_fit(name, largest + _BESIDE, memory, "the memory that Ray has on any node")
    # On a GPU the weights go through the memory of the machine a file at a time.
    needed = replace(devices, memory=largest + _BESIDE if devices.kind == "cpu" else 2 * _BESIDE)
    rooms = {node.name: node.holds(needed) for node in living_nodes()}
    if sum(rooms.values()) < (devices.workers if not devices.most else 1):
        raise UserError(
            f"{devices.workers} worker(s) with {needed.memory / 1e9:.1f} GB of memory each, which "
            f"the model {name!r} needs, do not fit into the cluster, only "
            f"{sum(rooms.values())} do; ask for fewer (--workers)."
        )
    facts = check_nodes(needed, models)
    if devices.kind == "cuda":
        there = min((fact.gpu_bytes for fact in facts.values()), default=0) * devices.gpus
        _check_fit(name, largest, there, f"{devices.gpus} GPU(s) of a node")
    if not devices.most:
        return needed
    return replace(needed, workers=min(devices.workers, sum(rooms.values())))


def _smallest_group(devices: Devices) -> int:
    """Bytes of the GPUs of the worker that has the least."""
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    assert devices.visible is not None
    return min(
        sum(
            total_memory(torch.device("cuda", names.index(gpu) if gpu in names else int(gpu)))
            for gpu in group.split(",")
        )
        for group in devices.visible
    )


def _check_fit(name: str, needed: int, there: int, place: str) -> None:
    if needed > there:
        raise UserError(
            f"model {name!r} needs {needed / 1e9:.1f} GB, and {place} has {there / 1e9:.1f} GB; "
            "give a worker more GPUs (--gpus-per-worker), load fewer bytes (--dtype bfloat16), or "
            "take a smaller model."
        )
