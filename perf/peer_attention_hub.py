"""Our maskers beside those of sparse-attention-hub: chosen keys and attention outputs.

    python perf/peer_attention_hub.py --checkout sparse-attention-hub

Both get the same queries, keys and values: those of the last token of prompts of RULER in every
layer of SmolLM2.  Prints, for each masker, the share of the chosen keys that are the same, over all
layers and in the first one, the keys that each reads, the difference of the attention outputs and
the error of each beside dense attention.  Their files run in an environment of their own.  Reports
``equal_share`` over the maskers that follow the same formula; ``docs/peers.md`` says why others
differ.
"""

from __future__ import annotations

from common import fix_environment, report

fix_environment()

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_kvpress import read_prompts
from peers.attention_hub import BITS, HIDDEN, Pair, check_checkout, pairs
from peers.environment import make_environment, own_torch
from torch import Tensor

from benchmark.named_models import SMOLLM2, named_model
from sparse_attention import AttentionConfig, HuggingFaceAdapter
from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.geometry import Geometry
from sparse_attention.attention.scores import SharedScores
from sparse_attention.attention.selection import Selection
from sparse_attention.cache.context import Segment
from sparse_attention.cache.view import KeyView
from sparse_attention.calibration.recording import record
from sparse_attention.errors import UserError
from sparse_attention.learned.files import write_file
from sparse_attention.learned.hash_networks import network_tensors
from sparse_attention.maskers import Masker
from sparse_attention.model_facts import LayerSettings, ModelProfile
from sparse_attention.program import Parser, number_between, run_program


@dataclass(frozen=True)
class Attention:
    """One attention operation of one query."""

    queries: Tensor
    """(H, G, D)."""
    keys: Tensor
    """(H, K, D)."""
    values: Tensor
    """(H, K, D)."""
    scaling: float

    def output(self, log_weights: Tensor) -> Tensor:
        """Over keys with ``log_weights``, (H, G, K) or broadcast: (H * G, D)."""
        scores = torch.einsum("hgd,hkd->hgk", self.queries, self.keys) * self.scaling
        shares = (scores + log_weights).softmax(-1)
        return torch.einsum("hgk,hkd->hgd", shares, self.values).flatten(0, 1)


def read_operations(adapter: HuggingFaceAdapter, tokens: Sequence[int]) -> list[Attention]:
    """The attention of the last token in every layer."""
    context, operations = adapter.prefill(tokens), []

    def visit(layer: int, queries: Tensor, keys: Tensor, settings: LayerSettings) -> None:
        values = context.layers[layer].segments[0].values.float()
        operations.append(
            Attention(queries[:, :, -1].float(), keys.float(), values, settings.scaling)
        )

    record(adapter, tokens, visit)
    return operations


def choose(operation: Attention, maskers: tuple[Masker, ...], layer: int, sample: str) -> Selection:
    """What our maskers choose; all keys but the last are context, as after a prefill."""
    heads = operation.queries.shape[0]
    tail = operation.keys[None, :, -1:], operation.values[None, :, -1:]
    segment = Segment(operation.keys[:, :-1], operation.values[:, :-1])
    view = KeyView(layer, segment, *tail, heads, [{}])
    queries = operation.queries[None, :, :, None]
    geometry = Geometry.of(0, operation.keys.shape[1], 1, None, queries.device)
    settings = LayerSettings(operation.scaling)
    call = AttentionCall(
        SharedScores(queries, view, geometry, settings),
        range(1),
        stack=[maskers],
        batch=[maskers],
        sample_keys=[sample],
    )
    selection = Selection.nothing(call.shape[-1], call.device)
    for masker in maskers:
        selection = masker.select(call, selection)
    return selection


def write_channels(path: Path, prompts: Sequence[Sequence[Attention]]) -> None:
    """Channels of each layer and query head by mean product of query and key, as is published."""
    found = {}
    for layer in range(len(prompts[0])):
        products = torch.zeros(())
        for operations in prompts:
            queries, keys = operations[layer].queries, operations[layer].keys
            products = products + queries.abs() * keys.abs().mean(1)[:, None]
        order = products.flatten(0, 1).argsort(-1, descending=True)
        found[f"model.layers.{layer}.self_attn.qk_proj"] = order.tolist()
    path.write_text(json.dumps(found), encoding="utf-8")


def write_networks(path: Path, profile: ModelProfile) -> dict[str, np.ndarray]:
    """Random networks of two layers for each query head; also as the other side takes them."""
    generator = torch.Generator().manual_seed(0)
    heads, width = profile.shape(0).heads, profile.shape(0).head_dim
    tensors: dict[str, Tensor] = {}
    theirs = {}
    for layer in range(profile.layers):
        for side in ("query", "key"):
            network = tuple(
                (
                    torch.randn(heads, size, following, generator=generator) / size**0.5,
                    torch.randn(heads, following, generator=generator) / 4,
                )
                for size, following in ((width, HIDDEN), (HIDDEN, BITS))
            )
            tensors |= network_tensors(layer, side, network)
            for place, (weight, bias) in enumerate(network):
                theirs[f"network/{layer}/{side}_matrix/{place}"] = weight.numpy()
                theirs[f"network/{layer}/{side}_bias/{place}"] = bias.numpy()
    write_file(path, "hash_attention", tensors, {"activation": "silu"}, profile)
    return theirs


def run_theirs(
    folder: Path,
    checkout: Path,
    compared: Sequence[Pair],
    prompts: Sequence[Sequence[Attention]],
    networks: Mapping[str, np.ndarray],
) -> Any:
    """Masks and outputs of sparse-attention-hub."""
    python = make_environment(folder / "attention_hub", [own_torch(), "numpy", "scipy", "tqdm"])
    tensors = dict(networks)
    for number, operations in enumerate(prompts):
        for layer, one in enumerate(operations):
            name = f"{number}/{layer}"
            tensors[f"queries/{name}"] = one.queries.flatten(0, 1)[:, None].numpy()
            tensors[f"keys/{name}"] = one.keys.numpy()
            tensors[f"values/{name}"] = one.values.numpy()
    np.savez(folder / "operations.npz", **tensors)
    job = {
        "checkout": str(checkout),
        "tensors": str(folder / "operations.npz"),
        "prompts": len(prompts),
        "layers": len(prompts[0]),
        "scaling": prompts[0][0].scaling,
        "maskers": {
            pair.label: [
                {"module": module, "config": name, "arguments": dict(arguments)}
                for module, name, arguments in pair.theirs
            ]
            for pair in compared
        },
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    program = Path(__file__).parent / "peers" / "attention_hub_side.py"
    command = [python, program, folder / "job.json", folder / "chosen.npz"]
    if subprocess.run(command, check=False).returncode:
        raise UserError(
            f"the maskers of {checkout} could not be run; the lines above say why. Known to run "
            "are those of June 2026."
        )
    return np.load(folder / "chosen.npz")


def error(output: Tensor, dense: Tensor) -> float:
    """Relative, over all heads."""
    return float((output - dense).norm() / dense.norm())


def main() -> int:
    """Run both and compare."""
    parser = Parser(prog="peer_attention_hub", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkout", type=Path, required=True, help="of sparse-attention-hub")
    parser.add_argument("--folder", type=Path, default=Path("results-peers"), help="what is made")
    parser.add_argument("--length", type=number_between(256, 8000), default=1024)
    parser.add_argument("--samples", type=number_between(1, 100), default=1, help="of each task")
    options = parser.parse_args()
    checkout, folder = check_checkout(options.checkout), options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    adapter = HuggingFaceAdapter.load(str(named_model(SMOLLM2)))
    read = read_prompts(adapter, options.length, options.samples)
    prompts = [
        read_operations(adapter, [*prompt.context_ids, *prompt.question_ids]) for _, prompt in read
    ]
    channels, networks = folder / "channels.json", folder / "networks.safetensors"
    write_channels(channels, prompts)
    their_networks = write_networks(networks, adapter.profile)
    compared = pairs(channels, networks)
    chosen = run_theirs(folder, checkout, compared, prompts, their_networks)

    print(
        "| masker | equal keys | in layer 0 | read by ours | by theirs | outputs differ by ", end=""
    )
    print("| error, ours | theirs |\n|---|" + "---:|" * 7)
    totals = np.zeros(2)
    for pair in compared:
        maskers = AttentionConfig(pair.ours).for_model(adapter.profile).maskers
        counts, first, errors = np.zeros(4), np.zeros(2), []
        for number, operations in enumerate(prompts):
            for layer, operation in enumerate(operations):
                name = f"{pair.label}/{number}/{layer}"
                selection = choose(operation, maskers, layer, str(number))
                own = operation.output(selection.log_weights[0, :, :, 0])
                shape = (*operation.queries.shape[:2], operation.keys.shape[1])
                ours = selection.reads[0, :, :, 0].expand(shape).flatten(0, 1)
                theirs = torch.from_numpy(chosen[f"mask/{name}"]) != 0
                output = torch.from_numpy(chosen[f"output/{name}"])
                dense = operation.output(torch.zeros(()))
                most = torch.maximum(ours.sum(-1), theirs.sum(-1))
                equal = (ours & theirs).sum()
                counts += [equal, most.sum(), ours.sum(), theirs.sum()]
                first += [equal * (layer == 0), most.sum() * (layer == 0)]
                errors.append((error(output, own), error(own, dense), error(output, dense)))
        rows = sum(len(one) for one in prompts) * ours.shape[0]
        totals += counts[:2] * pair.same
        print(
            f"| {pair.label} | {counts[0] / counts[1]:.5f} | {first[0] / first[1]:.5f} "
            f"| {counts[2] / rows:.1f} | {counts[3] / rows:.1f} | "
            + " | ".join(f"{value:.2g}" for value in np.mean(errors, 0))
            + " |"
        )
    keys = prompts[0][0].keys.shape[1]
    print(f"\n{len(prompts)} prompts of about {keys} tokens, {len(prompts[0])} layers; means")
    report(equal_share=float(totals[0] / totals[1]))
    return 0


if __name__ == "__main__":
    sys.exit(run_program("peer_attention_hub", main))
