"""The random sample of frames: the same whatever the jobs, and bounded."""

import tracemalloc

import numpy as np
import pytest

from speechlm.tokenizers.frame_sample import (
    FrameSample,
    Sampling,
    merge_samples,
    sample_data,
    write_sample,
)
from speechlm.tokenizers.speech_features import FeatureConfig, open_features

CONFIG = FeatureConfig("mfcc", 3)


def utterances(n, seed=0, length=200):
    random = np.random.default_rng(seed)
    return {f"u{i:05d}": random.normal(size=(length, 3)).astype(np.float32) for i in range(n)}


def sample_of(parts, sampling):
    sample = FrameSample(CONFIG, sampling)
    for name, features in parts:
        sample.add(name, features)
    return sample


def test_order_does_not_matter():
    corpus = utterances(40)
    sampling = Sampling(5, max_frames=500)
    forward = sample_of(corpus.items(), sampling).frames()
    backward = sample_of(reversed(corpus.items()), sampling).frames()
    assert forward.shape == (500, 3) and np.array_equal(forward, backward)
    assert len(np.unique(forward, axis=0)) == 500
    every = np.concatenate(list(corpus.values()))
    assert (forward[:, None] == every[None]).all(2).any(1).all()
    other = sample_of(corpus.items(), Sampling(6, max_frames=500)).frames()
    assert not np.array_equal(forward, other)


def test_every_frame_has_the_same_chance():
    corpus = {
        f"u{i}": np.full((100, 3), i, np.float32) + np.arange(100)[:, None] / 1000
        for i in range(50)
    }
    found = sample_of(corpus.items(), Sampling(1, max_frames=1000)).frames()[:, 0]
    counts = np.bincount(found.astype(int), minlength=50)
    assert counts.sum() == 1000 and 8 <= counts.min() and counts.max() <= 36
    places = np.bincount(np.round(found % 1 * 1000).astype(int) // 20, minlength=5)
    assert 140 < places.min() and places.max() < 260


def test_portion_chooses_utterances():
    names = [f"utterance-{i}" for i in range(4000)]
    tenth = {u for u in names if Sampling(1, 0.1).chooses(u)}
    half = {u for u in names if Sampling(1, 0.5).chooses(u)}
    assert 320 < len(tenth) < 480 and 1850 < len(half) < 2150 and tenth < half
    assert all(Sampling(1).chooses(u) for u in names)
    assert tenth != {u for u in names if Sampling(2, 0.1).chooses(u)}


def test_memory_does_not_grow_with_the_corpus():
    def peak(n):
        sample = FrameSample(CONFIG, Sampling(0, max_frames=2000))
        features = np.zeros((500, 3), np.float32)
        tracemalloc.start()
        for i in range(n):
            sample.add(f"u{i}", features)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sample.n_seen == 500 * n
        return size

    peak(20)
    small, large = peak(20), peak(400)
    assert large < 1.1 * small + 20_000


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_jobs_give_the_sample_of_the_whole(tmp_path, tones, n_jobs, parts_of):
    data, source = tones[1], open_features("mfcc")
    sampling = Sampling(7, 0.8, 150)
    whole = sample_data(data, source, sampling, {})
    for job, part in enumerate(parts_of(data, n_jobs), 1):
        write_sample(part, source, sampling, tmp_path, job)
    merged = merge_samples([tmp_path / f"sample.{job}.npz" for job in range(1, n_jobs + 1)])
    assert merged.config == source.config
    assert (merged.n_seen, merged.n_utterances) == (whole.n_seen, whole.n_utterances)
    assert merged.n_utterances == sum(map(sampling.chooses, data.ids)) < len(data)
    assert whole.frames().shape == (150, 39)
    assert np.array_equal(merged.frames(), whole.frames())


def test_samples_that_do_not_belong_together(tmp_path):
    corpus = utterances(3)
    paths = [tmp_path / f"{name}.npz" for name in "abcde"]
    sample_of(corpus.items(), Sampling(0)).save(paths[0])
    sample_of(corpus.items(), Sampling(0)).save(paths[1])
    with pytest.raises(ValueError, match="two parts of the sample hold the same utterance"):
        merge_samples(paths[:2]).frames()
    sample_of(corpus.items(), Sampling(1)).save(paths[1])
    with pytest.raises(ValueError, match="drawn in different ways: .*seed=0.*seed=1"):
        merge_samples(paths[:2])
    FrameSample(FeatureConfig("mfcc", 4), Sampling(0)).save(paths[2])
    with pytest.raises(ValueError, match="different features: dim 3 and 4"):
        merge_samples([paths[0], paths[2]])
    with pytest.raises(
        ValueError, match="d.npz expected, but it is not there; the job of sample_features"
    ):
        merge_samples([paths[0], paths[3]])
    paths[4].write_bytes(paths[0].read_bytes()[:300])
    with pytest.raises(
        ValueError, match="e.npz is cut off or damaged, or holds no sample of frames"
    ):
        merge_samples([paths[4]])
    with pytest.raises(ValueError, match="at least one"):
        merge_samples([])


@pytest.mark.parametrize(
    ("values", "message"),
    [((0, 0.0), "portion"), ((0, 1.5), "portion"), ((0, 1.0, 0), "max_frames")],
)
def test_wrong_values(values, message):
    with pytest.raises(ValueError, match=message):
        Sampling(*values)


def test_keys_of_frames_stay_the_same():
    """So that the codebook of a corpus can be made again by a later version."""
    assert Sampling(3).keys("a", 2).tolist() == [9330991054592345283, 1418874716220954163]
