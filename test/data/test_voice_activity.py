"""Where there is speech in long recordings, and segments made of it."""

import numpy as np
import pytest
import soundfile

from speechlm.data import audio
from speechlm.data.voice_activity import CutOptions, cut, find_speech, sound_intervals

OPTIONS = CutOptions(max_seconds=30, min_seconds=2, max_pause=2)


@pytest.mark.parametrize(
    ("intervals", "kept", "short"),
    [
        ([], [], []),
        ([(0, 10), (11, 20), (21, 29.5)], [(0, 29.5)], []),
        ([(0, 10), (11, 20), (21, 31)], [(0, 20), (21, 31)], []),
        ([(0, 10), (12.5, 20)], [(0, 10), (12.5, 20)], []),  # a long pause
        ([(0, 1), (5, 6.9), (9, 12)], [(9, 12)], [(0, 1), (5, 6.9)]),
        ([(5, 65)], [(5, 35), (35, 65)], []),
        ([(0, 75)], [(0, 25), (25, 50), (50, 75)], []),
        ([(0, 30), (30.5, 31)], [(0, 30)], [(30.5, 31)]),
    ],
)
def test_neighbours_are_joined_up_to_the_maximum(intervals, kept, short):
    assert cut(intervals, OPTIONS) == (kept, short)


def test_segments_of_random_intervals():
    """None too long, none overlapping, and no speech lost but what is too short."""
    random = np.random.default_rng(0)
    for _ in range(200):
        times = np.cumsum(random.exponential(random.choice([0.5, 3, 20]), 40))
        intervals = [(float(a), float(b)) for a, b in times.reshape(-1, 2)]
        options = CutOptions(float(random.uniform(2, 40)), 1.0, float(random.uniform(0, 5)))
        kept, short = cut(intervals, options)
        both = sorted(kept + short)
        assert all(b - a <= options.max_seconds + 1e-6 for a, b in both)
        assert all(b - a >= options.min_seconds for a, b in kept)
        assert all(one[1] <= other[0] for one, other in zip(both, both[1:], strict=False))
        for start, end in intervals:
            covered = sum(max(0, min(b, end) - max(a, start)) for a, b in both)
            assert covered == pytest.approx(end - start)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[0.4, 12.32], [13, 20]], ([(0.4, 12.32), (13, 20)], 0, 0)),
        ([[13, 20], [0, 5]], ([(0, 5), (13, 20)], 0, 0)),  # out of order
        ([[0, 5], [4, 8], [6, 7]], ([(0, 8)], 0, 0)),  # overlapping
        ([[0, 5], [90, 110]], ([(0, 5), (90, 100)], 0, 1)),
        ([[0, 5], [100, 110], [7, 6], [-1, 2], [1], "x", [None, 3], [0, float("nan")]],
         ([(0, 5)], 7, 0)),
        ([[0, 5], [1, float("inf")], [1, 10**400]], ([(0, 5)], 2, 0)),
        ([], ([], 0, 0)),
        (None, None),
        ({"0": 1}, None),
        ([[200, 300]], None),
        ([1, 2], None),
    ],
)  # fmt: skip
def test_tables(table, expected):
    assert sound_intervals(table, 100.0) == expected


def make_recording(path, rate, parts, noise=0.001):
    """Loud noise and pauses of so many seconds: +3 -1 ..."""
    random = np.random.default_rng(0)
    pieces = []
    for seconds in parts:
        wave = random.standard_normal(round(abs(seconds) * rate))
        pieces.append(wave * (0.1 if seconds > 0 else noise))
    soundfile.write(path, np.concatenate(pieces), rate)


@pytest.mark.parametrize(("rate", "noise"), [(16000, 0.001), (22050, 0.01), (8000, 0.0)])
def test_loud_parts_are_found(tmp_path, rate, noise):
    make_recording(tmp_path / "a.flac", rate, (-2, 3, -1, 70, -0.2, 4, -5, 0.05, -3, 2), noise)
    found = find_speech(tmp_path / "a.flac")
    expected = [(2, 5), (6, 80.2), (88.25, 90.25)]
    assert len(found) == len(expected)
    for (start, end), (first, last) in zip(found, expected, strict=True):
        assert first - 0.15 < start <= first and last - 0.011 < end < last + 0.15
    assert found[-1][1] <= 90.25


def test_without_pauses_or_without_sound(tmp_path):
    make_recording(tmp_path / "a.flac", 16000, (5,))
    assert find_speech(tmp_path / "a.flac") == [(0.0, 5.0)]
    make_recording(tmp_path / "a.flac", 16000, (-5,), noise=1e-4)
    assert find_speech(tmp_path / "a.flac") == []
    soundfile.write(tmp_path / "a.flac", np.zeros(100), 16000)
    assert find_speech(tmp_path / "a.flac") == []


def test_recordings_are_read_block_by_block(tmp_path, samples_read):
    make_recording(tmp_path / "a.flac", 16000, (100, -30, 100))
    find_speech(tmp_path / "a.flac")
    assert sum(samples_read) == 230 * 16000 and max(samples_read) <= 60 * 16000


def test_a_recording_that_is_cut_off(tmp_path):
    make_recording(tmp_path / "a.flac", 16000, (100, -30, 100))
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(audio.TruncatedAudio):
        find_speech(tmp_path / "a.flac")


def test_lengths_that_cannot_be():
    for wrong in ((30, 31, 2), (30, 0, 2), (30, 2, -1), (30, 2, float("nan"))):
        with pytest.raises(ValueError, match="a shortest segment of 0.1 s or more, .*--max_pause"):
            CutOptions(*wrong)
