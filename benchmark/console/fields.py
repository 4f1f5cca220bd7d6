"""Arguments of a command line that are fields of a settings class, with its defaults and words."""

from __future__ import annotations

import argparse
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel


def add_field(
    group: argparse._ArgumentGroup,
    settings: type[BaseModel],
    field: str,
    *flags: str,
    default: str | None = None,
    **changes: Any,
) -> None:
    """Add the argument of a field; where it is not given it is absent (see ``given_fields``).

    Args:
        group: to add to.
        settings: the class; its fields have docstrings (``use_attribute_docstrings``).
        field: of the class.
        flags: names of the argument, where they are not the field's.
        default: in words, where it is not the field's.
        changes: to what ``add_argument`` is told otherwise.
    """
    info = settings.model_fields[field]
    form = _form(info.annotation, info.default)
    choices = form.pop("choices", ())
    words = " ".join((info.description or "").replace("``", "").split())
    if choices and not all(choice in words for choice in choices):
        words += f" One of: {', '.join(choices)}."
    if default is None and info.default is not None and "action" not in form:
        default = str(info.default)
    if default:
        words += f" (default: {default})"
    group.add_argument(
        *(flags or [f"--{field.replace('_', '-')}"]),
        **{
            "dest": field,
            "default": argparse.SUPPRESS,
            "help": words.replace("%", "%%"),
            **form,
            **changes,
        },
    )


def given_fields(settings: type[BaseModel], options: argparse.Namespace) -> dict[str, Any]:
    """The fields of a settings class that were given."""
    given = vars(options)
    return {name: given[name] for name in settings.model_fields if name in given}


def _form(annotation: Any, default: object) -> dict[str, Any]:
    """How values of a type are written on a command line."""
    if get_origin(annotation) is Literal:
        # Not argparse's choices: the class says itself what is wrong, in one line.
        return {"choices": [str(choice) for choice in get_args(annotation)], "metavar": "NAME"}
    if get_origin(annotation) is tuple:
        return {**_form(get_args(annotation)[0], None), "nargs": "*"}
    if annotation is bool:
        return {"action": "store_false" if default is True else "store_true"}
    known = [one for one in get_args(annotation) if one is not NoneType] or [annotation]
    metavar = {int: "N", float: "X"}.get(known[0], "NAME")
    return {"type": known[0], "metavar": metavar}
