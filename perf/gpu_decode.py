"""Attention of a token over 5% of the keys on a GPU, against the best dense kernel there.

    python perf/gpu_decode.py

32 query heads over 8 key-value heads of 128, bfloat16, sequences that share nothing.  Kernels are
timed inside CUDA graphs, without what launching costs, over lists that differ from call to call, so
that no cache holds what they name; ``GB/s`` counts the keys and values that are read, once for each
key-value head, and ``of the limit`` is their share of what copying a large tensor reaches.  Dense
attention is the fastest of what torch has for it.  ``attend`` is an operation of the library's
decoder, timed from outside with launches and all: choosing, attention and counting.  What launching
leaves to be won shows in the fastest dense kernel over as many keys that lie beside one another
(``neighbours_over_group``: its time over that of a list for each key-value head).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from common import report
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch_kernels import GROUP, KV_HEADS, SHARE, WIDTH, dense_kernels, flex_selected, gathered

from sparse_attention import AttentionConfig, Protocol
from sparse_attention.cache.context import Context, ContextLayer, Segment
from sparse_attention.decode.decoder import Decoder
from sparse_attention.maskers import Local, MagicPig, OracleTopK, Quest, RandomSampling, Sink
from sparse_attention.model_facts import LayerSettings

LISTS = 12
"""Different selections that are read in turn."""
EDGES = (Sink(sink_size=128), Local(window_size=128))
METHODS = {
    "sink_local": AttentionConfig((Sink(sink_size=128), Local(window_size=SHARE))),
    "oracle_top_k": AttentionConfig((*EDGES, OracleTopK(heavy_size=SHARE))),
    "quest": AttentionConfig((*EDGES, Quest(heavy_size=SHARE, group_scores="mean"))),
    "random_sampling": AttentionConfig((*EDGES, RandomSampling(sampling_rate=SHARE))),
    "magic_pig": AttentionConfig((*EDGES, MagicPig())),
    "dense": AttentionConfig(),
}


def graph_seconds(works: Sequence[Callable[[], object]], device: torch.device) -> float:
    """Seconds of one of ``works``, which are done one after the other; the median of 9 rounds."""
    for work in works:
        work()
    if device.type == "cpu":
        start = time.perf_counter()
        for work in works:
            work()
        return (time.perf_counter() - start) / len(works)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for work in works:
            work()
    found = []
    for _ in range(11):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) / 1000 / len(works))
    return statistics.median(found[2:])


def outside_seconds(work: Callable[[], object], device: torch.device, times: int = 20) -> float:
    """Seconds of one ``work`` by the clock, launches included."""
    for _ in range(3):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a large copy."""
    source = torch.randn(2**30 if device.type == "cuda" else 2**24, device=device)
    target = torch.empty_like(source)
    size = 2 * source.numel() * source.element_size()
    return size / outside_seconds(lambda: target.copy_(source), device, 5)


def random_lists(batch: int, length: int, lists: int, device: torch.device) -> list[Tensor]:
    """Sorted places, int32 (B, H, lists, N), all different."""
    count = int(SHARE * length)
    shape = batch * KV_HEADS * lists
    found = []
    for _ in range(LISTS):
        order = torch.rand(shape, length, device=device).argsort(-1)[:, :count]
        found.append(
            order.sort(-1).values.to(torch.int32).view(batch, KV_HEADS, lists, count).contiguous()
        )
    return found


def measure_kernels(
    length: int, batch: int, limit: float, options: argparse.Namespace, table: Table
) -> dict[str, float]:
    """Dense kernels and ours, over sequences of their own."""
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, dtype=dtype)

    queries = normal(batch, KV_HEADS, GROUP, WIDTH)
    keys, values = (normal(batch, KV_HEADS, length, WIDTH) for _ in range(2))
    tail = normal(batch, KV_HEADS, 0, WIDTH)
    whole = 2 * keys.numel() * keys.element_size()
    label = f"{length}@{batch}"

    def show(name: str, seconds: float, read: float, best: float | None) -> None:
        table.add_row(
            name,
            str(length),
            str(batch),
            f"{1e6 * seconds:.1f}",
            f"{read / seconds / 1e9:.0f}",
            f"{100 * read / seconds / limit:.0f}%",
            "" if best is None else f"{best / seconds:.1f}",
            "" if best is None else f"{100 * best / seconds * SHARE:.0f}%",
        )

    def fastest(shown: bool, *parts: slice) -> float:
        """Seconds of the fastest dense kernel over parts of the keys."""
        forms = [
            dict(dense_kernels(queries, keys[:, :, part], values[:, :, part], options.flex & shown))
            for part in parts
        ]
        found: dict[str, float] = {}
        for name in forms[0]:
            try:
                found[name] = graph_seconds([form[name] for form in forms], device)
            except RuntimeError as error:
                print(f"{name} at {label}: {str(error).splitlines()[0]}")
                continue
            if shown:
                show(name, found[name], whole, None)
        return min(found.values())

    best = fastest(True, *[slice(None)] * 3)
    count = int(SHARE * length)
    beside = fastest(False, *(slice(n * count, (n + 1) * count) for n in range(LISTS)))
    show("the fastest over as many neighbouring keys", beside, whole * SHARE, best)
    measured = {}
    exact = None
    for lists, name in ((1, "one list for a group"), (GROUP, "a list for each query head")):
        chosen = random_lists(batch, length, lists, device)
        read = whole * SHARE * lists
        if lists == 1:
            works = [lambda i=i: gathered(queries, keys, values, i) for i in chosen]
            show("collect, then sdpa", graph_seconds(works, device), read, best)
            exact = gathered(queries.float(), keys.float(), values.float(), chosen[0])
            if options.flex:
                for name_of_form, kernel_of_form in flex_selected(queries, keys, values, chosen[0]):
                    show(name_of_form, graph_seconds([kernel_of_form] * 3, device), read, best)
        if device.type != "cuda":
            continue
        from sparse_attention.attention import triton_kernel

        own = (queries, keys, values, tail, tail)
        for weighted in (False, True):
            weights = torch.rand_like(chosen[0], dtype=torch.float32) if weighted else None

            def kernel(index: Tensor, own=own, weights=weights) -> Tensor:
                return triton_kernel.attend(*own, (), index, None, weights, scaling=WIDTH**-0.5)

            if lists == 1 and not weighted:
                error = (kernel(chosen[0]) - exact).norm() / exact.norm()
                assert error < 1e-2, f"the kernel is wrong by {float(error):.2g}"
            seconds = graph_seconds([lambda i=i, k=kernel: k(i) for i in chosen], device)
            show(f"ours, {name}{', weighted' if weighted else ''}", seconds, read, best)
            if not weighted:
                key = "group" if lists == 1 else "heads"
                measured[f"speedup_{key}@{label}"] = best / seconds
                measured[f"bandwidth_share_{key}@{label}"] = read / seconds / limit
                if lists == 1:
                    measured[f"neighbours_over_group@{label}"] = beside / seconds
        alone = outside_seconds(lambda i=chosen[0], k=kernel: k(i), device)
        table.add_row(f"ours, {name}, with launches", str(length), str(batch), f"{1e6 * alone:.1f}")
    return measured


def measure_decoder(
    length: int, rows: int, options: argparse.Namespace, table: Table
) -> dict[str, float]:
    """Operations of the decoder with rows over one context, choosing included."""
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    segment = Segment(
        *(torch.randn(KV_HEADS, length, WIDTH, device=device, dtype=dtype) for _ in range(2))
    )
    context = Context(length, (ContextLayer((segment,)),))
    settings = LayerSettings(WIDTH**-0.5)
    fresh = torch.randn(rows, KV_HEADS, 1, WIDTH, device=device, dtype=dtype)
    queries = torch.randn(rows, KV_HEADS, GROUP, 1, WIDTH, device=device, dtype=dtype)
    measured: dict[str, float] = {}
    for name, config in METHODS.items():
        decoder = Decoder(context, [config] * rows, [""] * rows, Protocol())
        decoder.tails[0].append(fresh, fresh)
        with torch.inference_mode():
            seconds = outside_seconds(lambda d=decoder: d.attend(0, queries, settings), device)
        measured[f"attend_{name}@{length}@{rows}"] = 1e6 * seconds
        density = f"density {decoder.rows[0].probe.union_density:.3f}"
        table.add_row(f"attend, {name}, {density}", str(length), str(rows), f"{1e6 * seconds:.1f}")
    return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--lengths", type=int, nargs="+", default=[32768, 131072])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--no-flex", dest="flex", action="store_false", help="compile nothing")
    parser.add_argument("--no-decoder", dest="decoder", action="store_false", help="kernels alone")
    options = parser.parse_args()
    options.flex &= options.device == "cuda"
    torch.manual_seed(0)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    limit = copy_bandwidth(torch.device(options.device))
    columns = ("what", "keys", "batch", "us", "GB/s", "of the limit", "over dense", "of 20 times")
    table = Table(*columns, title=f"{name}, copies at {limit / 1e9:.0f} GB/s")
    measured: dict[str, float] = {}
    for length in options.lengths:
        for batch in options.batches:
            measured |= measure_kernels(length, batch, limit, options, table)
            if options.decoder:
                measured |= measure_decoder(length, batch, options, table)
    Console(width=120).print(table)
    report(**measured)


if __name__ == "__main__":
    main()
