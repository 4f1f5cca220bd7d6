"""Methods that compress the key-value cache when the prefill ends, one file each."""

from .base import Adjustment, Press, PressCall, Ranking, Scorer
from .knorm import KNorm
from .random_press import RandomPress
from .snapkv import SnapKV
from .streaming_llm import StreamingLLM

PRESSES: dict[str, type[Press]] = {
    press.name: press for press in (RandomPress, KNorm, StreamingLLM, SnapKV)
}

__all__ = [
    "PRESSES",
    "Adjustment",
    "KNorm",
    "Press",
    "PressCall",
    "RandomPress",
    "Ranking",
    "Scorer",
    "SnapKV",
    "StreamingLLM",
]
