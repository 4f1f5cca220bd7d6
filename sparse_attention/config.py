"""Configurations: ordered lists of methods, their names, and how they are written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

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
from .prefill_statistics import StatisticsRequest, joined_requests
from .presses import (
    PRESSES,
    AdaKV,
    ChunkKV,
    CriticalKV,
    Decoding,
    ExpectedAttention,
    KeyDiff,
    KeyRerotation,
    KNorm,
    LagKV,
    LayerRatios,
    ObservedAttention,
    Press,
    PyramidKV,
    RandomPress,
    SnapKV,
    StreamingLLM,
    Tova,
)
from .presses.order import check_order

METHODS: Mapping[str, type[Method]] = {**PRESSES, **MASKERS}

MethodType = TypeVar("MethodType", bound=Method)


@dataclass(frozen=True)
class AttentionConfig:
    """What a row reads: presses, which compress the context, and then maskers, each in order.

    A press sees what the earlier ones kept; a masker adds to what the earlier ones selected among
    the keys that the presses kept.  No masker at all reads all of these, no method at all is dense
    attention.  At most one method may sample, and it comes last.

    Raises:
        UserError: if the methods do not go together.
    """

    methods: tuple[Method, ...] = ()

    def __post_init__(self) -> None:
        for method in self.methods:
            if not isinstance(method, Masker | Press):
                raise UserError(f"a configuration is made of methods, got {method!r}")
        names = [method.name for method in self.methods]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"each method may appear once in a configuration; twice: {twice}")
        if self.presses + self.maskers != self.methods:
            raise UserError(
                f"presses come before maskers, because they compress what maskers read: {names}"
            )
        check_order(self.presses)
        for masker in self.maskers[:-1]:
            if masker.samples:
                raise UserError(
                    f"{masker.name} draws keys at random and must be the last method: the weights "
                    f"of its keys would be wrong if {names[-1]} also read some of them"
                )

    @cached_property
    def presses(self) -> tuple[Press, ...]:
        """What compresses the context."""
        return tuple(method for method in self.methods if isinstance(method, Press))

    @cached_property
    def maskers(self) -> tuple[Masker, ...]:
        """What selects for each query."""
        return tuple(method for method in self.methods if isinstance(method, Masker))

    @property
    def needs(self) -> StatisticsRequest:
        """What has to be collected in the prefill."""
        return joined_requests([press.needs for press in self.presses])

    @property
    def is_positional(self) -> bool:
        """Whether positions alone decide what is read, so that no scores are needed."""
        return bool(self.maskers) and all(masker.positional for masker in self.maskers)

    @property
    def rank(self) -> tuple[str, bool, tuple[str, ...]]:
        """Sorts configurations so that those that share work in a batch are neighbours.

        Those without presses come first.
        """
        presses = " ".join(press.describe() for press in self.presses)
        return presses, self.is_positional, tuple(masker.name for masker in self.maskers)

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


def _method_from_json(document: Any) -> Method:
    if not isinstance(document, Mapping) or not isinstance(document.get("name"), str):
        raise UserError(f'a method is {{"name": ..., field: value}}, got {document!r:.200}')
    fields = dict(document)
    name = fields.pop("name")
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return make_method(METHODS[name], fields)


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
    methods: tuple[Method, ...]

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
        ConfigType("random_press", "keep keys at random", (RandomPress(),)),
        ConfigType("knorm", "keep keys of small norm", (KNorm(),)),
        ConfigType("streaming_llm", "keep the first and the newest keys", (StreamingLLM(),)),
        ConfigType("snapkv", "keep what the last queries attend to", (SnapKV(),)),
        ConfigType(
            "expected_attention",
            "keep what future queries are expected to attend to",
            (ExpectedAttention(),),
        ),
        ConfigType(
            "observed_attention",
            "keep what received most attention in the prefill (H2O)",
            (ObservedAttention(),),
        ),
        ConfigType("tova", "keep what the last token attends to", (Tova(),)),
        ConfigType("pyramidkv", "SnapKV with larger budgets in lower layers", (PyramidKV(),)),
        ConfigType("keydiff", "keep keys that differ from the others", (KeyDiff(),)),
        ConfigType("lagkv", "keep tokens that stand out against those after them", (LagKV(),)),
        ConfigType(
            "criticalkv",
            "SnapKV weighted by norms of projected values",
            (SnapKV(), CriticalKV()),
        ),
        ConfigType("chunkkv", "SnapKV by whole chunks", (SnapKV(), ChunkKV())),
        ConfigType("adakv", "SnapKV with budgets by head", (SnapKV(), AdaKV())),
        ConfigType(
            "ada_expected_attention",
            "expected attention with budgets by head",
            (ExpectedAttention(epsilon=0.01), AdaKV()),
        ),
        ConfigType("layer_snapkv", "SnapKV with a ratio for each layer", (SnapKV(), LayerRatios())),
        ConfigType(
            "streaming_llm_rerotated",
            "keep the first and the newest keys, with positions inside the cache",
            (StreamingLLM(), KeyRerotation()),
        ),
        ConfigType(
            "decoding_knorm",
            "keep keys of small norm, again and again while decoding",
            (KNorm(), Decoding()),
        ),
        ConfigType(
            "snapkv_top_k",
            "SnapKV, then sink, local and the highest true scores of what it kept",
            (SnapKV(), *_EDGES, OracleTopK()),
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
    """Layers that always read everything; presses leave them alone."""
    press_sees_question: bool = False
    """Whether presses compress context and question together, after the question was read with
    dense attention; else they compress the context before they know what will be asked.  Much
    easier, and useless where several questions are asked about one context."""

    @field_validator("dense_layers")
    @classmethod
    def _are_layers(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(layer < 0 for layer in value):
            raise ValueError("layers are counted from 0")
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _question_is_dense(self) -> Protocol:
        if self.press_sees_question and self.sparse_from != "generation":
            raise ValueError(
                "press_sees_question = True: the question is then read before anything is "
                "compressed; set sparse_from to 'generation'"
            )
        return self
