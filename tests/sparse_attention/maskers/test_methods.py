"""What each method selects, against independent formulas, and its statistics over seeds."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm

from sparse_attention.maskers import (
    AdaptiveSampling,
    Local,
    MagicPig,
    OracleTopK,
    RandomSampling,
    Sink,
)
from sparse_attention.testing.calls import make_operation
from sparse_attention.testing.device import DEVICE


def test_sink_and_local_read_the_edges_and_commute():
    operation = make_operation(Sink(sink_size=4), Local(window_size=6), queries=3)
    reads = operation.select().reads[0, 0, 0]
    keys = torch.arange(128, device=DEVICE)
    for row, position in enumerate([125, 126, 127]):
        expected = (keys < 4) | ((keys > position - 6) & (keys <= position))
        assert torch.equal(reads[row], expected)
    swapped = make_operation(Local(window_size=6), Sink(sink_size=4), queries=3).select()
    assert torch.equal(swapped.reads[0, 0, 0], reads)


def test_a_count_of_one_is_not_a_share_of_one():
    assert make_operation(Sink(sink_size=1)).select().reads.sum() == 1
    assert make_operation(Sink(sink_size=1.0)).select().reads.all()


def test_sliding_window_hides_the_sink():
    reads = make_operation(Sink(sink_size=4), Local(window_size=3), window=20).select().reads
    assert reads[..., :4].sum() == 0
    assert reads.sum() == 3


@pytest.mark.parametrize("size", [1, 7, 0.05, 0.29, 200])
def test_top_k_reads_the_highest_scores_that_are_left(size):
    operation = make_operation(Sink(sink_size=2), OracleTopK(heavy_size=size), queries=2, scale=2)
    reads = operation.select().reads
    scores = operation.call.scores.clone()
    for query, visible in enumerate([127, 128]):
        count = size if isinstance(size, int) else math.floor(size * visible + 1e-9)
        own = scores[0, :, :, query]
        own[..., :2] = -torch.inf
        best = own.argsort(-1, descending=True)[..., : min(count, visible - 2)]
        expected = torch.zeros_like(own, dtype=torch.bool).scatter_(-1, best, True)
        expected[..., :2] = True
        assert torch.equal(reads[0, :, :, query], expected)


def test_top_k_of_equal_scores_reads_exactly_k():
    operation = make_operation(OracleTopK(heavy_size=9), scale=0.0)
    assert (operation.select().reads.sum(-1) == 9).all()


def test_error_of_top_k_falls_with_its_size():
    errors = []
    for size in (2, 8, 32, 128):
        operation = make_operation(OracleTopK(heavy_size=size), scale=3)
        weights = operation.call.probabilities * operation.select().reads
        errors.append(float(1 - weights.sum(-1).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(0, abs=1e-6)


def estimates(method_of_seed, seeds):
    """Numerator and denominator of attention per seed, and the dense ones; float64."""
    numerators, denominators = [], []
    for seed in range(seeds):
        methods = (Sink(sink_size=4), Local(window_size=6), method_of_seed(seed))
        operation = make_operation(*methods, scale=1.5, seed=3)
        terms = operation.call.scores.double().exp()
        values = operation.values.double()[:, :, None]
        weights = operation.select().log_weights.double().exp()
        numerators.append((terms * weights) @ values)
        denominators.append((terms * weights).sum(-1))
    return (
        torch.stack(numerators),
        torch.stack(denominators),
        terms @ values,
        terms.sum(-1),
    )


SAMPLERS = {
    "random_sampling": lambda seed: RandomSampling(sampling_rate=0.15, seed=seed),
    "magic_pig": lambda seed: MagicPig(lsh_k=4, lsh_l=24, seed=seed),
    "magic_pig one hit": lambda seed: MagicPig(lsh_k=6, lsh_l=16, min_hits=1, seed=seed),
    "magic_pig not centred": lambda seed: MagicPig(lsh_k=4, lsh_l=24, center=False, seed=seed),
    "adaptive_sampling": lambda seed: AdaptiveSampling(
        base_rate=0.2, epsilon=0.3, delta=0.3, seed=seed
    ),
}


BIASED = {"adaptive_sampling": 23 / (23 + 16) / 2}
"""Greatest bias, in standard errors of a pilot of 23 of the 118 keys; 0 for all other samplers."""


def pilot_error(terms, drawn):
    """Standard error of the estimate of a sum over keys, the last dimension, from ``drawn``."""
    count = terms.shape[-1]
    return count * terms.std(-1) * math.sqrt((1 - drawn / count) / drawn)


@pytest.mark.parametrize("name", SAMPLERS)
def test_bias_of_numerator_and_denominator_over_seeds(name):
    numerators, denominators, numerator, denominator = estimates(SAMPLERS[name], seeds=250)
    operation = make_operation(Sink(sink_size=4), Local(window_size=6), scale=1.5, seed=3)
    terms = operation.call.scores.double().exp()[..., 4:-6]
    products = terms[..., None, :] * operation.values.double()[:, :, None, None, 4:-6].mT
    for drawn, true, summed in (
        (numerators, numerator, products),
        (denominators, denominator, terms),
    ):
        error = (drawn.mean(0) - true).abs()
        allowed = BIASED.get(name, 0.0) * pilot_error(summed, 23)
        standard_error = drawn.std(0) / math.sqrt(drawn.shape[0])
        # 68 means are compared: 4.5 standard errors happen by chance in less than 1 of 1000 runs.
        assert (error <= allowed + 4.5 * standard_error + 1e-9).all(), (
            error / standard_error
        ).max()
        assert standard_error.max() > 0


def test_random_sampling_has_the_textbook_variance():
    _, denominators, _, _ = estimates(SAMPLERS["random_sampling"], seeds=600)
    operation = make_operation(Sink(sink_size=4), Local(window_size=6), scale=1.5, seed=3)
    terms = operation.call.scores.double().exp()[..., 4:-6]
    count, drawn = terms.shape[-1], math.floor(0.15 * 128)
    expected = count**2 / drawn * (1 - drawn / count) * terms.var(-1)
    ratio = denominators.var(0) / expected
    assert ((ratio > 0.75) & (ratio < 1.3)).all(), ratio


def test_random_sampling_draws_the_exact_number_anew_for_each_head_layer_and_step():
    method = RandomSampling(sampling_rate=0.1)
    first = make_operation(method, queries=3).select().reads
    assert (first[:, :, :, 2].sum(-1) == 12).all()
    flat = first.flatten(0, 3)[:, :125]
    for i in range(flat.shape[0]):
        for j in range(i):
            assert not torch.equal(flat[i], flat[j])
    other_layer = make_operation(method, queries=3, layer=1).select().reads
    assert not torch.equal(first, other_layer)
    assert torch.equal(first, make_operation(method, queries=3).select().reads)


def test_adaptive_sampling_covers_the_denominator():
    """|D_hat - D| <= epsilon D in at least 1 - delta of the cases, over heads, inputs and seeds."""
    epsilon, delta, misses, cases = 0.1, 0.1, 0, 0
    for seed in range(60):
        method = AdaptiveSampling(base_rate=64, epsilon=epsilon, delta=delta, seed=seed)
        operation = make_operation(
            Sink(sink_size=4),
            OracleTopK(heavy_size=0.02),
            method,
            heads=(4, 4),
            prefix=2000,
            seed=seed,
        )
        terms = operation.call.probabilities.double()
        estimate = (terms * operation.select().log_weights.double().exp()).sum(-1)
        misses += int(((estimate - 1).abs() > epsilon).sum())
        cases += estimate.numel()
    assert misses / cases <= delta + 3 * math.sqrt(delta * (1 - delta) / cases)
    assert misses > 0  # not simply everything was read


def test_adaptive_budget_follows_the_formula():
    """Against the formula in float64, from the pilot that the method drew."""
    sizes = {}
    for epsilon in (0.05, 0.1, 0.2):
        method = AdaptiveSampling(base_rate=100, epsilon=epsilon, delta=0.1)
        operation = make_operation(Sink(sink_size=4), method, heads=(2, 2), prefix=4000, scale=1.5)
        sizes[epsilon] = (operation.select().reads.sum(-1) - 4).flatten()
        terms = operation.call.scores.double().exp()
        sample = terms.gather(-1, drawing_order(operation, fixed=4)[..., :100]).view(4, 100)
        rest = terms.shape[-1] - 4 - 100
        mass = terms[..., :4].sum(-1).flatten() + sample.sum(-1) + rest * sample.mean(-1)
        needed = (norm.ppf(0.95) * rest * sample.std(-1) / (epsilon * mass)) ** 2
        needed = (needed / (1 + needed / rest)).ceil().clamp(min=16, max=rest)
        assert (sizes[epsilon] - 100 - needed).abs().max() <= 1
    assert (sizes[0.05] > sizes[0.1]).all()
    assert (sizes[0.1] >= sizes[0.2]).all()


def drawing_order(operation, fixed):
    """Keys after the ``fixed`` first ones, as they are drawn with the default seed; int64."""
    return operation.call.uniform(42)[..., fixed:].argsort(-1, descending=True) + fixed


def repeated_sampling(base_rate, epsilon, scale):
    """One attention operation of 1000 keys whose residual is sampled 800 times independently.

    Returns:
        For the denominator and four channels of the numerator over the residual, each (5, 800) in
        float64: the estimates, those of the pilot, those without the pilot's help, and the mixing
        weights; and the true sums and the standard errors of the pilot, (5, 1).
    """
    method = AdaptiveSampling(base_rate=base_rate, epsilon=epsilon, delta=epsilon)
    operation = make_operation(
        Sink(sink_size=4), method, heads=(1, 800), prefix=996, scale=scale, seed=2
    )
    operation.call.queries[:] = operation.call.queries[:, :, :1]  # only the draws differ
    exponentials = operation.call.scores.double().exp()[0, 0, 0, 0]
    values = operation.values.double()[0, 0, :, :4]
    summed = torch.cat([exponentials[None], exponentials * values.mT])
    weights = operation.select().log_weights.double().exp()[0, 0, :, 0, 4:]
    size = weights.shape[-1]
    pilot, drawn = math.floor(base_rate * size), (weights > 0).sum(-1)

    order = drawing_order(operation, fixed=4)[0, 0, :, 0]
    terms = summed[:, order]
    rank = torch.arange(size, device=DEVICE)
    first, second = rank < pilot, (rank >= pilot) & (rank < drawn[:, None])
    by_pilot = terms[..., first].mean(-1) * size
    rest = (terms * second).sum(-1) / (drawn - pilot) * (size - pilot)
    by_second = terms[..., first].sum(-1) + rest
    mixing = pilot * (size - drawn) / (drawn * (size - pilot))
    return (
        summed[:, 4:] @ weights.mT,
        by_pilot,
        by_second,
        mixing,
        summed[:, 4:].sum(-1, keepdim=True),
        pilot_error(summed[:, 4:], pilot)[:, None],
    )


@pytest.mark.parametrize(("base_rate", "epsilon"), [(0.02, 0.1), (0.02, 0.25), (0.1, 0.25)])
def test_adaptive_sampling_has_the_bias_that_it_states(base_rate, epsilon):
    found, by_pilot, by_second, mixing, true, error = repeated_sampling(base_rate, epsilon, 1.5)
    torch.testing.assert_close(
        found, mixing * by_pilot + (1 - mixing) * by_second, rtol=1e-6, atol=1e-3
    )
    assert mixing.std() > 0  # budgets differ, so that a bias is possible

    def is_mean(drawn, slack):
        standard_error = drawn.std(-1, keepdim=True) / math.sqrt(drawn.shape[-1])
        return ((drawn.mean(-1, keepdim=True) - true).abs() <= 4.5 * standard_error + slack).all()

    assert is_mean(by_pilot, 0)
    assert is_mean(by_second, 0)
    assert is_mean(found - mixing * (by_pilot - true), 0)
    pilot = math.floor(base_rate * 1000 + 1e-9)
    assert is_mean(found, pilot / (pilot + 16) / 2 * error)


@pytest.mark.parametrize("epsilon", [0.1, 0.4])
def test_adaptive_sampling_errs_less_than_either_sample_and_less_with_a_larger_pilot(epsilon):
    errors = []
    for base_rate in (0.02, 0.05, 0.1):
        found, by_pilot, by_second, _, true, _ = repeated_sampling(base_rate, epsilon, 1.5)
        own, pilot, second = (
            (drawn - true).square().mean(-1) for drawn in (found, by_pilot, by_second)
        )
        assert (own < pilot).all()
        assert (own < second).all()
        errors.append(own)
    if epsilon == 0.4:  # both samples are large parts of what is read
        assert (own < 0.6 * second).all()
        assert (errors[1] < 0.7 * errors[0]).all()
        assert (errors[2] < 0.7 * errors[1]).all()


def test_adaptive_sampling_of_equal_terms_needs_the_smallest_sample_and_is_exact():
    operation = make_operation(
        Sink(sink_size=4), AdaptiveSampling(base_rate=8, min_samples=16), prefix=1000, scale=0.0
    )
    selection = operation.select()
    assert (selection.reads.sum(-1) == 4 + 8 + 16).all()
    total = selection.log_weights.double().exp().sum(-1)
    torch.testing.assert_close(total, torch.full_like(total, 1008.0), rtol=1e-6, atol=0)


def test_adaptive_sampling_with_a_tiny_epsilon_reads_everything():
    method = AdaptiveSampling(base_rate=30, epsilon=1e-6, delta=0.1)
    selection = make_operation(method, scale=2.0).select()
    assert (selection.log_weights == 0).all()
