"""Options of benchmarks: checked keyword arguments with JSON values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from sparse_attention.errors import UserError, unknown_name
from sparse_attention.reading import parse_json, shown


class BenchmarkOptions(BaseModel):
    """Base of the options of a benchmark; fields have defaults and ranges."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def parse(cls, benchmark: str, values: Mapping[str, Any]) -> Self:
        """Options from keyword arguments; ``UserError`` names a wrong one and what is valid."""
        for name in values:
            if name not in cls.model_fields:
                raise unknown_name(f"option of the benchmark {benchmark}", name, cls.model_fields)
        plain = {
            name: str(value) if isinstance(value, Path) else value for name, value in values.items()
        }
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"option {'.'.join(map(str, first['loc'][:1]))!r} of the benchmark {benchmark}: "
                f"{first['msg']}, got {shown(first['input'])}."
            ) from error


def option_value(text: str) -> tuple[str, Any]:
    """Name and value of ``name=value``; the value is JSON, else text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UserError(f"option {text!r} is not of the form NAME=VALUE.")
    return name, json_or_text(value, f"option {name}")


def json_or_text(text: str, where: str) -> Any:
    """The value that a text on the command line is: JSON, else the text itself."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        # Brackets that go too deep are no name of anything either: the option's type refuses them.
        return text
    return parse_json(text, where)
