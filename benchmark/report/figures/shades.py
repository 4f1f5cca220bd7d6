"""Settings of one method are told apart by shade: the sparser, the lighter."""

from __future__ import annotations

_LIGHTEST = 0.45
"""Share of the method's own colour in the sparsest setting; the rest is white."""


def shaded(colour: str, place: float) -> str:
    """The colour of a setting.

    Args:
        colour: of the method, in hexadecimal.
        place: 0 for its sparsest setting, 1 for the densest.
    """
    share = _LIGHTEST + (1 - _LIGHTEST) * place
    channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (value - 255) * share):02x}" for value in channels)
