"""Scores of presses against computations in float64 from the formulas, in plain loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_attention.presses import (
    AdaKV,
    ChunkKV,
    CriticalKV,
    ExpectedAttention,
    KeyDiff,
    KNorm,
    LagKV,
    LayerRatios,
    ObservedAttention,
    PressCall,
    PyramidKV,
    RandomPress,
    SnapKV,
    StreamingLLM,
    Tova,
)
from sparse_attention.presses.compress import compress_layer
from sparse_attention.presses.order import stages
from sparse_attention.testing.device import DEVICE
from sparse_attention.testing.layers import THETA, WIDTH, make_layer

LENGTH, HEADS, GROUP = 60, 2, 3


def arrays(call: PressCall, queries: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, keys and values in float64."""
    return tuple(tensor.double().cpu().numpy() for tensor in (queries, call.keys, call.values))


def causal_weights(
    queries: np.ndarray,
    keys: np.ndarray,
    softcap: float | None = None,
    sinks: object = None,
    offset: int = 0,
) -> np.ndarray:
    """(H, G, Q, T) attention, row by row; the first query is at position ``offset``."""
    heads, group, length, width = queries.shape
    weights = np.zeros((heads, group, length, keys.shape[1]))
    for h in range(heads):
        for g in range(group):
            for t in range(length):
                logits = [
                    float(queries[h, g, t] @ keys[h, i]) / math.sqrt(width)
                    for i in range(offset + t + 1)
                ]
                if softcap:
                    logits = [softcap * math.tanh(logit / softcap) for logit in logits]
                extra = math.exp(float(sinks[h, g])) if sinks is not None else 0.0
                total = sum(math.exp(logit) for logit in logits) + extra
                weights[h, g, t, : offset + t + 1] = [math.exp(logit) / total for logit in logits]
    return weights


def assert_scores(got: torch.Tensor, expected: np.ndarray, where: np.ndarray | None = None) -> None:
    keep = np.ones_like(expected, dtype=bool) if where is None else where
    np.testing.assert_allclose(
        got.double().cpu().numpy()[keep], expected[keep], rtol=2e-4, atol=1e-7
    )


@pytest.mark.parametrize(("softcap", "sinks"), [(None, False), (2.0, False), (None, True)])
@pytest.mark.parametrize("kernel", [1, 5])
def test_snapkv(softcap, sinks, kernel):
    window = 9
    press = SnapKV(observation_window=window, kernel_size=kernel)
    call, queries = make_layer(press, length=LENGTH, softcap=softcap, sinks=sinks)
    q, k, _ = arrays(call, queries)
    logits = call.facts.settings.sink_logits
    weights = causal_weights(q, k, softcap, logits)
    before = LENGTH - window
    expected = np.zeros((HEADS, LENGTH))
    for h in range(HEADS):
        for i in range(before):
            votes = 0.0
            for g in range(GROUP):
                for j in range(i - kernel // 2, i + kernel // 2 + 1):
                    if 0 <= j < before:
                        votes += weights[h, g, before:, j].mean() / kernel
            expected[h, i] = votes / GROUP
    ranking = press.rank(call)
    early = np.arange(LENGTH) < before
    assert_scores(ranking.scores, expected, np.tile(early, (HEADS, 1)))
    assert (ranking.forced.cpu().numpy() == ~early).all()


def test_a_context_no_longer_than_the_window_keeps_its_end():
    press = SnapKV(observation_window=64, compression_ratio=0.5)
    call, _ = make_layer(press, length=20)
    layer = compress_layer(call, stages([press])[0], 0)
    assert layer.segments[0].places.tolist() == [list(range(10, 20))] * HEADS


def test_tova():
    call, queries = make_layer(Tova(), length=LENGTH)
    q, k, _ = arrays(call, queries)
    expected = causal_weights(q, k)[:, :, -1].mean((0, 1))
    ranking = Tova().rank(call)
    assert_scores(ranking.scores, np.tile(expected, (HEADS, 1)))
    assert ranking.forced.nonzero().tolist() == [[0, LENGTH - 1], [1, LENGTH - 1]]


@pytest.mark.parametrize(("softcap", "sinks"), [(None, False), (2.0, True)])
def test_observed_attention(softcap, sinks):
    call, queries = make_layer(
        ObservedAttention(), length=LENGTH, softcap=softcap, sinks=sinks, chunk=17
    )
    q, k, _ = arrays(call, queries)
    weights = causal_weights(q, k, softcap, call.facts.settings.sink_logits)
    seen_by = LENGTH - np.arange(LENGTH)
    assert_scores(ObservedAttention().rank(call).scores, weights.sum(2).mean(1) / seen_by)


def rotation(position: float) -> np.ndarray:
    """The rotation of Llama as a matrix."""
    matrix = np.zeros((WIDTH, WIDTH))
    half = WIDTH // 2
    for pair in range(half):
        angle = position * THETA ** (-2 * pair / WIDTH)
        matrix[pair, pair] = matrix[pair + half, pair + half] = math.cos(angle)
        matrix[pair, pair + half], matrix[pair + half, pair] = -math.sin(angle), math.sin(angle)
    return matrix


@pytest.mark.parametrize("covariance", [True, False])
@pytest.mark.parametrize("vnorm", [True, False])
def test_expected_attention(covariance, vnorm):
    press = ExpectedAttention(
        n_future_positions=30, n_sink=3, epsilon=0.02, use_covariance=covariance, use_vnorm=vnorm
    )
    call, queries = make_layer(press, length=LENGTH, chunk=13)
    q, k, v = arrays(call, queries)
    mean_rotation = np.mean([rotation(LENGTH + step) for step in range(30)], 0)
    expected = np.zeros((HEADS, LENGTH))
    for h in range(HEADS):
        for g in range(GROUP):
            plain = np.stack([rotation(-t) @ q[h, g, t] for t in range(3, LENGTH)])
            mu = mean_rotation @ plain.mean(0)
            sigma = mean_rotation @ np.cov(plain.T, bias=True) @ mean_rotation.T
            logits = []
            for i in range(3, LENGTH):
                logit = mu @ k[h, i] / math.sqrt(WIDTH)
                if covariance:
                    logit += k[h, i] @ sigma @ k[h, i] / WIDTH / 2
                logits.append(logit)
            shares = np.exp(np.array(logits) - max(logits))
            expected[h, 3:] += shares / shares.sum() / GROUP
        expected[h] += 0.02
        if vnorm:
            expected[h] *= np.linalg.norm(v[h], axis=-1)
    ranking = press.rank(call)
    assert_scores(ranking.scores, expected, np.tile(np.arange(LENGTH) >= 3, (HEADS, 1)))
    assert (ranking.forced.cpu().numpy() == (np.arange(LENGTH) < 3)).all()


def test_knorm_and_keydiff():
    call, queries = make_layer(length=LENGTH)
    _, k, _ = arrays(call, queries)
    assert_scores(KNorm().rank(call).scores, -np.sqrt((k**2).sum(-1)))
    expected = np.zeros((HEADS, LENGTH))
    for h in range(HEADS):
        anchor = np.mean([key / np.linalg.norm(key) for key in k[h]], 0)
        for i, key in enumerate(k[h]):
            expected[h, i] = -(key @ anchor) / np.linalg.norm(key) / np.linalg.norm(anchor)
    assert_scores(KeyDiff().rank(call).scores, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_knorm_keeps_the_smallest_norms_however_close_they_are(dtype, ratio):
    press = KNorm(compression_ratio=ratio)
    call, _ = make_layer(length=1000)
    # Norms within 1% of each other, so that many differ in the fifth digit only.
    lengths = 1 + 0.01 * torch.rand(HEADS, 1000, 1, generator=torch.Generator().manual_seed(1)).to(
        DEVICE
    )
    call.keys[:] = lengths * call.keys / call.keys.norm(dim=-1, keepdim=True)
    call.keys[:, 500:510] = call.keys[:, 490:500]  # ties
    call = replace(call, keys=call.keys.to(dtype))
    norms = np.linalg.norm(call.keys.double().cpu().numpy(), axis=-1).astype(np.float32)
    kept = press.rank(call).keep()
    for h in range(HEADS):
        best = norms[h].argsort(kind="stable")[: press.budget(call)]
        assert kept[h].nonzero()[:, 0].tolist() == sorted(best.tolist())


def test_streaming_llm_keeps_the_first_and_the_newest():
    press = StreamingLLM(n_sink=4, compression_ratio=0.8)
    call, _ = make_layer(press, length=LENGTH)
    positions = compress_layer(call, stages([press])[0], 0).segments[0].places.tolist()
    assert positions == [[0, 1, 2, 3, *range(52, 60)]] * HEADS
    few = StreamingLLM(n_sink=40, compression_ratio=0.8)
    assert (
        compress_layer(call, stages([few])[0], 0).segments[0].places.tolist()
        == [list(range(12))] * HEADS
    )


@pytest.mark.parametrize("cross", [True, False])
def test_lagkv(cross):
    sink, lag = 3, 10
    press = LagKV(n_sink=sink, lag=lag, cross_scoring=cross)
    call, queries = make_layer(press, length=LENGTH)
    call.keys[:, sink + lag : sink + 2 * lag, 5] = 0.25  # a constant channel divides by nothing
    _, k, v = arrays(call, queries)
    chunks = (LENGTH - sink) // lag
    expected = np.zeros((HEADS, LENGTH))
    for h in range(HEADS):
        for j in range(chunks - 1):
            own = slice(sink + j * lag, sink + (j + 1) * lag)
            after = slice(sink + (j + 1) * lag, sink + (j + 2) * lag)
            total = np.zeros(lag)
            for x in (k[h], v[h]):
                low, high = x[after].min(0), x[after].max(0)
                moved = np.zeros((lag, WIDTH))
                for channel in range(WIDTH):
                    if high[channel] > low[channel]:
                        moved[:, channel] = (x[own][:, channel] - low[channel]) / (
                            high[channel] - low[channel]
                        )
                deviation = moved.std(-1, ddof=1)
                total += np.exp(deviation) / np.exp(deviation).sum() / 2
            expected[h, own] = total if cross else total.argsort().argsort() / lag / 2
    ranking = press.rank(call)
    free = np.zeros(LENGTH, dtype=bool)
    free[sink : sink + (chunks - 1) * lag] = True
    assert_scores(ranking.scores, expected, np.tile(free, (HEADS, 1)))
    assert (ranking.forced.cpu().numpy() == ~free).all()


@given(
    length=st.integers(1, 3000),
    ratio=st.floats(0, 0.99),
    beta=st.floats(1, 30),
    window=st.integers(1, 128),
)
def test_budgets_of_pyramidkv(length, ratio, beta, window):
    press = PyramidKV(compression_ratio=ratio, beta=beta, observation_window=window)
    blank = torch.zeros(1, length, 1)
    layers = 5
    got = [
        press.budget(PressCall(layer, layers, blank, blank, torch.zeros(1, length), length, None))
        for layer in range(layers)
    ]
    mean = length * (1 - ratio)
    low = mean / beta
    high = 2 * mean - low
    if high >= length - window:
        high = length - window
        low = 2 * mean - high
    if length >= high >= low >= window:
        for layer, budget in enumerate(got):
            assert abs(budget - (high - layer * (high - low) / (layers - 1))) <= 0.5 + 1e-9
        assert abs(sum(got) - layers * mean) <= layers / 2 + 1e-6
        assert got == sorted(got, reverse=True)
    else:
        assert set(got) == {max(1, length - round(length * ratio))}


def test_criticalkv():
    base = SnapKV(observation_window=8, compression_ratio=0.6)
    press = CriticalKV(first_stage=0.5, epsilon=1e-3)
    call, queries = make_layer(base, press, length=LENGTH)
    _, _, v = arrays(call, queries)
    before = base.rank(call)
    after = press.adjust(call, before)
    weight = call.facts.output_weight().double().cpu().numpy()
    expected = np.zeros((HEADS, LENGTH))
    for h in range(HEADS):
        for i in range(LENGTH):
            norms = [np.abs(weight[h, g].T @ v[h, i]).sum() for g in range(GROUP)]
            expected[h, i] = (float(before.scores[h, i]) + 1e-3) * np.mean(norms)
    assert_scores(after.scores, expected, ~after.forced.cpu().numpy())
    for h in range(HEADS):
        best = sorted(range(LENGTH), key=lambda i: (before.forced[h, i], before.scores[h, i]))
        assert set(after.forced[h].nonzero()[:, 0].tolist()) == set(best[-12:])


def critical_adakv(scores, norms, budget, window, alpha, first, epsilon):
    """Kept keys of each head by the algorithm of CriticalAdaKV on arrays (heads, keys).

    The keys of the ``window`` at the end come before all others, as SnapKV wants it.
    """
    heads, length = scores.shape
    always = set(range(length - window, length))

    def best(values, count, before):
        order = sorted(range(length), key=lambda i: (i not in before, -values[i], i))
        return set(order[:count])

    safe = [best(scores[h], max(1, int(alpha * budget)), always) for h in range(heads)]
    places = [(h, i) for h in range(heads) for i in range(length)]
    places.sort(key=lambda p: (p[1] not in safe[p[0]] | always, -scores[p]))
    shared = places[: heads * budget]
    budgets = [sum(place[0] == h for place in shared) for h in range(heads)]
    kept = []
    for h in range(heads):
        chosen = best(scores[h], int(first * budgets[h]), always | safe[h]) | safe[h] | always
        weighted = (scores[h] + epsilon) * norms[h]
        kept.append(best(weighted, budgets[h], chosen))
    return budgets, kept


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("ratio", [0.3, 0.6])
def test_criticalkv_after_adakv_shares_the_budget_by_the_scores_alone(alpha, ratio):
    window, length, heads = 4, 200, 3
    base = SnapKV(observation_window=window, compression_ratio=ratio)
    share, press = AdaKV(alpha_safeguard=alpha), CriticalKV(first_stage=0.5, epsilon=1e-3)
    call, queries = make_layer(base, share, press, length=length, heads=heads)
    call.values[0] *= 20  # head 0 would get most of the budget if values counted for it
    q, k, v = arrays(call, queries)
    weights = causal_weights(q[:, :, -window:], k, offset=length - window)
    weight = call.facts.output_weight().double().cpu().numpy()
    scores, norms = np.zeros((heads, length)), np.zeros((heads, length))
    for h in range(heads):
        votes = weights[h, :, :, : length - window].mean((0, 1))
        scores[h, : length - window] = np.convolve(votes, np.ones(5) / 5, mode="same")
        norms[h] = np.mean([np.abs(v[h] @ weight[h, g]).sum(-1) for g in range(GROUP)], 0)
    budgets, kept = critical_adakv(
        scores, norms, base.budget(call), window, alpha, press.first_stage, press.epsilon
    )
    layer = compress_layer(call, stages([base, share, press])[0], 0)
    lines = [line for part in layer.segments for line in part.places.tolist()]
    assert [len(line) for line in lines] == budgets
    assert len(set(budgets)) > 1
    assert [set(line) for line in lines] == kept
    alone = compress_layer(call, stages([base, share])[0], 0)
    plain = [line for part in alone.segments for line in part.places.tolist()]
    assert [len(line) for line in plain] == budgets
    assert plain != lines


def test_budgets_of_decoding_are_known_to_the_presses_before_it():
    base, press = SnapKV(observation_window=4, compression_ratio=0.0), CriticalKV(first_stage=0.5)
    call, _ = make_layer(base, press, length=LENGTH)
    (stage,) = stages([base, press])[0]
    expected = base.model_copy(update={"compression_ratio": 1 - 20 / LENGTH})
    (same,) = stages([expected, press])[0]
    assert torch.equal(stage.keep(call, 20), same.keep(call))


def test_chunkkv_keeps_the_same_whole_chunks_in_all_heads():
    base, press = KNorm(compression_ratio=0.5), ChunkKV(chunk_length=7)
    call, queries = make_layer(base, press, length=LENGTH)
    _, k, _ = arrays(call, queries)
    norms = -np.sqrt((k**2).sum(-1)).sum(0)
    chunks = [range(start, min(start + 7, LENGTH)) for start in range(0, LENGTH, 7)]
    order = sorted(chunks, key=lambda chunk: -np.mean(norms[list(chunk)]))
    expected = [i for chunk in order for i in chunk][:30]
    positions = compress_layer(call, stages([base, press])[0], 0).segments[0].places.tolist()
    assert positions == [sorted(expected)] * HEADS


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_adakv(alpha):
    base, press = KNorm(compression_ratio=0.75), AdaKV(alpha_safeguard=alpha)
    call, queries = make_layer(base, press, length=LENGTH, heads=3)
    call.keys[2] *= 0.5  # one head has better scores than the others
    _, k, _ = arrays(call, queries)
    norms = np.sqrt((k**2).sum(-1))
    budget, safe = 15, max(1, math.floor(alpha * 15))
    chosen = {(h, i) for h in range(3) for i in norms[h].argsort()[:safe].tolist()}
    rest = sorted((float(norms[h, i]), h, i) for h in range(3) for i in range(LENGTH))
    for _, h, i in rest:
        if len(chosen) < 3 * budget:
            chosen.add((h, i))
    layer = compress_layer(call, stages([base, press])[0], 0)
    got = {
        (part.heads.start + offset, i)
        for part in layer.segments
        for offset, line in enumerate(part.places.tolist())
        for i in line
    }
    assert got == chosen
    counts = [part.places.shape[1] for part in layer.segments]
    assert counts == [15] if alpha == 1 else counts[-1] > counts[0] >= safe
    assert layer.kv_nbytes == 3 * budget * WIDTH * 2 * 4


def test_layer_ratios():
    press = LayerRatios(ratios=[0.0, 0.5, 0.9, 0.25])
    kept = []
    for index in range(4):
        call, _ = make_layer(KNorm(), press, length=100, layer=index)
        kept.append(press.adjust(call, KNorm().rank(call)).budget)
    assert kept == [100, 50, 10, 75]


def test_random_press_is_uniform_and_its_own_in_every_layer_and_head():
    press = RandomPress(compression_ratio=0.5)
    kept = torch.zeros(HEADS, LENGTH, device=DEVICE)
    for layer in range(400):
        call, _ = make_layer(press, length=LENGTH, layer=layer, layers=400)
        kept += press.rank(call).keep()
    error = (kept / 400 - 0.5).abs().max()
    assert error < 4.5 * math.sqrt(0.25 / 400)
    assert not torch.equal(kept[0], kept[1])
