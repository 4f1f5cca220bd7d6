"""PQCache and the clustering below it."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_attention import UserError
from sparse_attention.maskers import OracleTopK, PQCache
from sparse_attention.numerics.kmeans import cluster, nearest
from sparse_attention.testing.calls import calibrated_model, make_operation, shortened
from sparse_attention.testing.device import DEVICE


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=30, deadline=None)
@given(
    distinct=st.integers(1, 12),
    repeats=st.integers(1, 4),
    spare=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_as_many_centroids_as_distinct_vectors_are_exact(distinct, repeats, spare, seed):
    vectors = (
        torch.randn(3, distinct, 4, generator=generator(seed)).to(DEVICE).repeat(1, repeats, 1)
    )
    centroids = cluster(vectors, distinct + spare, 5, generator(seed))
    codes = nearest(vectors, centroids)
    kept = centroids.gather(1, codes[..., None].expand(-1, -1, 4))
    torch.testing.assert_close(kept, vectors)


def test_nearest_is_the_smallest_distance_in_float64():
    vectors, centroids = (
        torch.randn(2, 50, 5, generator=generator()).to(DEVICE),
        torch.randn(2, 9, 5).to(DEVICE),
    )
    distances = torch.cdist(vectors.double(), centroids.double())
    assert torch.equal(nearest(vectors, centroids), distances.argmin(-1))


def test_iterations_lower_the_error_and_runs_are_equal():
    vectors = torch.randn(2, 5000, 6, generator=generator()).to(DEVICE)  # more than one block
    errors = []
    for iterations in (0, 1, 5, 20):
        centroids = cluster(vectors, 16, iterations, generator())
        errors.append(float(torch.cdist(vectors, centroids).amin(-1).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]
    assert torch.equal(centroids, cluster(vectors, 16, 20, generator()))


def test_centroids_of_a_converged_clustering_are_the_means_of_their_vectors():
    vectors = torch.randn(1, 60, 3, generator=generator()).to(DEVICE)
    centroids = cluster(vectors, 4, 100, generator())
    codes = nearest(vectors, centroids)
    for code in range(4):
        mean = vectors[codes == code].double().mean(0)
        torch.testing.assert_close(centroids[0, code].double(), mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "ip"])
@pytest.mark.parametrize("heads", [(4, 1), (2, 3), (1, 4)])
@pytest.mark.parametrize(
    ("subspaces", "bits", "prefix", "joined"),
    [(1, 3, 120, 1), (4, 3, 120, 1), (8, 1, 120, 4), (4, 2, 120, 2), (4, 1, 50, 3)],
)
def test_scores_are_products_with_the_centroids_of_the_codes(
    metric, heads, subspaces, bits, prefix, joined
):
    method = PQCache(subspaces=subspaces, pq_bits=bits, metric=metric)
    operation = make_operation(method, heads=heads, queries=3, rows=2, prefix=prefix)
    call = operation.call
    scores = method.predict(call)
    ((features),) = call.view.segment.features.values()
    (centroids, _), _ = features
    part = call.queries.shape[-1] // subspaces
    _, (encoded,), (tail,) = call.key_features(*_request(method, call, joined))
    numbers = torch.cat([encoded.expand(2, -1, -1, -1), tail], -1).long()
    assert numbers.shape[2] == -(-subspaces // joined)
    digits = [numbers >> bits * place & (1 << bits) - 1 for place in reversed(range(joined))]
    codes = torch.stack(digits, 3).flatten(2, 3)
    first = codes.shape[2] - joined  # of the digits of the last number, which may have fewer
    codes = torch.cat([codes[:, :, :first], codes[:, :, first - subspaces :]], 2)
    rebuilt = torch.zeros_like(operation.keys, dtype=torch.float64)
    for head in range(heads[0]):
        for place in range(subspaces):
            chosen = centroids[head, place, codes[:, head, place], :part].double()
            rebuilt[:, head, :, place * part : (place + 1) * part] = chosen
    expected = call.queries.double() @ rebuilt[:, :, None].mT * call.scaling
    expected = expected + operation.invisible.double()
    torch.testing.assert_close(scores.double(), expected, atol=1e-5, rtol=1e-5)


def _request(method, call, joined):
    key = next(iter(call.view.segment.features))
    return key, lambda keys: method._fit(call, keys), partial(method._encode, joined)


def test_with_a_centroid_for_every_key_it_is_oracle_top_k():
    method = PQCache(heavy_size=9, pq_bits=6, init_offset=0)
    ours = make_operation(method, prefix=60, tail=1, heads=(2, 2))
    oracle = make_operation(OracleTopK(heavy_size=9), prefix=60, tail=1, heads=(2, 2))
    # The tail's key is no centroid; the others are compared.
    scores, exact = method.predict(ours.call)[..., :60], oracle.call.scores[..., :60]
    torch.testing.assert_close(scores, exact, atol=1e-5, rtol=1e-5)


def test_more_bits_predict_better():
    errors = []
    for bits in (1, 3, 5, 7):
        operation = make_operation(PQCache(pq_bits=bits, init_offset=0), prefix=300)
        predicted = operation.call.methods[0].predict(operation.call)
        errors.append(float((predicted - operation.call.scores)[..., :300].square().mean()))
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("metric", ["euclidean", "ip"])
def test_codes_extended_step_by_step_equal_recomputed_ones(metric):
    method = PQCache(pq_bits=3, metric=metric)
    operation = make_operation(method, tail=12)
    call, whole = operation.call, operation.call.view
    before = None
    for length in (1, 2, 7, 12):
        call.view = shortened(whole, length)
        fitted, (prefix,), (tail,) = call.key_features(
            "codes", lambda keys: method._fit(call, keys), partial(method._encode, 2)
        )
        (fresh,) = method._encode(2, fitted, operation.keys[:, :, : 120 + length])
        assert torch.equal(torch.cat([prefix, tail], -1), fresh)
        assert before is None or torch.equal(prefix, before)
        before = prefix.clone()


def test_seed_and_layer_decide_the_clusters():
    def centroids(seed, layer):
        operation = make_operation(PQCache(pq_bits=3, seed=seed), layer=layer)
        operation.select()
        return next(iter(operation.call.view.segment.features.values()))[0][0]

    assert torch.equal(centroids(1, 0), centroids(1, 0))
    assert not torch.equal(centroids(1, 0), centroids(2, 0))
    assert not torch.equal(centroids(1, 0), centroids(1, 1))


def test_subspaces_must_divide_the_channels():
    with pytest.raises(UserError, match="subspaces = 3 does not divide the 16 channels"):
        PQCache(subspaces=3).for_model(calibrated_model((2, 2)))
