"""The base of all methods: validated settings, and the size of a part of the keys."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cached_property
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    get_args,
    get_origin,
)

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator

if TYPE_CHECKING:
    from torch import Tensor

    from sparse_attention.model_facts import ModelProfile


MOST_KEYS = 2**31 - 1
"""Bound of whatever counts keys, and of all other whole numbers that have none of their own."""


def _check_size(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be an int (a count of keys) or a float (a share of the keys)")
    if isinstance(value, int) and value < 1:
        raise ValueError("a count must be at least 1")
    if isinstance(value, int) and value > MOST_KEYS:
        raise ValueError(f"a count must be at most {MOST_KEYS}; no context has more keys")
    if isinstance(value, float) and not 0 < value <= 1:
        raise ValueError("a share must be above 0 and at most 1")
    return value


Size = Annotated[int | float, BeforeValidator(_check_size)]
"""A number of keys: an int counts keys (1 is one key), a float is a share of the keys that a query
sees (1.0 is all of them)."""


def resolve_size(size: int | float, visible: Tensor) -> Tensor:
    """Number of keys that ``size`` means where ``visible`` keys are seen.

    ``min(visible, max(1, floor(size * visible)))`` for a share and ``min(visible, size)`` for a
    count; int64 in the shape of ``visible``.
    """
    if isinstance(size, int):
        return visible.clamp(max=size)
    # The small constant keeps 0.29 * 100 at 29 instead of floor(28.999999999999996).
    count = torch.floor(size * visible.double() + 1e-9).long()
    return torch.minimum(visible, count.clamp(min=1))


SECTIONS = ("Cost", "Fails", "Source")
"""First words of the paragraphs that end the docstring of every method, in this order."""


class Method(BaseModel):
    """A method with its settings: immutable, hashable, validated when it is made."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    name: ClassVar[str]
    """Name in configurations."""
    oracle: ClassVar[bool] = False
    """Whether it needs the true scores of all keys: it saves no reading, and is there as a bound
    for methods that guess them."""
    stacked: ClassVar[frozenset[str]] = frozenset()
    """Fields in which rows that are handled together may differ; rows that differ in others are
    handled one after the other."""

    @classmethod
    def summary(cls) -> str:
        """The first paragraph of the docstring as plain text, without its full stop."""
        first = inspect.cleandoc(cls.__doc__ or cls.name).split("\n\n")[0]
        return " ".join(first.replace("``", "").split()).removesuffix(".")

    @classmethod
    def sections(cls) -> tuple[str, ...]:
        """Which of ``SECTIONS`` its docstring has, in its order."""
        paragraphs = (inspect.getdoc(cls) or "").split("\n\n")
        words = [re.split(r"\W", paragraph, maxsplit=1)[0] for paragraph in paragraphs[1:]]
        return tuple(dict.fromkeys(word for word in words if word in SECTIONS))

    @classmethod
    def valid_values(cls, field: str) -> str:
        """The values that a field may have, in words."""
        info = cls.model_fields[field]
        if any(getattr(mark, "func", None) is _check_size for mark in info.metadata):
            return "a count of at least 1, or a share above 0 and at most 1"
        if get_origin(info.annotation) is Literal:
            return f"one of {', '.join(map(repr, get_args(info.annotation)))}"
        kind = {bool: "true or false", int: "an integer", float: "a number"}
        signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
        limits = [
            f"{sign} {getattr(limit, name)}"
            for limit in info.metadata
            for name, sign in signs.items()
            if hasattr(limit, name)
        ]
        if get_origin(info.annotation) is tuple:
            return "a list with a number for each layer"
        words = kind.get(info.annotation, "the name of a file, or none")  # type: ignore[arg-type]
        return f"{words} {' and '.join(limits)}".strip()

    @field_validator("*", mode="before")
    @classmethod
    def _is_held_by_tensors(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > MOST_KEYS:
            raise ValueError(f"a whole number may have a size of at most {MOST_KEYS}")
        return value

    @cached_property
    def _signature(self) -> tuple[object, ...]:
        # By repr, because 1 (a key) equals 1.0 (all keys).
        return (type(self), *((key, repr(value)) for key, value in self))

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied.__dict__.pop("_signature", None)  # ``model_copy`` changes fields after this
        return copied

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Method) and self._signature == other._signature

    def __hash__(self) -> int:
        return hash(self._signature)

    def stacks_with(self, other: Method) -> bool:
        """Whether the two differ at most in ``stacked`` fields."""
        ours, theirs = (
            [part for part in one._signature[1:] if part[0] not in self.stacked]  # type: ignore[index]
            for one in (self, other)
        )
        return type(self) is type(other) and ours == theirs

    def for_model(self, profile: ModelProfile) -> Self:
        """This method as it runs on a model: files that it needs are found and checked.

        Raises:
            UserError: if it cannot run on the model, with the reason.
        """
        return self

    @property
    def files(self) -> tuple[str, ...]:
        """Files that its results depend on."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """Name and all fields as JSON values."""
        return {"name": self.name, **self.model_dump(mode="json")}

    def describe(self) -> str:
        """Name and the fields that differ from their defaults or have none, in one phrase."""
        fields = type(self).model_fields
        parts = [
            f"{key}={value}"
            for key, value in self
            if fields[key].is_required() or fields[key].default != value
        ]
        return " ".join([self.name, *parts])


class Choices:
    """A search tries these values."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"Choices{self.values}"


@dataclass(frozen=True)
class Range:
    """A search tries numbers between ``low`` and ``high``, both included."""

    low: float
    high: float
    log: bool = False
    """Uniform in the logarithm."""


class EachLayer:
    """The field has one value for each layer of the model; a search tries these for each."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"EachLayer{self.values}"
