"""Which utterances are left out, which archives are refused."""

import numpy as np
import pytest
import soundfile

from speechlm.data.archives import ArchiveReader, merge_archives
from speechlm.data.kaldi_dir import DataDir
from speechlm.tokenizers.feature_stream import FeatureArchive, stream, write_features
from speechlm.tokenizers.speech_features import open_features


def make_archive(data, folder):
    write_features(data, open_features("mfcc"), folder)
    merge_archives(folder, 1, "feats")
    return folder


@pytest.fixture
def rewrite(rewrite_archive):
    """Change the features in a folder."""
    return lambda folder, change: rewrite_archive(folder, "feats", change)


def test_bad_utterances_are_left_out_with_the_reason(tmp_path, make_tones):
    data = make_tones(tmp_path / "data", 8)
    ids = data.ids
    good = soundfile.read(data.wav[ids[0]], dtype="float32")[0]

    def replace(utterance, wave, rate=16000, declared=None):
        soundfile.write(data.wav[utterance], wave, rate, subtype="FLOAT")
        data.n_samples[utterance] = len(wave) if declared is None else declared

    random = np.random.default_rng(0)
    replace(ids[1], 1e-4 * random.normal(size=9000) + 0.01)
    replace(ids[2], good[:719])
    replace(ids[3], good, declared=len(good) + 1)
    replace(ids[4], good, 8000)
    with open(data.wav[ids[5]], "r+b") as file:
        file.truncate(500)
    nan = good.copy()
    nan[5000] = np.nan
    replace(ids[6], nan)
    skipped = {}
    found = dict(stream(data, open_features("mfcc"), skipped))
    assert sorted(found) == [ids[0], ids[7]]
    reasons = [skipped[u] for u in ids[1:7]]
    wanted = (
        "silence only",
        "719 samples, 2 frames have 720",
        "utt2num_samples says",
        "16000 Hz expected, found 8000 Hz",
        ids[5],
        "not finite",
    )
    for reason, part in zip(reasons, wanted, strict=True):
        assert part in reason
    write_features(data, open_features("mfcc"), tmp_path / "f", 3)
    lines = (tmp_path / "f" / "skipped.3").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ids[1:7]
    assert lines[1].endswith("719 samples, 2 frames have 720")


def test_archives_hold_the_features_made_on_the_fly(tmp_path, tones):
    data = tones[1]
    folder = make_archive(data, tmp_path / "feats")
    live = dict(stream(data, open_features("mfcc"), {}))
    stored = dict(stream(data, FeatureArchive(folder), {}))
    assert live.keys() == stored.keys() == set(data.ids)
    for utterance in data.ids:
        assert np.array_equal(live[utterance], stored[utterance])
    assert FeatureArchive(folder).config == open_features("mfcc").config
    assert (folder / "frame_shift").read_text() == "0.02\n"
    with pytest.raises(ValueError, match="features.json expected"):
        FeatureArchive(tmp_path)


def test_archives_of_a_fast_model_have_its_frames(tmp_path, make_tones, model_folder):
    """Not one more, repeated, where labels of its shift and windows of 25 ms would have one."""
    data = make_tones(tmp_path / "data", 6)
    source = open_features("model", model_folder("fast_base"), 2)
    for number, utterance in enumerate(data.ids):
        n = (1519, 1520, 20000, 20260, 20500, 20640)[number]
        wave = np.resize(data.waveform(utterance), n)
        soundfile.write(data.wav[utterance], wave, 16000, subtype="FLOAT")
        data.n_samples[utterance] = n
    write_features(data, source, tmp_path / "feats")
    merge_archives(tmp_path / "feats", 1, "feats")
    assert (tmp_path / "feats" / "frame_shift").read_text() == "0.04\n"
    stored, skipped = FeatureArchive(tmp_path / "feats"), {}
    assert stored.framing == source.framing
    live = dict(stream(data, source, skipped))
    assert list(skipped) == [data.ids[0]]
    assert skipped[data.ids[0]].endswith("1519 samples, 2 frames have 1520")
    for utterance in data.ids[1:]:
        n = data.n_samples[utterance]
        assert len(live[utterance]) == (n - 880) // 640 + 1
        assert np.array_equal(stored.features(utterance, n), live[utterance])


@pytest.mark.parametrize("difference", [-2, -1, 1, 2])
def test_archives_of_another_length(rewrite, tmp_path, tones, difference):
    data = tones[1]
    folder = make_archive(data, tmp_path / "feats")
    name = data.ids[2]
    right = dict(ArchiveReader(folder / "feats.scp"))[name]
    longer = np.concatenate([right, right])
    rewrite(folder, lambda arrays: arrays.update({name: longer[: len(right) + difference]}))
    if abs(difference) == 1:
        found = dict(stream(data, FeatureArchive(folder), {}))[name]
        assert len(found) == len(right) and np.array_equal(found[:-1], right[:-1])
        return
    message = f"{name}: {len(right)} frames are expected .* found {len(right) + difference}"
    with pytest.raises(ValueError, match=message):
        dict(stream(data, FeatureArchive(folder), {}))


def test_archives_without_an_utterance_or_of_another_width(rewrite, tmp_path, tones):
    data = tones[1]
    folder = make_archive(data, tmp_path / "feats")
    rewrite(folder, lambda arrays: arrays.pop(data.ids[0]))
    skipped = {}
    assert len(dict(stream(data, FeatureArchive(folder), skipped))) == len(data) - 1
    assert list(skipped) == [data.ids[0]] and "no features in" in skipped[data.ids[0]]
    rewrite(folder, lambda arrays: arrays.update({data.ids[1]: np.zeros((50, 40), np.float32)}))
    with pytest.raises(ValueError, match=f"39 dimensions expected for {data.ids[1]}"):
        dict(stream(data, FeatureArchive(folder), {}))


def test_features_of_parts_of_recordings(tmp_path, make_tones, join_recordings):
    make_tones(tmp_path / "data", 6)
    join_recordings(tmp_path / "data", tmp_path / "joined")
    source, skipped = open_features("mfcc"), {}
    whole, parts = (
        dict(stream(DataDir.read(tmp_path / name), source, skipped)) for name in ("data", "joined")
    )
    assert not skipped and len(whole) == 6 and whole.keys() == parts.keys()
    for utterance, features in whole.items():
        np.testing.assert_array_equal(parts[utterance], features)
