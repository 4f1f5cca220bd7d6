"""How long sequences may be, and rotations that depend on their length."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from sparse_attention.errors import UserError
from sparse_attention.hf.layers import decoder_of

_NAMES = (
    "max_position_embeddings",
    "max_sequence_length",
    "max_seq_len",
    "model_max_length",
    "seq_length",
)
_ORIGINAL = "original_max_position_embeddings"


def max_positions(config: PreTrainedConfig) -> int | None:
    """The longest sequence in tokens that a model was made for; None if it does not say.

    Where positions are stretched from an original length by a factor (YaRN as model cards give it:
    ``rope_scaling`` is added and nothing else changed), that is the length, if it is longer.
    """
    text = config.get_text_config()
    stated = [_number(getattr(text, name, None)) for name in _NAMES]
    own = next((length for length in stated if length), None)
    if own is None:
        return None
    stretched = [
        int(_number(rope.get("factor")) * (_number(rope.get(_ORIGINAL)) or own))
        for rope in _ropes(text)
        if _kind(rope) == "yarn"
    ]
    return max(int(own), *stretched, 0)


def check_max_positions(model: PreTrainedModel, wanted: int) -> None:
    """Whether a model can read sequences of so many tokens.

    Raises:
        UserError: if it cannot, however well it was trained.
    """
    config = model.config.get_text_config()
    own = int(_number(getattr(config, _NAMES[0], None)))
    if not own or wanted <= own:
        return
    limit = growing_from(config)
    if limit is not None and wanted > limit:
        raise UserError(
            f"max_positions = {wanted}: above {limit} tokens this model turns each new key by "
            "other angles than the keys before (dynamic NTK), so that a context cannot be shared"
        )
    for name, module in decoder_of(model).named_modules():
        # Two more rows than positions are OPT's offset.
        learned = isinstance(module, nn.Embedding) and module.num_embeddings in (own, own + 2)
        if learned and module is not model.get_input_embeddings():
            raise UserError(
                f"max_positions = {wanted}: the model has learned {own} positions ({name}) and "
                "cannot have more"
            )


def growing_from(config: PreTrainedConfig) -> int | None:
    """The length from which every new token changes the rotation (dynamic NTK); None without."""
    text = config.get_text_config()
    if any("dynamic" in _kind(rope) for rope in _ropes(text)):
        return int(text.max_position_embeddings)
    return None


def switches_at(config: PreTrainedConfig) -> int | None:
    """The length above which all keys of a sequence are turned in another way (LongRoPE).

    A key that was read in a shorter sequence is then of no use in a longer one.
    """
    text = config.get_text_config()
    for rope in _ropes(text):
        if _kind(rope) in ("longrope", "su"):
            own = getattr(text, _ORIGINAL, None)
            return int(_number(rope.get(_ORIGINAL)) or _number(own) or text.max_position_embeddings)
    return None


def is_stretched(config: PreTrainedConfig) -> bool:
    """Whether rotations are others than a model of its base frequency has."""
    return any(_kind(rope) not in ("", "default") for rope in _ropes(config.get_text_config()))


def depends_on_length(config: PreTrainedConfig) -> bool:
    """Whether keys are turned by frequencies that depend on the length of the sequence."""
    return growing_from(config) is not None or switches_at(config) is not None


@contextlib.contextmanager
def rotated_for(model: PreTrainedModel, length: int) -> Iterator[None]:
    """Inside, keys are turned as in a sequence of at least ``length`` tokens.

    Raises:
        UserError: if that matters and cannot be made so.
    """
    switch = switches_at(model.config)
    if switch is None or length <= switch:
        yield
        return
    modules = decoder_of(model).named_modules()
    embeddings = [module for name, module in modules if name.split(".")[-1] == "rotary_emb"]
    if not embeddings:
        raise UserError(
            f"{type(model).__name__} turns keys in another way in sequences of more than {switch} "
            f"tokens (LongRoPE), and has no module rotary_emb where that could be set; keep "
            f"context, question and answer within {switch} tokens"
        )
    with contextlib.ExitStack() as undo:
        for embedding in embeddings:
            undo.enter_context(attribute(embedding, "forward", _lengthened(embedding, length)))
        yield


def _lengthened(embedding: nn.Module, length: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """The forward of a rotary embedding in a sequence of at least ``length`` tokens."""
    own = embedding.forward

    def forward(x: Tensor, position_ids: Tensor, *more: Any, **named: Any) -> tuple[Tensor, Tensor]:
        # The highest position decides; one more is added and its tables are left out.
        last = torch.full_like(position_ids[..., :1], length - 1)
        cosines, sines = own(x, torch.cat([position_ids, last], -1), *more, **named)
        return cosines[..., :-1, :], sines[..., :-1, :]

    return forward


@contextlib.contextmanager
def attribute(module: nn.Module | ModuleType, name: str, value: Any) -> Iterator[None]:
    """An attribute of this object alone; what was there before is back on exit."""
    had, before = name in vars(module), vars(module).get(name)
    setattr(module, name, value)
    try:
        yield
    finally:
        if had:
            setattr(module, name, before)
        else:
            delattr(module, name)


def _ropes(text: PreTrainedConfig) -> list[Mapping[str, Any]]:
    """What a configuration says about its rotations: once, or for each type of layer."""
    found = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None)
    if not isinstance(found, Mapping):
        return []
    of_types = [value for value in found.values() if isinstance(value, Mapping)]
    return of_types or [found]


def _kind(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "")


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
