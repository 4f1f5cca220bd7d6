"""A batch of rows over several prefixes: one decoder for each different prompt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_attention.cache.context import States
from sparse_attention.decode.decoder import Decoder, LayerSettings


@dataclass
class PromptRows:
    """The rows of a batch that go on from one prompt."""

    decoder: Decoder
    rows: list[int]
    """Their places in the batch, in the order that they have in the decoder."""

    @property
    def index(self) -> list[int] | slice:
        """What picks the rows of the batch that the decoder works on.

        A slice, which copies nothing, where it can be one.  Only the first row reads a question
        densely, because all others of the part would read the same.
        """
        rows = self.rows[: self.decoder.asked_rows]
        together = rows[-1] + 1 - rows[0] == len(rows)
        return slice(rows[0], rows[-1] + 1) if together else rows


@dataclass
class BatchTails:
    """What all rows of a batch add in one layer; see ``Tails``."""

    batch: BatchDecoder
    layer: int

    @property
    def length(self) -> int:
        """Tokens that each row has added."""
        return self.batch.parts[0].decoder.tails[self.layer].length

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Add new keys and values (R, H, n, D)."""
        for part in self.batch.parts:
            rows = part.index
            part.decoder.tails[self.layer].append(keys[rows], values[rows])


class BatchDecoder:
    """The attention of a batch whose rows go on from different prompts.

    The prompts are of any length: each has a prefix of its own without padding, so that padding is
    never read and position 0 is the first token of the prompt.  All rows get equally many new
    tokens.
    """

    def __init__(self, parts: Sequence[PromptRows]) -> None:
        """Take parts whose rows are together 0, 1, ..., each once."""
        self.parts = list(parts)
        self.tails = [BatchTails(self, layer) for layer in range(len(parts[0].decoder.tails))]

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return sum(len(part.rows) for part in self.parts)

    @property
    def states(self) -> list[States]:
        """Of the context of each row."""
        states: list[States] = [{}] * self.rows
        for part in self.parts:
            for row in part.rows:
                states[row] = part.decoder.context.states
        return states

    @contextlib.contextmanager
    def question(self) -> Iterator[None]:
        """Inside, the questions are read; see ``Decoder.question``."""
        with contextlib.ExitStack() as reading:
            for part in self.parts:
                reading.enter_context(part.decoder.question())
            yield

    def end_step(self) -> None:
        """New tokens have passed all layers; see ``Decoder.end_step``."""
        for part in self.parts:
            part.decoder.end_step()

    @property
    def position_shifts(self) -> list[int]:
        """How much lower the positions of new tokens are than their places, for each row."""
        shifts = [0] * self.rows
        for part in self.parts:
            for row, shift in zip(part.rows, part.decoder.position_shifts, strict=True):
                shifts[row] = shift
        return shifts

    def attend(
        self, layer: int, queries: Tensor, settings: LayerSettings, *, observed: bool = True
    ) -> Tensor:
        """Attention of new tokens (R, H, G, Q, D); see ``Decoder.attend``."""
        output: Tensor | None = None
        for part in self.parts:
            rows = part.index
            # ``generate`` only switches gradients off, which makes views twice as dear; a model may
            # write to what it gets, so that this is made outside.
            with torch.inference_mode():
                result = part.decoder.attend(layer, queries[rows], settings, observed=observed)
            if output is None:
                output = result.new_empty(queries.shape[0], *result.shape[1:])
            alone = part.decoder.asked_rows < len(part.rows)
            output[part.rows if alone else rows] = result
        assert output is not None, "a batch without rows"
        return output

    def take_rows(self, rows: Sequence[int]) -> None:
        """Go on with a batch made of these rows; a row may be named several times or not at all."""
        parts = []
        for part in self.parts:
            old = {row: place for place, row in enumerate(part.rows)}
            taken = [place for place, row in enumerate(rows) if row in old]
            if taken:
                part.decoder.keep_rows([old[rows[place]] for place in taken])
                parts.append(PromptRows(part.decoder, taken))
        self.parts = parts

    def stop_measuring(self, row: int) -> None:
        """Count nothing more for a row, because its answer has ended."""
        for part in self.parts:
            if row in part.rows:
                part.decoder.stop_measuring(part.rows.index(row))
