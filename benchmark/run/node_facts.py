"""What a process says of the machine that it runs on, and whether that can work for a run."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.results.key import (
    describe_difference,
    library_versions,
    method_sources_fingerprint,
)
from benchmark.run.models import ModelSource
from sparse_attention.errors import first_line


@dataclass(frozen=True)
class NodeFacts:
    """Of one machine."""

    node: str
    """Ray's name of it."""
    host: str
    """Name and process, for people."""
    software: Mapping[str, Any]
    """Versions of what decides an answer."""
    gpu_bytes: int
    """Memory of its smallest GPU; 0 without one."""
    model_problems: Mapping[str, str]
    """By the model's name: why it cannot be loaded there."""


def software() -> dict[str, Any]:
    """Versions of what decides an answer, in this process."""
    return {**library_versions(), "sparse_attention": method_sources_fingerprint()[:16]}


def gather_facts(models: Sequence[tuple[ModelSource, Mapping[str, Any]]]) -> NodeFacts:
    """Facts of this machine, called in a process of Ray; models come with their identities."""
    import ray
    import torch

    gpus = [torch.cuda.mem_get_info(gpu)[1] for gpu in range(torch.cuda.device_count())]
    return NodeFacts(
        node=ray.get_runtime_context().get_node_id(),
        host=f"{socket.gethostname()} (process {os.getpid()})",
        software=software(),
        gpu_bytes=min(gpus, default=0),
        model_problems={
            model.name: problem
            for model, identity in models
            if (problem := _problem(model, identity)) is not None
        },
    )


def _problem(model: ModelSource, identity: Mapping[str, Any]) -> str | None:
    try:
        here = model.identity
    except Exception as error:  # whatever it is: without the files there is no model
        return f"cannot be read at {model.location}: {first_line(error)}"
    if here != identity:
        return f"is another one at {model.location}: {describe_difference(identity, here)}"
    return None


def software_problem(facts: NodeFacts) -> str | None:
    """Why answers from there could differ from answers of this process."""
    ours = software()
    if facts.software == ours:
        return None
    return f"other software than here: {describe_difference(ours, facts.software)}"
