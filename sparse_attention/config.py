"""Configurations: ordered lists of methods, their names, and how they are written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .errors import UserError, unknown_name
from .maskers import (
    MASKERS,
    AdaptiveSampling,
    DoubleSparsity,
    HashAttention,
    Local,
    MagicPig,
    Masker,
    OracleTopK,
    OracleTopP,
    PQCache,
    Quest,
    RandomSampling,
    Sink,
)
from .method import Method
from .model_profile import ModelProfile

MethodType = TypeVar("MethodType", bound=Method)


@dataclass(frozen=True)
class AttentionConfig:
    """What a row reads: methods in order, each adding to what the earlier ones selected.

    No method at all is dense attention.  At most one method may sample, and it comes last.

    Raises:
        UserError: if the methods do not go together.
    """

    methods: tuple[Masker, ...] = ()

    def __post_init__(self) -> None:
        for method in self.methods:
            if not isinstance(method, Masker):
                raise UserError(f"a configuration is made of methods, got {method!r}")
        for method in self.methods[:-1]:
            if method.samples:
                raise UserError(
                    f"{method.name} draws keys at random and must be the last method: the weights "
                    f"of its keys would be wrong if {self.methods[-1].name} also read some of them"
                )
        names = [method.name for method in self.methods]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"each method may appear once in a configuration; twice: {twice}")

    @property
    def is_dense(self) -> bool:
        """Whether every key is read."""
        return not self.methods

    @property
    def is_positional(self) -> bool:
        """Whether positions alone decide what is read, so that no scores are needed."""
        return bool(self.methods) and all(method.positional for method in self.methods)

    @property
    def rank(self) -> tuple[bool, tuple[str, ...]]:
        """Sorts configurations so that those that share work in a batch are neighbours."""
        return self.is_positional, tuple(method.name for method in self.methods)

    def for_model(self, profile: ModelProfile) -> AttentionConfig:
        """The configuration as it runs on a model; see ``Method.for_model``.

        Raises:
            UserError: if a method cannot run on the model, with the reason.
        """
        return AttentionConfig(tuple(method.for_model(profile) for method in self.methods))

    def to_json(self) -> dict[str, Any]:
        """``{"methods": [{"name": ..., field: value, ...}, ...]}``."""
        return {"methods": [method.to_json() for method in self.methods]}

    @classmethod
    def from_json(cls, document: Any) -> AttentionConfig:
        """The configuration that ``to_json`` wrote; fields that are left out have their defaults.

        Raises:
            UserError: naming the field, its value and what is valid.
        """
        if not isinstance(document, Mapping) or set(document) != {"methods"}:
            raise UserError(f'a configuration is {{"methods": [...]}}, got {document!r:.200}')
        if not isinstance(document["methods"], list | tuple):
            raise UserError(f'"methods" must be a list, got {document["methods"]!r:.200}')
        return cls(tuple(_method_from_json(item) for item in document["methods"]))

    def describe(self) -> str:
        """One line for people."""
        return " + ".join(method.describe() for method in self.methods) or "dense"


def _method_from_json(document: Any) -> Masker:
    if not isinstance(document, Mapping) or not isinstance(document.get("name"), str):
        raise UserError(f'a method is {{"name": ..., field: value}}, got {document!r:.200}')
    fields = dict(document)
    name = fields.pop("name")
    if name not in MASKERS:
        raise unknown_name("method", name, MASKERS)
    return make_method(MASKERS[name], fields)


def make_method(kind: type[MethodType], fields: Mapping[str, Any]) -> MethodType:
    """A method with these settings.

    Raises:
        UserError: naming the field, its value and what is valid.
    """
    for key in fields:
        if key not in kind.model_fields:
            raise unknown_name(f"field of {kind.name}", key, kind.model_fields)
    try:
        return kind(**fields)
    except ValidationError as error:
        raise UserError(f"{kind.name}: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """All problems of a validation error in one line."""
    problems = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"]) or "settings"
        message = problem["msg"].removeprefix("Value error, ")
        problems.append(f"{field} = {problem['input']!r:.80}: {message}")
    return "; ".join(problems)


@dataclass(frozen=True)
class ConfigType:
    """A named template: methods whose settings are left open."""

    name: str
    summary: str
    methods: tuple[Masker, ...]

    def make(self, **settings: Any) -> AttentionConfig:
        """The configuration with ``settings`` in place of the template's.

        A setting is named by its field; ``seed`` goes to every method that has one.

        Raises:
            UserError: for an unknown or invalid setting.
        """
        known = {key for method in self.methods for key in type(method).model_fields}
        for key in settings:
            if key not in known:
                raise unknown_name(f"setting of config type {self.name}", key, known)
        return AttentionConfig(
            tuple(
                make_method(
                    type(method),
                    {key: settings.get(key, value) for key, value in method},
                )
                for method in self.methods
            )
        )


_EDGES = (Sink(sink_size=4), Local(window_size=64))

CONFIG_TYPES: Mapping[str, ConfigType] = {
    kind.name: kind
    for kind in (
        ConfigType("dense", "all keys", ()),
        ConfigType("sink_masker", "the first keys", (Sink(),)),
        ConfigType("local_masker", "the newest keys", (Local(),)),
        ConfigType("sink_local", "the first and the newest keys (StreamingLLM)", _EDGES),
        ConfigType(
            "oracle_top_k", "sink, local and the highest true scores", (*_EDGES, OracleTopK())
        ),
        ConfigType(
            "oracle_top_p",
            "sink, local and the fewest keys that hold a share of the attention",
            (*_EDGES, OracleTopP()),
        ),
        ConfigType("quest", "sink, local and pages by bounds of their scores", (*_EDGES, Quest())),
        ConfigType(
            "double_sparsity",
            "sink, local and the highest scores over a few channels",
            (*_EDGES, DoubleSparsity()),
        ),
        ConfigType(
            "pq_cache",
            "sink, local and the highest scores of quantised keys",
            (*_EDGES, PQCache()),
        ),
        ConfigType(
            "hash_attention",
            "sink, local and the keys whose learned bits agree most",
            (*_EDGES, HashAttention()),
        ),
        ConfigType(
            "random_sampling", "sink, local and a uniform sample", (*_EDGES, RandomSampling())
        ),
        ConfigType("magic_pig", "sink, local and LSH sampling", (*_EDGES, MagicPig())),
        ConfigType(
            "adaptive_sampling",
            "sink, local, top-k and as many samples as an error bound needs (vAttention)",
            (*_EDGES, OracleTopK(heavy_size=0.02), AdaptiveSampling()),
        ),
    )
}


def make_config(config_type: str, **settings: Any) -> AttentionConfig:
    """A configuration of a named type.

    Raises:
        UserError: for an unknown type or setting.
    """
    if config_type not in CONFIG_TYPES:
        raise unknown_name("config type", config_type, CONFIG_TYPES)
    return CONFIG_TYPES[config_type].make(**settings)


class Protocol(BaseModel):
    """Where attention is sparse; results of different protocols are not comparable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sparse_from: Literal["question", "generation"] = "question"
    """The first token that is processed sparsely: the question's first, or the first generated one
    (the question is then read with dense attention)."""
    dense_layers: tuple[int, ...] = Field(default=())
    """Layers that always read everything."""

    @field_validator("dense_layers")
    @classmethod
    def _are_layers(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(layer < 0 for layer in value):
            raise ValueError("layers are counted from 0")
        return tuple(sorted(set(value)))
