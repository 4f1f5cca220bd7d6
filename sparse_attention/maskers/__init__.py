"""Methods that select at decode time, one file each."""

from .adaptive_sampling import AdaptiveSampling
from .base import Masker
from .double_sparsity import DoubleSparsity
from .hash_attention import HashAttention
from .local import Local
from .magic_pig import MagicPig
from .oracle_top_k import OracleTopK
from .oracle_top_p import OracleTopP
from .pq_cache import PQCache
from .quest import Quest
from .random_sampling import RandomSampling
from .sink import Sink

MASKERS: dict[str, type[Masker]] = {
    masker.name: masker
    for masker in (
        Sink,
        Local,
        OracleTopK,
        OracleTopP,
        Quest,
        DoubleSparsity,
        PQCache,
        HashAttention,
        RandomSampling,
        MagicPig,
        AdaptiveSampling,
    )
}

__all__ = [
    "MASKERS",
    "AdaptiveSampling",
    "DoubleSparsity",
    "HashAttention",
    "Local",
    "MagicPig",
    "Masker",
    "OracleTopK",
    "OracleTopP",
    "PQCache",
    "Quest",
    "RandomSampling",
    "Sink",
]
