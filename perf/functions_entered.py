"""How many functions of the library a decode step enters.

    python perf/functions_entered.py
    python perf/compare.py functions_entered --against ../other-checkout --turns 1

Counted by Python's profiler in ``HuggingFaceAdapter.answer``, warm, of one row over 512 tokens in a
random 4-layer Llama: what one more token enters, comprehensions left out.  A measure of how much
has to be read to follow a step, and of what Python costs where attention is cheap.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

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


def entered(adapter: HuggingFaceAdapter, name: str, tokens: int) -> int:
    """Functions entered for an answer of so many tokens."""
    config, count = make_config(name), 0

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        code = frame.f_code
        own = code.co_filename.startswith(LIBRARY) and not code.co_name.startswith("<")
        count += event == "call" and own

    prefix = adapter.prefill(random_tokens(512, seed=1), [config])
    question = random_tokens(1, seed=2)
    for _ in range(2):  # what is made when it is first asked for is there the second time
        count = 0
        sys.setprofile(note)
        adapter.answer(prefix, question, [config], max_new_tokens=tokens, measure_error=False)
        sys.setprofile(None)
    return count


def main() -> None:
    """Count and print."""
    adapter = random_adapter(1024, kv_heads=8)
    report(**{name: entered(adapter, name, 5) - entered(adapter, name, 4) for name in METHODS})


if __name__ == "__main__":
    main()
