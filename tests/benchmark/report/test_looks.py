"""One look for a method everywhere."""

from __future__ import annotations

import re

from benchmark.report.looks import BLACK, look_of
from sparse_attention.config_types import CONFIG_TYPES


def _looks() -> dict[str, object]:
    types = {name: CONFIG_TYPES[name].make() for name in CONFIG_TYPES}
    return {name: look_of(m.name for m in config.methods) for name, config in types.items()}


def test_every_config_type_of_the_project_has_a_look_of_its_own() -> None:
    looks = _looks()
    shared = {name for name, look in looks.items() if list(looks.values()).count(look) > 1}
    assert not shared, "two of the types would be one in a picture"
    assert all(re.fullmatch(r"#[0-9A-F]{6}", look.colour) for look in looks.values())
    assert look_of([]).colour == BLACK


def test_the_look_is_that_of_the_method_whatever_is_around_it() -> None:
    assert look_of(["quest"]) == look_of(["sink", "local", "quest"])
    assert look_of(["sink", "local"]) != look_of(["sink"]) != look_of(["local"])


def test_methods_from_outside_have_one_look_that_no_method_of_the_project_has() -> None:
    known = set(_looks().values())
    assert look_of(["mine"]) == look_of(["sink", "mine"])
    assert look_of(["mine"]) not in known
    assert look_of(["mine"]) != look_of(["yours"])
