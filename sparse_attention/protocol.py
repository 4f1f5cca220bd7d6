"""Where in a sequence, and in which layers, attention is sparse."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sparse_attention.errors import UserError


class Protocol(BaseModel):
    """Where attention is sparse; results of different protocols are not comparable."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sparse_from: Literal["question", "generation"] = "question"
    """The first token that is processed sparsely: the question's first, or the first generated one
    (the question is then read with dense attention)."""
    dense_layers: tuple[int, ...] = Field(default=())
    """Layers that always read everything; presses leave them alone.  Counted from 0 among the
    layers that keep keys, which in many models are fewer than all."""
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

    def check_layers(self, layers: int) -> None:
        """Check that a model with so many layers has the dense ones.

        Raises:
            UserError: if it has not.
        """
        if any(layer >= layers for layer in self.dense_layers):
            raise UserError(
                f"dense_layers {list(self.dense_layers)}: the model has attention layers 0 to "
                f"{layers - 1}"
            )
