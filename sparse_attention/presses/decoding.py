"""Compression while an answer is generated."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sparse_attention.method import Choices
from sparse_attention.presses.base import Press


class Decoding(Press):
    """Compress the cache again and again while tokens are generated, to ``target_size`` keys.

    The scorer before it, with its adjustments, does not act when the prefill ends but whenever at
    least ``interval`` tokens (of question and answer) were read since it last did and the cache of
    a layer holds more than ``target_size`` keys: of context, question and answer together, exactly
    ``target_size`` keys stay for each head.  Its compression ratio has no effect.  Earlier scorers
    act at the end of the prefill as always.  A scorer that asks for the last queries gets those of
    the last tokens read.  So the memory stays bounded however long the answer is.  Comes last,
    and not with budgets that differ between heads.

    Cost: that of the scorer, every ``interval`` tokens; rows with it have a context of their own.

    Fails where the answer comes back to what it dropped, as long derivations do.

    Source: the setting of Oren et al., Transformers are Multi-State RNNs (2024), with any scorer.
    """

    name = "decoding"
    last = True

    interval: Annotated[int, Field(ge=1), Choices(64, 128, 256, 512)] = 512
    """Tokens between two compressions."""
    target_size: Annotated[int, Field(ge=1), Choices(256, 512, 1024, 2048)] = 2048
    """Keys that each head keeps."""
