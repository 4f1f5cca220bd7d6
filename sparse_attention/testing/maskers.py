"""What every masker must do, whatever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch

from sparse_attention.attention.paths import gathered_attention, reference_attention
from sparse_attention.maskers import Local, Masker, Sink
from sparse_attention.testing.calls import HEADS, make_operation, single_query
from sparse_attention.testing.suite import Suite, check_class


class MaskerContract(Suite):
    """The suite; every test runs on every method.

    Operations are random: 120 keys and 8 tokens after them, up to four query heads for a key-value
    head.  Double sparsity and HashAttention find files for them.
    """

    methods: ClassVar[Mapping[str, Masker]]
    """By label: settings that read a part of some hundred keys."""
    full: ClassVar[Mapping[str, Masker]]
    """By the same labels: settings that read everything."""

    def labels(self) -> Mapping[str, list[str]]:
        """All of them."""
        return {"name": list(self.methods)}

    def test_both_tables_have_the_same_methods(self) -> None:
        """No method is without settings that read everything."""
        assert self.methods
        assert set(self.methods) == set(self.full)
        for name, method in self.methods.items():
            assert type(method) is type(self.full[name])

    def test_its_class_can_be_registered(self, name: str) -> None:
        """It is frozen, documented, and comes back from JSON as it was."""
        check_class(self.methods[name])
        check_class(self.full[name])

    @pytest.mark.parametrize("heads", HEADS)
    @pytest.mark.parametrize("queries", [1, 5])
    def test_full_budget_is_dense(self, name: str, heads: str, queries: int) -> None:
        """What reads everything has the output of dense attention."""
        operation = make_operation(self.full[name], heads=HEADS[heads], queries=queries, tail=8)
        call = operation.call
        got = reference_attention(
            call.queries,
            operation.keys,
            operation.values,
            operation.select().log_weights,
            call.scaling,
        )
        dense = reference_attention(
            call.queries, operation.keys, operation.values, operation.invisible, call.scaling
        )
        torch.testing.assert_close(got, dense, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("heads", HEADS)
    @pytest.mark.parametrize("queries", [1, 5])
    @pytest.mark.parametrize("window", [None, 40])
    def test_reads_only_visible_keys_and_at_least_one(
        self, name: str, heads: str, queries: int, window: int | None
    ) -> None:
        """Causality and sliding windows hold, and the settings read a part only."""
        operation = make_operation(
            self.methods[name], heads=HEADS[heads], queries=queries, window=window
        )
        reads = operation.select().reads.expand(operation.call.shape)
        invisible = operation.invisible == -torch.inf
        assert not (reads & invisible).any()
        assert reads.any(-1).all()
        assert not reads.all()

    @pytest.mark.parametrize("prefix", [1, 2, 3])
    def test_contexts_shorter_than_any_window(self, name: str, prefix: int) -> None:
        """Something is read however short the context is."""
        operation = make_operation(self.methods[name], prefix=prefix, tail=1)
        reads = operation.select().reads.expand(operation.call.shape)
        assert reads.any(-1).all()

    def test_a_method_keeps_what_was_selected_before(self, name: str) -> None:
        """Keys that earlier methods selected keep weight 1."""
        before = make_operation(Sink(sink_size=7), Local(window_size=6), queries=3).select()
        methods = [
            method
            for method in (Sink(sink_size=7), Local(window_size=6))
            if method.name != self.methods[name].name
        ]
        both = make_operation(*methods, self.methods[name], queries=3)
        log_weights = both.select().log_weights.expand(both.call.shape)
        alone = make_operation(*methods, queries=3).select().reads
        assert (log_weights[alone.expand(both.call.shape)] == 0).all()
        if len(methods) == 2:
            assert (log_weights[before.reads.expand(both.call.shape)] == 0).all()

    def test_a_row_alone_equals_the_row_in_a_batch(self, name: str) -> None:
        """Rows do not see one another, and draws are keyed by the sample."""
        method = self.methods[name]
        methods = (Sink(sink_size=2), method) if method.name != "sink" else (method,)
        samples = ["a", "b", "c"]
        batch = make_operation(*methods, rows=3, queries=2, samples=samples)
        together = batch.select().log_weights.expand(batch.call.shape)
        for row, sample in enumerate(samples):
            alone = make_operation(*methods, rows=3, queries=2, samples=[sample] * 3)
            single = alone.select().log_weights.expand(batch.call.shape)
            torch.testing.assert_close(single[row], together[row], atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("queries", [1, 5])
    def test_gathered_attention_equals_the_reference_in_float64(
        self, name: str, queries: int
    ) -> None:
        """Reading the selected keys alone gives what all keys with weights give."""
        operation = make_operation(self.methods[name], heads=(2, 3), queries=queries, rows=2)
        call, selection = operation.call, operation.select()
        exact = reference_attention(
            call.queries.double(),
            operation.keys.double(),
            operation.values.double(),
            selection.log_weights.double(),
            call.scaling,
        )
        got = gathered_attention(call, selection, None)
        torch.testing.assert_close(got.double(), exact, atol=2e-5, rtol=2e-5)

    def test_finite_for_large_logits(self, name: str) -> None:
        """Scores above 10,000 give no infinities."""
        operation = make_operation(self.methods[name], scale=1e4 * 4, queries=2)
        call, selection = operation.call, operation.select()
        assert call.scores[call.scores > -torch.inf].abs().max() > 1e4
        assert gathered_attention(call, selection, None).isfinite().all()

    def test_several_tokens_at_once_equal_one_after_the_other(self, name: str) -> None:
        """A query selects the same in a block as alone."""
        method = self.methods[name]
        together = make_operation(method, queries=4, tail=8)
        block = together.select().log_weights.expand(together.call.shape)
        for index in range(4):
            single = make_operation(method, queries=4, tail=8)
            seen = 120 + 5 + index
            alone = single_query(single.call, index, 5 + index)
            single.call = alone
            expected = single.select().log_weights.expand(alone.shape)[..., 0, :]
            torch.testing.assert_close(
                block[..., index, :seen], expected, atol=1e-5, rtol=1e-5, equal_nan=True
            )
            assert (block[..., index, seen:] == -torch.inf).all()
