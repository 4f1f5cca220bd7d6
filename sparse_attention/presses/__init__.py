"""Methods that compress the key-value cache when the prefill ends, one file each."""

from .adakv import AdaKV
from .base import Adjustment, Press, PressCall, Ranking, Scorer
from .chunkkv import ChunkKV
from .criticalkv import CriticalKV
from .decoding import Decoding
from .expected_attention import ExpectedAttention
from .key_rerotation import KeyRerotation
from .keydiff import KeyDiff
from .knorm import KNorm
from .lagkv import LagKV
from .layer_ratios import LayerRatios
from .observed_attention import ObservedAttention
from .pyramidkv import PyramidKV
from .random_press import RandomPress
from .snapkv import SnapKV
from .streaming_llm import StreamingLLM
from .tova import Tova

PRESSES: dict[str, type[Press]] = {
    press.name: press
    for press in (
        RandomPress,
        KNorm,
        StreamingLLM,
        SnapKV,
        ExpectedAttention,
        ObservedAttention,
        Tova,
        PyramidKV,
        KeyDiff,
        LagKV,
        CriticalKV,
        ChunkKV,
        LayerRatios,
        AdaKV,
        KeyRerotation,
        Decoding,
    )
}

__all__ = [
    "PRESSES",
    "AdaKV",
    "Adjustment",
    "ChunkKV",
    "CriticalKV",
    "Decoding",
    "ExpectedAttention",
    "KNorm",
    "KeyDiff",
    "KeyRerotation",
    "LagKV",
    "LayerRatios",
    "ObservedAttention",
    "Press",
    "PressCall",
    "PyramidKV",
    "RandomPress",
    "Ranking",
    "Scorer",
    "SnapKV",
    "StreamingLLM",
    "Tova",
]
