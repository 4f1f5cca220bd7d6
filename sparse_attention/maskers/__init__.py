"""Methods that select at decode time, one file each."""

from sparse_attention.maskers.adaptive_sampling import AdaptiveSampling
from sparse_attention.maskers.base import Masker
from sparse_attention.maskers.double_sparsity import DoubleSparsity
from sparse_attention.maskers.hash_attention import HashAttention
from sparse_attention.maskers.local import Local
from sparse_attention.maskers.magic_pig import MagicPig
from sparse_attention.maskers.oracle_top_k import OracleTopK
from sparse_attention.maskers.oracle_top_p import OracleTopP
from sparse_attention.maskers.pq_cache import PQCache
from sparse_attention.maskers.quest import Quest
from sparse_attention.maskers.random_sampling import RandomSampling
from sparse_attention.maskers.sink import Sink

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

__all__ = ["MASKERS", "Masker"]
__all__ += [masker.__name__ for masker in MASKERS.values()]
