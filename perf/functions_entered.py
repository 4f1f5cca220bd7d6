"""How many functions of the library a decode step enters.

    python perf/functions_entered.py
    python perf/compare.py functions_entered --against ../other-checkout --turns 1

Counted by Python's profiler in ``HuggingFaceAdapter.answer``, warm, of one row over 512 tokens in a
random 4-layer Llama, in the step of the last token, comprehensions left out.  A measure of how much
has to be read to follow a step, and of what Python costs where attention is cheap.

``NAME`` is for one layer, from where the model calls its attention to the first product with keys;
``NAME_first`` the same for the first layer of the step, which finds what is the same in all of
them; ``NAME_step`` all that one more token enters.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

from common import report
from models import random_adapter, random_tokens

import sparse_attention
from sparse_attention import HuggingFaceAdapter, make_config

METHODS = (
    "dense",
    "sink_local",
    "snapkv",
    "oracle_top_k",
    "random_sampling",
    "quest",
    "magic_pig",
    "adaptive_sampling",
)
LIBRARY = str(Path(sparse_attention.__file__).parent)


def entered(adapter: HuggingFaceAdapter, name: str, tokens: int) -> tuple[int, list[int]]:
    """Functions entered for an answer of so many tokens, and before the product in each layer."""
    config, count, before = make_config(name), 0, list[int]()
    waits = False

    def note(frame: FrameType, event: str, called: Any) -> None:
        nonlocal count, waits
        code = frame.f_code
        own = code.co_filename.startswith(LIBRARY)
        if event == "c_call":
            waits = waits and not (own and called.__name__ in ("bmm", "matmul", "einsum"))
        elif event == "call" and own and not code.co_name.startswith("<"):
            count += 1
            if before:
                before[-1] += waits
        elif event == "call" and code.co_qualname.endswith("Attention.forward"):
            waits = True
            before.append(0)

    prefix = adapter.prefill(random_tokens(512, seed=1), [config])
    question = random_tokens(1, seed=2)
    for _ in range(2):  # what is made when it is first asked for is there the second time
        count = 0
        before.clear()
        sys.setprofile(note)
        adapter.answer(prefix, question, [config], max_new_tokens=tokens, measure_error=False)
        sys.setprofile(None)
    return count, before[-adapter.model.config.num_hidden_layers :]


def main() -> None:
    """Count and print."""
    adapter = random_adapter(1024, kv_heads=8)
    found: dict[str, float] = {}
    for name in METHODS:
        (fewer, _), (count, before) = (entered(adapter, name, tokens) for tokens in (4, 5))
        found[name], found[f"{name}_first"] = before[-1], before[0]
        found[f"{name}_step"] = count - fewer
    report(**found)


if __name__ == "__main__":
    main()
