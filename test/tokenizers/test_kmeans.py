"""k-means: clusters, seeds, empty clusters, files."""

import numpy as np
import pytest

from speechlm.tokenizers.frame_sample import FrameSample, Sampling
from speechlm.tokenizers.kmeans import KMeans, train_kmeans
from speechlm.tokenizers.speech_features import FeatureConfig


def sample_of(frames, **limits):
    sample = FrameSample(FeatureConfig("mfcc", frames.shape[1]), Sampling(0, **limits))
    sample.add("utterance", frames.astype(np.float32))
    return sample


def blobs(n_blobs=12, per_blob=200, dim=5, seed=0, offset=0.0):
    random = np.random.default_rng(seed)
    centres = random.uniform(-20, 20, (n_blobs, dim)) + offset
    frames = centres[:, None] + random.normal(0, 0.3, (n_blobs, per_blob, dim))
    return centres, frames.reshape(-1, dim)


@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_blobs_are_found(offset):
    centres, frames = blobs(offset=offset)
    model = train_kmeans(sample_of(frames), 12, seed=1, batch_size=500)
    distance = np.linalg.norm(model.centres[:, None] - centres[None], axis=2)
    assert sorted(distance.argmin(0)) == list(range(12))
    assert distance.min(0).max() < 0.3
    units = model(frames.astype(np.float32)).reshape(12, 200)
    assert units.dtype == np.int32
    assert (units == units[:, :1]).all() and len(np.unique(units[:, 0])) == 12
    assert model.training["mean_squared_distance"] == pytest.approx(5 * 0.3**2, rel=0.15)


def test_nearest_is_the_nearest():
    random = np.random.default_rng(0)
    centres = (random.normal(size=(30, 39)) * 5 + 100).astype(np.float32)
    frames = (random.normal(size=(9000, 39)) * 5 + 100).astype(np.float32)
    model = KMeans(centres, FeatureConfig("mfcc", 39))
    every = np.square(frames[:, None].astype(np.float64) - centres).sum(2)
    labels, distances = model.nearest(frames)
    assert (labels == every.argmin(1)).mean() > 0.9995
    np.testing.assert_allclose(distances, every.min(1), rtol=1e-3)
    with pytest.raises(ValueError, match=r"features \(T, 39\) expected, got shape \(4, 5\)"):
        model(np.zeros((4, 5), np.float32))


def test_seeds():
    frames = np.random.default_rng(0).normal(size=(3000, 4))
    first, again = (train_kmeans(sample_of(frames), 40, seed=3).centres for _ in range(2))
    other = train_kmeans(sample_of(frames), 40, seed=4).centres
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_more_starts_are_no_worse():
    _, frames = blobs(40, 60, 2)
    inertia = {}
    for n_init in (1, 20):
        found = [
            train_kmeans(sample_of(frames), 40, seed, n_init, 200, max_iter=1) for seed in range(4)
        ]
        inertia[n_init] = np.mean([m.training["mean_squared_distance"] for m in found])
    assert inertia[20] < inertia[1]


def test_no_cluster_is_empty():
    """Half of the frames are the same one, so that many random starts coincide."""
    random = np.random.default_rng(0)
    frames = np.concatenate([np.zeros((2000, 3)), np.repeat(random.normal(size=(60, 3)), 2, 0)])
    model = train_kmeans(sample_of(frames), 55, n_init=1, batch_size=64, max_iter=2)
    counts = np.bincount(model(frames.astype(np.float32)), minlength=55)
    assert counts.min() > 0
    assert model.training["refilled_clusters"] > 0


def test_clusters_that_cannot_be_filled():
    with pytest.raises(ValueError, match="20 clusters from 19 frames of 1 utterances"):
        train_kmeans(sample_of(np.random.default_rng(0).normal(size=(19, 3))), 20)
    with pytest.raises(ValueError, match="100 frames have 3 different values only"):
        train_kmeans(sample_of(np.repeat(np.arange(3.0), 100)[::3, None] * np.ones(3)), 5)
    with pytest.raises(ValueError, match="n_clusters: at least 1 expected, got 0"):
        train_kmeans(sample_of(np.zeros((9, 3))), 0)
    full = np.random.default_rng(0).normal(size=(20, 3))
    assert train_kmeans(sample_of(full), 20).training["mean_squared_distance"] < 1e-6


def test_file(tmp_path):
    model = train_kmeans(sample_of(blobs()[1]), 12, seed=1)
    path = tmp_path / "kmeans.npz"
    model.save(path)
    with np.load(path, allow_pickle=False) as file:
        assert file["centres"].shape == (12, 5) and set(file) == {"centres", "features", "training"}
    back = KMeans.load(path)
    assert np.array_equal(back.centres, model.centres)
    assert (back.features, back.training) == (model.features, model.training)
    model.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    content = path.read_bytes()
    for damage in (content[:200], b"", b"\x93NUMPY", content[: len(content) // 2]):
        path.write_bytes(damage)
        with pytest.raises(
            ValueError, match="kmeans.npz is .*(empty|holds no k-means model)|not there"
        ):
            KMeans.load(path)
    with pytest.raises(ValueError, match="x.npz expected, but it is not there"):
        KMeans.load(tmp_path / "x.npz")
    hostile = np.array([{"a": 1}], dtype=object)
    np.savez(path, centres=hostile, features=np.array("{}"), training=np.array("{}"))
    with pytest.raises(ValueError, match="no k-means model"):
        KMeans.load(path)
    features = np.array(FeatureConfig("mfcc", 39).to_json())
    np.savez(path, centres=model.centres, features=features, training=np.array("{}"))
    with pytest.raises(ValueError, match=r"centres \(K, 39\) expected, found float32 of shape"):
        KMeans.load(path)
