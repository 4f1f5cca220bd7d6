"""One colour and one marker for a method in every picture, for colour-blind eyes and in grey."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

BLACK = "#000000"
GREY = "#7A7A7A"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
"""The colours of Okabe and Ito (2008) but for their yellow, which white paper swallows; grey is for
baselines, black for dense attention."""
_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE)
_OTHER_MARKERS = ("P", "X", "*", "h", "d", "8")
"""Of what has no look of its own below, where none of these occurs."""


@dataclass(frozen=True)
class Look:
    """How what a method did is drawn."""

    colour: str
    """In hexadecimal, as HTML takes it too."""
    marker: str
    """As matplotlib calls it."""


_DENSE = Look(BLACK, "_")
_LOOKS = {
    # Maskers have round, square and pointed markers that stand, ...
    "sink": Look(GREY, "v"),
    "local": Look(GREY, "^"),
    "sink+local": Look(GREY, "o"),
    "oracle_top_k": Look(BLUE, "o"),
    "oracle_top_p": Look(BLUE, "s"),
    "quest": Look(ORANGE, "s"),
    "double_sparsity": Look(GREEN, "^"),
    "pq_cache": Look(SKY, "o"),
    "hash_attention": Look(PURPLE, "^"),
    "random_sampling": Look(GREEN, "v"),
    "magic_pig": Look(VERMILLION, "o"),
    "adaptive_sampling": Look(GREEN, "s"),
    "oracle_top_k+adaptive_sampling": Look(GREEN, "s"),
    # ... presses those that lie on a side or stand on a corner.
    "random_press": Look(GREY, "D"),
    "streaming_llm": Look(GREY, "<"),
    "streaming_llm+key_rerotation": Look(GREY, ">"),
    "knorm": Look(BLUE, "D"),
    "knorm+decoding": Look(BLUE, ">"),
    "snapkv": Look(VERMILLION, "D"),
    "snapkv+adakv": Look(VERMILLION, "<"),
    "snapkv+criticalkv": Look(VERMILLION, ">"),
    "snapkv+adakv+criticalkv": Look(VERMILLION, "p"),
    "snapkv+chunkkv": Look(ORANGE, ">"),
    "snapkv+layer_ratios": Look(ORANGE, "p"),
    "snapkv+oracle_top_k": Look(BLUE, "p"),
    "pyramidkv": Look(ORANGE, "D"),
    "expected_attention": Look(GREEN, "D"),
    "expected_attention+adakv": Look(GREEN, "<"),
    "observed_attention": Look(SKY, "D"),
    "tova": Look(PURPLE, "D"),
    "keydiff": Look(SKY, "<"),
    "lagkv": Look(PURPLE, "<"),
}
_EVERYWHERE = {"sink", "local"}


def look_of(methods: Iterable[str]) -> Look:
    """The look of a configuration, from the names of its methods alone.

    It does not depend on what else is in a picture.  Sink and local, which most configurations
    have, count only where nothing else is.  Methods from other packages, and combinations without
    a look of their own, get one from their names.
    """
    names = list(methods)
    if not names:
        return _DENSE
    name = "+".join([name for name in names if name not in _EVERYWHERE] or names)
    if name in _LOOKS:
        return _LOOKS[name]
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    place, colour = divmod(number, len(_COLOURS))
    return Look(_COLOURS[colour], _OTHER_MARKERS[place % len(_OTHER_MARKERS)])
