"""Methods that compress the key-value cache when the prefill ends, one file each."""

from sparse_attention.presses.adakv import AdaKV
from sparse_attention.presses.base import Adjustment, Press, PressCall, Ranking, Scorer
from sparse_attention.presses.chunkkv import ChunkKV
from sparse_attention.presses.criticalkv import CriticalKV
from sparse_attention.presses.decoding import Decoding
from sparse_attention.presses.expected_attention import ExpectedAttention
from sparse_attention.presses.key_rerotation import KeyRerotation
from sparse_attention.presses.keydiff import KeyDiff
from sparse_attention.presses.knorm import KNorm
from sparse_attention.presses.lagkv import LagKV
from sparse_attention.presses.layer_ratios import LayerRatios
from sparse_attention.presses.observed_attention import ObservedAttention
from sparse_attention.presses.pyramidkv import PyramidKV
from sparse_attention.presses.random_press import RandomPress
from sparse_attention.presses.snapkv import SnapKV
from sparse_attention.presses.streaming_llm import StreamingLLM
from sparse_attention.presses.tova import Tova

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

__all__ = ["PRESSES", "Adjustment", "Press", "PressCall", "Ranking", "Scorer"]
__all__ += [press.__name__ for press in PRESSES.values()]
