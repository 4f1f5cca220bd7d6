"""The rows of a batch of different prompts, however they are repeated, dropped and put in order."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparse_attention import Protocol, make_config
from sparse_attention.cache.context import Context, ContextLayer, Segment
from sparse_attention.decode.batch import BatchDecoder, PromptRows
from sparse_attention.decode.decoder import Decoder
from sparse_attention.model_facts import LayerSettings
from sparse_attention.testing.device import DEVICE

HEADS, GROUP, WIDTH = 2, 2, 8
LSH = make_config("magic_pig", sink_size=1, window_size=2, lsh_k=2, lsh_l=8)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(DEVICE)


def context_of(length: int) -> Context:
    keys, values = normal(HEADS, length, WIDTH), 2 * normal(HEADS, length, WIDTH)
    return Context(length, (ContextLayer((Segment(keys, values),)),))


def decoder_over(context: Context, rows: int) -> Decoder:
    return Decoder(context, [LSH] * rows, [""] * rows, Protocol())


def step(batch: BatchDecoder | Decoder, fresh: Tensor) -> Tensor:
    """Append a token of each row, (R, H, 1, D), and attend with it."""
    batch.tails[0].append(fresh, fresh)
    queries = fresh[:, :, None].expand(-1, -1, GROUP, -1, -1).contiguous()
    return batch.attend(0, queries, LayerSettings(scaling=WIDTH**-0.5))


@settings(deadline=None)
@given(data=st.data())
def test_a_row_reads_what_it_would_have_read_alone(data):
    prompts = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))
    contexts = [context_of(5 + 3 * index) for index in range(3)]
    batch = BatchDecoder(
        [
            PromptRows(decoder_over(contexts[prompt], prompts.count(prompt)), rows)
            for prompt in dict.fromkeys(prompts)
            if (rows := [row for row, one in enumerate(prompts) if one == prompt])
        ]
    )
    histories: list[list[Tensor]] = [[] for _ in prompts]
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        fresh = torch.randn(len(prompts), HEADS, 1, WIDTH, generator=generator).to(DEVICE)
        output = step(batch, fresh)
        histories = [[*h, f] for h, f in zip(histories, fresh, strict=True)]
        assert batch.rows == len(prompts)
        assert batch.tails[0].length == len(histories[0])
        for prompt, history, ours in zip(prompts, histories, output, strict=True):
            alone = decoder_over(contexts[prompt], 1)
            for token in history:
                expected = step(alone, token[None])[0]
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
        taken = data.draw(st.lists(st.integers(0, len(prompts) - 1), min_size=1, max_size=5))
        batch.take_rows(taken)
        prompts, histories = [prompts[i] for i in taken], [histories[i] for i in taken]
